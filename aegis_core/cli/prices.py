"""``aegis prices``: what a model costs here, and whether the prices of this installation are whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import JsonFlag, print_json, say, shown, stdout_console
from aegis_core.protocol.errors import UnknownModelError
from aegis_core.settings import Settings, load_settings

if TYPE_CHECKING:
    from aegis_core.metering.price_book import PriceBook

app = typer.Typer(help="Show and check prices of models.\n\nExample: aegis prices show gpt-4o", no_args_is_help=True)

_WORDS = {
    "input": "input", "cached": "input read from a cache", "write_5m": "input written to a cache",
    "write_1h": "input written for an hour", "audio": "sound in", "image": "pictures in", "video": "films in",
    "output": "output", "reasoning": "reasoning", "audio_out": "sound out", "image_out": "pictures out",
}  # fmt: skip
_ALWAYS = frozenset({"input", "cached", "output"})
_PART_OF = {"reasoning": "output", "audio_out": "output", "image_out": "output"}
"""A kind that costs the same as this one, or else as input, is not worth a line."""


@dataclass(frozen=True, slots=True)
class RateLine:
    """Dollars a million tokens of one kind, in calls with more input than that."""

    kind: str
    usd: Decimal
    above_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """What one model costs now."""

    name: str
    model: str
    entry: str
    rates: list[RateLine]
    call_fees_usd: dict[str, Decimal]
    context_tokens: int | None
    max_output_tokens: int | None
    prices: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of the price file or of AEGIS_MODELS, the model that it is, and what is to be said of it."""

    name: str
    model: str | None
    note: str


@dataclass(slots=True)
class Report:
    """Whether prices are whole: each problem is a sentence."""

    prices: str
    models: int
    entries: list[Entry] = field(default_factory=list[Entry])
    problems: list[str] = field(default_factory=list[str])


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A model, in any spelling: gpt-4o, bedrock/eu.anthropic.…, azure/prod")],
    json: JsonFlag = False,
) -> None:
    """Show what a model costs here at this moment: the higher of the installed list and the price file.

    Example: aegis prices show azure/gpt-4o
    """
    found = _prices_of(_book(load_settings()), model)
    if json:
        print_json(found)
        return
    _table(found)


@app.command()
def check(json: JsonFlag = False) -> None:
    """Check the price file, the catalog and AEGIS_MODELS. Exit code 1 when something must be mended.

    Example: aegis prices check --json
    """
    report = _checked(load_settings())
    if json:
        print_json(report)
    else:
        console = stdout_console()
        console.print(f"{report.prices}: {report.models} models of the catalog have prices.", markup=False)
        for entry in report.entries:
            console.print(f"{shown(entry.name)}: {shown(entry.model or 'unknown')}; {entry.note}", markup=False)
        for problem in report.problems:
            say(problem)
    if report.problems:
        raise typer.Exit(1)


def _book(settings: Settings) -> PriceBook:
    from aegis_core.arbiter.book import price_book
    from aegis_core.arbiter.catalog import load_catalog

    return price_book(load_catalog(settings.catalog_file), settings)


def _prices_of(book: PriceBook, name: str) -> ModelPrices:
    rates, maxima = book.rates(name), book.maxima(name)
    lines = [
        RateLine(kind, usd, max(above, 0))
        for kind, steps in rates.items()
        if kind in _WORDS and (kind in _ALWAYS or steps not in (rates["input"], rates[_PART_OF.get(kind, "input")]))
        for above, usd in steps
    ]
    return ModelPrices(
        name=name,
        model=book.canonical(name),
        entry=book.text_rates(name).ref,
        rates=sorted(lines, key=lambda line: (list(_WORDS).index(line.kind), line.above_input_tokens)),
        call_fees_usd=book.fees(name),
        context_tokens=maxima.context_tokens or None if maxima else None,
        max_output_tokens=book.output_maximum(name),
        prices=book.version,
    )


def _table(found: ModelPrices) -> None:
    from rich.table import Table

    console = stdout_console()
    console.print(f"{shown(found.model)}, priced as {shown(found.entry)} ({found.prices})", markup=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("tokens", no_wrap=True)
    table.add_column("$ a million", justify="right", no_wrap=True)
    table.add_column("calls of", no_wrap=True)
    for line in found.rates:
        size = f"more than {line.above_input_tokens:,} input tokens" if line.above_input_tokens else "any size"
        table.add_row(_WORDS[line.kind], f"{line.usd:f}", size)
    for kind, usd in found.call_fees_usd.items():
        table.add_row(f"each of {kind.replace('_', ' ')}", f"{usd.normalize():f}", "dollars a call")
    console.print(table)
    longest = found.max_output_tokens
    console.print("Nothing says how long its answers may be." if longest is None else f"Answers to {longest:,} tokens.")


def _checked(settings: Settings) -> Report:
    """Read everything that prices come from, and say of each name what becomes of it.

    Raises:
        ConfigurationError: a file of prices or the catalog cannot be used.
    """
    from aegis_core.arbiter.book import price_book
    from aegis_core.arbiter.catalog import load_catalog

    catalog = load_catalog(settings.catalog_file)
    listed = price_book(catalog)
    book = price_book(catalog, settings)
    book.warm()
    report = Report(book.version, len(catalog.models))
    for name in book.stated_names:
        report.entries.append(_stated(book, listed, name))
    for name, meant in settings.models.items():
        if not listed.knows(meant) and not book.knows(meant):
            report.problems.append(f"AEGIS_MODELS: {name} is said to be {meant}, which has no known price.")
            report.entries.append(Entry(name, None, f"said to be {meant}"))
        else:
            report.entries.append(Entry(name, book.canonical(name), "by AEGIS_MODELS"))
    return report


def _stated(book: PriceBook, listed: PriceBook, name: str) -> Entry:
    model = book.canonical(name)
    try:
        theirs, ours = listed.rates(name), book.rates(name)
    except UnknownModelError:
        return Entry(name, model, "the price file alone has its price")
    higher = [kind for kind in ("input", "output") if ours[kind] != theirs[kind]]
    if higher:
        return Entry(name, model, f"the price file counts for {' and '.join(higher)}")
    return Entry(name, model, "the installed list is nowhere below it in input and output")

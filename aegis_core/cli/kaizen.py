"""``aegis kaizen``: what was wasted, day by day, and what could be changed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli import proposals
from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    extra_tools,
    once_or_on,
    print_json,
    say,
    shown,
    stdout_console,
    with_governor,
    with_resources,
)
from aegis_core.cli.experiments import COMMANDS, explain_experiment
from aegis_core.client.agent import Governor
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.kaizen import Explanation, KaizenReport

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.protocol.events import EventPage

app = typer.Typer(no_args_is_help=True, help="Find waste in what happened, in dollars, and propose what to change.")
_STATES = ("running", "paused", "suggested", "certified", "refuted", "undecided", "void", "stopped", "lapsed")
_MOVES = ("tested", "asked", "canary", "kept", "rolled_back", "declined")
_KINDS = ",".join(("kaizen_finding", "kaizen_proposed", *(f"kaizen_{state}" for state in (*_STATES, *_MOVES))))


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Close the days that are over, and end.")] = False,
    tenant: TenantOption = None,
) -> None:
    """Close each day at the tenant's midnight, until stopped. `aegis serve` does so by itself.

    Several may run; one of them works, and another goes on when it ends.

    Example: aegis kaizen run --once
    """
    from aegis_core.kaizen.days import DayCloser
    from aegis_core.kaizen.running import close_days
    from aegis_core.replay.backtest import Backtests
    from aegis_core.settings import load_settings

    async def work(governor: ResourceGovernor) -> None:
        governor.optimizer.backtest = Backtests(load_settings())
        closer = DayCloser(governor.kaizen)
        elsewhere = "Another process closes these days."
        closed = await once_or_on(once, lambda: close_days(closer), closer.look, closer.leave, elsewhere)
        typer.echo(f"{closed:,} days closed.")

    with_resources(tenant, work)


@app.command()
def report(
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="In the tenant's zone; default: the last closed day.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="A recorded trace (CSV or JSONL, plain or .gz) instead of a day.")
    ] = None,
    model: Annotated[str, typer.Option(help="With --trace: the model of rows that name none.")] = "gpt-4o",
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a picture of the findings there.")] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what was found in a day: amounts with their 95 % intervals, and what is proposed. Days are closed first.

    Example: aegis kaizen report --trace runs.jsonl --json
    """
    from aegis_core.cli.kaizen_page import print_report

    if trace is not None and (day is not None or tenant is not None):
        raise InvalidRequestError("--trace: stands for itself; leave --day and --tenant out", field="--trace")
    found = _of_trace(trace, model) if trace else _of_day(day, tenant)
    if svg is not None:
        _draw(found, svg)
    if json:
        print_json(found)
    else:
        print_report(stdout_console(), found)


@app.command()
def explain(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Of a finding, proposal or experiment.", show_default=False)
    ],
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Of an experiment: write a picture of its course there.")
    ] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show one finding: where, by how much, what proves it, and what is proposed. Or an experiment and its course.

    Example: aegis kaizen explain 2026-11-30.retries
    """
    from aegis_core.cli.kaizen_page import print_explanation

    if name.startswith("x-"):
        explain_experiment(name, svg, tenant, json=json)
        return
    if svg is not None:
        raise InvalidRequestError("--svg: is for experiments; aegis kaizen report --svg draws findings", field="--svg")

    async def work(governor: Governor) -> Explanation:
        return await governor.port.kaizen_explain(name)

    found = with_governor(tenant, work)
    if json:
        print_json(found)
    else:
        print_explanation(stdout_console(), found)


@app.command()
def log(
    since: Annotated[str, typer.Option(help="2026-11-30T03:00, or 15m, 2h, 7d ago.")] = "30d",
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what was found and proposed, as it happened. Each entry is an event.

    Example: aegis kaizen log --since 7d
    """

    async def work(governor: Governor) -> EventPage:
        return await governor.find_events(kind=_KINDS, since=since, limit=500)

    page = with_governor(tenant, work)
    if json:
        print_json(page)
        return
    console = stdout_console()
    for event in page.events:
        facts = event.facts
        name = facts.get("experiment_id") or facts.get("proposal_id") or facts["finding_id"]
        what = f"${facts['waste_usd']:,.2f}" if event.kind == "kaizen_finding" else str(facts.get("proposes", ""))
        if "experiment_id" in facts or "state" in facts:
            said = (event.kind.removeprefix("kaizen_"), facts["reason"], facts["by"])
            what = ", ".join(str(each) for each in said if each)
        console.print(f"{event.at:%Y-%m-%d %H:%M}  {shown(name)}  {shown(what)}")
    if page.more:
        say("there are more; --since a later time shows them")


app.add_typer(proposals.app, name="proposals")
for _command in (*COMMANDS, *proposals.COMMANDS):
    app.command()(_command)


def _of_day(day: datetime | None, tenant: str | None) -> KaizenReport:
    async def work(governor: Governor) -> KaizenReport:
        from aegis_core.governor.governor import ResourceGovernor
        from aegis_core.kaizen.days import DayCloser

        if isinstance(governor.port, ResourceGovernor):
            closer = DayCloser(governor.port.kaizen)
            await closer.look()
            await closer.leave()
        return await governor.kaizen_report(day.date() if day else None)

    return with_governor(tenant, work)


def _of_trace(path: Path, model: str) -> KaizenReport:
    from aegis_core.arbiter.book import price_book
    from aegis_core.arbiter.catalog import load_catalog
    from aegis_core.kaizen.judging import judge
    from aegis_core.replay.as_day import day_of
    from aegis_core.replay.reading import read_trace
    from aegis_core.settings import load_settings

    prices = price_book(load_catalog(load_settings().catalog_file))
    return judge(day_of(read_trace(path), model, prices))


def _draw(found: KaizenReport, path: Path) -> None:
    with extra_tools("--svg needs"):
        from aegis_core.kaizen.picture import svg
    try:
        path.write_text(svg(found), encoding="utf-8")
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        raise InvalidRequestError(f"--svg: {path} {problem}", field="--svg", problem=problem) from None

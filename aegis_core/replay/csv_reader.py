"""CSV: one call of a model a row, by columns that go under many names."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from aegis_core.replay import values
from aegis_core.replay.trace import DEFAULT_AGENT, Call, Reading, printable, refusal, shown

INTENT = "Answer a recorded call"
"""A CSV tells sizes, not contents; no rule on words applies to its calls."""

_COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[object], object], str]] = {
    "at": (values.TIME, values.milliseconds, "a time: timestamp, time, created_at"),
    "input_tokens": (values.INPUT, values.tokens, "input tokens: ContextTokens, prompt_tokens, input_tokens"),
    "output_tokens": (values.OUTPUT, values.tokens, "output tokens: GeneratedTokens, completion_tokens, output_tokens"),
    "model": (values.MODEL, values.name, ""),
    "agent": (values.AGENT, values.name, ""),
    "cost": (values.COST, values.nano_dollars, ""),
}
"""Field of a call: names of its column, parser, and how to ask for it where it is required."""


def read_csv(text: str, reading: Reading) -> None:
    """Read all rows of a CSV; the delimiter is the one that splits the header into most columns.

    Raises:
        InvalidRequestError: a required column is missing, or a row is malformed.
    """
    header_line = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t|", key=header_line.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = _rows(table, reading)
    line, header = next(rows)
    places = _places(header, line, reading)
    if "agent" not in places:
        reading.notes.append(f"The file names no agents: all calls are those of one agent, {DEFAULT_AGENT}.")
    if "cost" in places:
        reading.notes.append("Present costs are those of the file, not list prices.")
    reading.gather(partial(_call, row, line, header, places, reading) for line, row in rows)


def _rows(table: Any, reading: Reading) -> Iterator[tuple[int, list[str]]]:
    while True:
        try:
            row: list[str] | None = next(table, None)
        except csv.Error as error:
            raise reading.refuse(table.line_num, "", f"is not CSV: {error}") from None
        if row is None:
            return
        if row and any(cell.strip() for cell in row):
            yield table.line_num, row


def _places(header: list[str], line: int, reading: Reading) -> dict[str, int]:
    """Where each field of a call stands."""
    found = {values.plain(title): place for place, title in reversed(list(enumerate(header)))}
    places: dict[str, int] = {}
    missing: list[str] = []
    for field, (aliases, _, wanted) in _COLUMNS.items():
        place = next((found[alias] for alias in aliases if alias in found), None)
        if place is not None:
            places[field] = place
        elif wanted:
            missing.append(wanted)
    if missing:
        columns = ", ".join(shown(title.strip()) for title in header[:12]) + (", …" if len(header) > 12 else "")
        problem = f"found the columns {columns}; needed as well: {'; '.join(missing)}"
        raise refusal(f"{reading.name}:{line}", "", problem, line=line)
    return places


def _call(row: list[str], line: int, header: list[str], places: dict[str, int], reading: Reading) -> list[Call]:
    if len(row) != len(header):
        problem = f"has {len(row)} columns, expected {len(header)} as in the header"
        raise reading.refuse(line, "", problem)
    fields: dict[str, Any] = {"agent": DEFAULT_AGENT}
    for field, place in places.items():
        _, parse, required = _COLUMNS[field]
        cell = row[place]
        if not required and not cell.strip():
            continue
        try:
            fields[field] = parse(cell)
        except ValueError as error:
            raise reading.refuse(line, printable(header[place].strip()), str(error)) from None
    sizes = {"prompt_tokens": fields["input_tokens"], "max_output_tokens": fields["output_tokens"]}
    return [Call(run="", line=line, intent=INTENT, **sizes, **fields)]

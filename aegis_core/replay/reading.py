"""Reading a trace from a file: its packing, its encoding and its format."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Literal

from aegis_core.replay.trace import Format, Reading, Trace, printable, refusal

_GZIP = b"\x1f\x8b"
_SUFFIXES: dict[str, Literal["csv", "jsonl"]] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def read_trace(path: Path, *, format: Format = "auto", limit: int | None = None, skip_bad: bool = False) -> Trace:  # noqa: A002
    """Read a whole trace before anything is replayed, so that a bad row is found before a figure is reported.

    Args:
        path: a CSV or JSONL file in UTF-8, plain or gzipped.
        format: ``auto`` goes by the name, then by the first character.
        limit: rows (CSV) or runs (JSONL) to read at most.
        skip_bad: set malformed rows aside in `Trace.bad` instead of refusing the file.

    Raises:
        InvalidRequestError: the file cannot be read, is empty, or holds a malformed row; names line and column.
    """
    text = _decode(path)
    kind = _format_of(path, text) if format == "auto" else format
    name = printable(str(path))
    reading = Reading(name, limit, skip_bad)
    if kind == "csv":
        from aegis_core.replay.csv_reader import read_csv

        read_csv(text, reading)
    else:
        from aegis_core.replay.jsonl_reader import read_jsonl

        read_jsonl(text, reading)
    if not reading.calls:
        left_out = (
            f"all of its {len(reading.bad)} rows are malformed; the first: {reading.bad[0]}" if reading.bad else ""
        )
        raise refusal(name, "", left_out or "holds no calls")
    calls = tuple(sorted(reading.calls, key=lambda call: call.at))
    runs = len({(call.agent, call.run) for call in calls if call.run})
    return Trace(path, kind, calls, runs, tuple(reading.bad), tuple(reading.notes))


def _decode(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw.startswith(_GZIP):
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        problem = (
            error.strerror.lower() if isinstance(error, OSError) and error.strerror else f"broken gzip data ({error})"
        )
        raise refusal(printable(str(path)), "", f"cannot be read: {problem}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"is not UTF-8 text (byte 0x{raw[error.start]:02x}); convert it: iconv -t UTF-8 FILE"
        raise refusal(f"{printable(str(path))}:{line}", "", problem, line=line) from None
    if not text.strip():
        raise refusal(printable(str(path)), "", "is empty; expected a CSV with a header, or one JSON object a line")
    return text


def _format_of(path: Path, text: str) -> Literal["csv", "jsonl"]:
    for suffix in reversed(path.suffixes):
        found = _SUFFIXES.get(suffix.lower())
        if found is not None:
            return found
    return "jsonl" if text.lstrip().startswith("{") else "csv"

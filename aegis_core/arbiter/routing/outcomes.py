"""Recorded outcomes: prompts that several models answered, each answer with a score of 0 to 1.

A file is JSONL, plain or gzipped, one prompt a row: ``{"prompt": "…", "scores": {"model-a": 1.0, "model-b": 0.0}}``,
with ``"domain"`` (the task type) and ``"id"`` where they are known (or null). Other columns are ignored.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

from aegis_core.protocol.errors import InvalidRequestError

MAX_ROW_BYTES = 16_000_000

_GZIPPED = b"\x1f\x8b"
_SHOWN = 60


class Outcome(NamedTuple):
    """One prompt, and how well the weak and the strong model answered it."""

    id: str
    task_type: str
    prompt: str
    weak: float
    strong: float

    @property
    def gain(self) -> float:
        """What the strong model adds."""
        return self.strong - self.weak


class _Repeating(dict[str, object]):
    """A JSON object that gives a key twice, of which a plain one would silently lose the first value."""

    repeated: str


class Row(NamedTuple):
    """One line of a file: the line's number, what it is about, and every model's score."""

    number: int
    id: str
    task_type: str
    prompt: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """The two models between which a router chooses.

    Attributes:
        weak: the name of the cheaper one.
        strong: the name of the better one.
        ratio: what a call of the weak one costs, as a share of one of the strong one; None: no price is known.
    """

    weak: str
    strong: str
    ratio: float | None


def read_rows(path: Path, *, most: float = 1.0, clip: bool = False) -> list[Row]:
    """Read a file of outcomes.

    Args:
        path: JSONL, plain or gzipped.
        most: the best possible score; scores are divided by it.
        clip: bring a score that lies outside to the nearer end, rather than refuse the file.

    Raises:
        InvalidRequestError: names the file, the row and the column that cannot be accepted.
    """
    rows: list[Row] = []
    ids: dict[str, int] = {}
    prompts: dict[bytes, int] = {}
    for number, line in _lines(path):
        row = _row(path, number, line, most, clip=clip)
        if (first := ids.setdefault(row.id, number)) != number:
            _refuse(path, number, "id", f"{row.id!r} stands in row {first} already")
        key = sha256(row.prompt.encode("utf-8", "surrogatepass")).digest()
        if (first := prompts.setdefault(key, number)) != number:
            _refuse(path, number, "prompt", f"is that of row {first}; one prompt has one row")
        rows.append(row)
    if not rows:
        raise InvalidRequestError(f"{path}: holds no outcomes", field=str(path), problem="is empty")
    return rows


def paired(path: Path, rows: Sequence[Row], pair: Pair) -> list[Outcome]:
    """The outcomes of two models.

    Raises:
        InvalidRequestError: a row without a score of one of them; names the row and the column.
    """
    found: list[Outcome] = []
    for row in rows:
        for model in (pair.weak, pair.strong):
            if model not in row.scores:
                have = ", ".join(sorted(row.scores)) or "no model"
                _refuse(path, row.number, f"scores.{model}", f"is missing; the row has {have}")
        found.append(Outcome(row.id, row.task_type, row.prompt, row.scores[pair.weak], row.scores[pair.strong]))
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            zipped = path.suffix == ".gz" or file.peek(2)[:2] == _GZIPPED
            lines = gzip.GzipFile(fileobj=file) if zipped else file
            for number, line in enumerate(iter(lambda: lines.readline(MAX_ROW_BYTES + 1), b""), start=1):
                if len(line) > MAX_ROW_BYTES:
                    _refuse(path, number, "", f"is longer than {MAX_ROW_BYTES:,} bytes")
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise InvalidRequestError(f"{path}: {problem}", field=str(path), problem=problem) from None


def _row(path: Path, number: int, line: bytes, most: float, *, clip: bool) -> Row:
    try:
        content: object = json.loads(line, object_pairs_hook=_object)
    except ValueError as error:
        _refuse(path, number, "", f"is not JSON: {error}")
    except RecursionError:
        _refuse(path, number, "", "is not JSON that can be read: it is nested too deeply")
    if not isinstance(content, dict):
        _refuse(path, number, "", "is not a JSON object")
    row = cast("dict[str, object]", content)
    _refuse_repeats(path, number, "", row)
    prompt, task_type, name = row.get("prompt"), _known(row, "domain", "task_type", default=""), _known(row, "id")
    if not isinstance(prompt, str):
        _refuse(path, number, "prompt", "is missing" if prompt is None else "is not a text")
    if not isinstance(task_type, str):
        _refuse(path, number, "domain", "is not a text")
    scores = row.get("scores")
    if not isinstance(scores, dict) or not scores:
        _refuse(path, number, "scores", "must be an object of scores by model")
    _refuse_repeats(path, number, "scores.", cast("dict[str, object]", scores))
    found = {
        model: _score(path, number, model, score, most, clip=clip)
        for model, score in cast("dict[str, object]", scores).items()
    }
    given = str(number if name is None else name)
    for column, text in (("id", given), ("domain", task_type), *((f"scores.{model}", model) for model in found)):
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            _refuse(path, number, ascii(column)[1:-1], "is named by half a character (a lone surrogate)")
    return Row(number, given, task_type, prompt, found)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    repeating = _Repeating(found)
    repeating.repeated = next(name for name in names if names.count(name) > 1)
    return repeating


def _refuse_repeats(path: Path, number: int, before: str, content: dict[str, object]) -> None:
    if isinstance(content, _Repeating):
        _refuse(path, number, ascii(before + content.repeated)[1:-1], "is given twice")


def _known(row: dict[str, object], *columns: str, default: object = None) -> object:
    """What stands in the first of these columns that is there and not null."""
    return next((value for column in columns if (value := row.get(column)) is not None), default)


def _score(path: Path, number: int, model: str, score: object, most: float, *, clip: bool) -> float:
    if isinstance(score, bool):
        score = float(score)
    if not isinstance(score, int | float) or (isinstance(score, float) and not math.isfinite(score)):
        _refuse(path, number, f"scores.{model}", f"is {_shown(score)}, not a number")
    if clip:
        score = min(max(score, 0.0), most)
    if not 0 <= score <= most:
        hint = "; for another scale give its best score with --best-score, for a few strays --clip"
        _refuse(path, number, f"scores.{model}", f"is {_shown(score)}, outside 0 to {most:g}{hint}")
    return float(score) / most


def _shown(value: object) -> str:
    """A value as a message can hold it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _refuse(path: Path, number: int, column: str, problem: str) -> NoReturn:
    where = f"{path}: row {number}" + (f", column {column}" if column else "")
    raise InvalidRequestError(f"{where}: {problem}", field=column, problem=problem, file=str(path), row=number)

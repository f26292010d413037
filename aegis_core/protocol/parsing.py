"""The base of everything that comes in, and the words for what cannot be accepted."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from aegis_core.protocol.errors import InvalidRequestError


class Message(BaseModel):
    """Base of everything that comes in: immutable, and a field it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_Model = TypeVar("_Model", bound=Message)
_MOST_FAULTS = 100


def parse(model: type[_Model], /, **values: object) -> _Model:
    """Build a message from keywords.

    Raises:
        InvalidRequestError: names the first field that cannot be accepted, and why.
    """
    try:
        return model(**values)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidRequestError:
    """Translate pydantic's report into the one error of the project; `errors` lists every field, or says how many."""
    counted = getattr(error, "error_count", None)  # FastAPI's, which reports like pydantic's, does not count
    if counted is not None and (count := counted()) > _MOST_FAULTS:
        problem = f"there are {count:,} faults in the message"  # to put all into words may take as long as to find them
        return InvalidRequestError(problem, field="", problem=problem, errors=[{"field": "", "problem": problem}])
    problems = [_problem(item["loc"], item["type"], item["msg"], item.get("ctx", {})) for item in error.errors()]
    field_name, problem = problems[0]
    return InvalidRequestError(
        f"{field_name}: {problem}" if field_name else problem,
        field=field_name,
        problem=problem,
        errors=[{"field": name, "problem": text} for name, text in problems],
    )


def without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """For ``json.loads(object_pairs_hook=…)``: a key given twice would silently lose its first value.

    Raises:
        ValueError: names the key.
    """
    if (twice := first_repeat(pairs)) is not None:
        raise ValueError(f"the key {twice!r} is given twice")
    return dict(pairs)


MAX_NESTING = 512
"""Containers within one another that JSON of others may have: more than any reader here needs."""

_TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A whole string, or a bracket that is not in one."""


class NestingError(ValueError):
    """JSON that is nested more deeply than any reader here needs."""


def loads(text: str | bytes, **hooks: Any) -> Any:
    """``json.loads`` of what others wrote, at most `MAX_NESTING` deep whatever the interpreter allows.

    Its own bound is the limit of recursion, which libraries may lift for the whole process: `eth_account` does, and
    then 100,000 brackets end it.

    Raises:
        NestingError: it is nested more deeply. ValueError: it is not JSON.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    if text.count("[") + text.count("{") > MAX_NESTING:
        depth = 0
        for found in _STRUCTURE.finditer(text):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
            if depth > MAX_NESTING:
                raise NestingError(f"is nested more than {MAX_NESTING} levels deep")
    return json.loads(text, **hooks)


MAX_SHOWN_VALUES = 4_000
"""Values in arguments that a person is asked about; more nobody reads."""


def readable(text: str) -> str:
    """JSON as it is, or nothing where it holds more values than a person reads. They are counted without parsing it."""
    raw = text.count(",") + text.count("[") + text.count("{")
    if raw <= MAX_SHOWN_VALUES:
        return text
    bare = _TEXT.sub("", text)
    values = bare.count(",") + bare.count("[") + bare.count("{")
    return text if values <= MAX_SHOWN_VALUES else ""


def first_repeat(pairs: list[tuple[str, Any]]) -> str | None:
    """The first key that was there before."""
    if len(dict(pairs)) == len(pairs):
        return None
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))


def _problem(loc: tuple[int | str, ...], kind: str, text: str, context: dict[str, object]) -> tuple[str, str]:
    name = ".".join(str(part) for part in loc if part not in {"body", "query", "path", "[key]"})
    text = text.removeprefix("Value error, ")
    if kind == "missing":
        text = "is required"
    elif kind == "extra_forbidden":
        text = "is not a field of this message"
    elif kind == "literal_error":
        text = f"must be one of {context['expected']}"
    elif kind == "too_long":
        text = f"at most {context['max_length']} are allowed"
    elif kind.startswith(("greater_than", "less_than")):
        text = "must be " + text.removeprefix("Input should be ")
    elif not name and ": " in text:
        name, text = text.split(": ", 1)
    return name, text[:1].lower() + text[1:]

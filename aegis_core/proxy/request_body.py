"""The JSON of a request: read whole, and changed by splicing, so that every byte that is not meant stays as it was.

Caches of prompts go by what is sent, and other spellings of the same JSON are other bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.parsing import without_repeats

_SPACE = re.compile(r"[ \t\n\r]*")


class Edit(NamedTuple):
    """Some characters of a text, and what takes their place."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Members:
    """One object within a text: its values by name, where each stands, and where the object itself does."""

    values: dict[str, Any]
    spans: dict[str, tuple[int, int]]
    start: int
    end: int

    def put(self, name: str, text: str) -> Edit:
        """Have a member be this JSON: in the place of the one that there is, else as the first one."""
        if name in self.spans:
            return Edit(*self.spans[name], text)
        comma = "," if self.spans else ""
        return Edit(self.start + 1, self.start + 1, f"{json.dumps(name)}:{text}{comma}")


class RequestBody:
    """A body that is one JSON object."""

    def __init__(self, raw: bytes) -> None:
        """Read it.

        Raises:
            InvalidRequestError: it is not one JSON object in UTF-8, or readers may differ on what it says: a member is
                given twice, a number is none.
        """
        try:
            self._text = raw.decode("utf-8")
            self.top = self._members(_skip(self._text, 0))
            if _skip(self._text, self.top.end) != len(self._text):
                _refuse("something follows the object")
        except InvalidRequestError:
            raise
        except UnicodeDecodeError:
            _refuse("it is not UTF-8")
        except json.JSONDecodeError as error:
            _refuse(f"{error.msg} at character {error.pos + 1:,}")
        except RecursionError:
            _refuse("it is nested too deeply")
        except ValueError as error:  # a repeated key, a number without end
            _refuse(str(error))
        self.raw = raw
        self.values = self.top.values

    def inner(self, name: str) -> Members | None:
        """The members of an object that is a member; None: it is no object."""
        if not isinstance(self.values.get(name), dict):
            return None
        return self._members(self.top.spans[name][0])

    def spliced(self, edits: Iterable[Edit]) -> bytes:
        """The bytes with some edits, which do not overlap; without any, the very bytes that came."""
        ordered = sorted(edits, reverse=True)
        if not ordered:
            return self.raw
        text = self._text
        for start, end, put in ordered:
            text = text[:start] + put + text[end:]
        return text.encode()

    def _members(self, start: int) -> Members:
        """An object, member by member, each value by the parser of the standard library."""
        text, values, spans = self._text, dict[str, Any](), dict[str, tuple[int, int]]()
        if text[start : start + 1] != "{":
            _refuse("it is no object")
        at = _skip(text, start + 1)
        if text[at : at + 1] == "}":
            return Members(values, spans, start, at + 1)
        while True:
            if text[at : at + 1] != '"':
                _refuse(f"no name begins at character {at + 1:,}")
            name, at = _PARSER.raw_decode(text, at)
            at = _skip(text, at)
            if text[at : at + 1] != ":":
                _refuse(f"a colon is missing at character {at + 1:,}")
            begin = _skip(text, at + 1)
            value, at = _PARSER.raw_decode(text, begin)
            if name in values:
                _refuse(f"the key {name[:64]!r} is given twice")
            values[name], spans[name] = value, (begin, at)
            at = _skip(text, at)
            closes = text[at : at + 1]
            if closes == "}":
                return Members(values, spans, start, at + 1)
            if closes != ",":
                _refuse(f"a comma is missing at character {at + 1:,}")
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # nothing is a match, too
    return found.end()


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_PARSER = json.JSONDecoder(object_pairs_hook=without_repeats, parse_constant=_constant)


def _refuse(problem: str) -> NoReturn:
    raise InvalidRequestError(
        f"The body cannot be read as JSON: {problem}.", code="malformed_json", field="body", problem=problem
    )

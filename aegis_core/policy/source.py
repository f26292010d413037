"""Where a policy document came from, so that an error can name the line.

The line of every field is found by a pass over the tokens of a text that is known to be JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aegis_core.protocol.errors import PolicyError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16

Where = tuple[str | int, ...]
"""The way to a value: field names and list positions from the top of the document."""

# Possessive throughout: a token is read once, whatever follows it.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]++', re.DOTALL)
_NOT_JSON = frozenset({"NaN", "Infinity", "-Infinity"})


@dataclass(frozen=True, slots=True)
class Source:
    """A name for messages, and the line of every value in the document."""

    path: str = "policy"
    lines: Mapping[Where, int] = field(default_factory=dict[Where, int])

    def line(self, where: Where) -> int | None:
        """The line of a value, or of the nearest thing around it that is there."""
        for length in range(len(where), -1, -1):
            if line := self.lines.get(where[:length]):
                return line
        return None

    def refuse(
        self,
        where: Where,
        problem: str,
        *,
        nearest: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> PolicyError:
        """The error for something wrong at a place of the document; `column` is one within an expression."""
        line = line or self.line(where)
        at = f"{self.path}:{line}" if line else self.path
        hint = f'; did you mean "{nearest}"?' if nearest else ""
        name = ".".join(str(part) for part in where)
        facts: dict[str, object] = {"path": self.path, "line": line, "field": _writable(name), "nearest": nearest}
        if column is not None:
            facts["column"] = column
        return PolicyError(_writable(f"{at}: {problem}{hint}"), **facts)


@dataclass(slots=True)
class _Open:
    """An object or list that is being read."""

    where: Where
    is_object: bool
    wants_key: bool
    place: Where = ()
    count: int = 0


def locate(text: str, path: str) -> Source:
    """Index a text that `json.loads` accepts: a field by the line of its name, a list's entry by its first line.

    Raises:
        PolicyError: the same field twice in an object, a number that JSON does not know, or too deep a nesting.
    """
    lines: dict[Where, int] = {}
    source = Source(path, lines)
    stack: list[_Open] = []
    for piece, line in _tokens(text):
        top = stack[-1] if stack else None
        if piece in "}]":
            stack.pop()
        elif piece == ",":
            assert top is not None
            top.count, top.wants_key = top.count + 1, top.is_object
        elif top is not None and top.wants_key and piece[0] == '"':
            top.place, top.wants_key = (*top.where, json.loads(piece)), False
            if top.place in lines:
                problem = f"{piece} is given twice; the first is on line {lines[top.place]}"
                raise source.refuse(top.place, problem, line=line)
            lines[top.place] = line
        elif piece != ":":
            where = () if top is None else top.place if top.is_object else (*top.where, top.count)
            lines.setdefault(where, line)
            if piece in _NOT_JSON:
                raise source.refuse(where, f"{piece} is not a JSON number")
            if piece in "{[":
                if len(stack) == MAX_DEPTH:
                    raise source.refuse(where, "is nested too deeply")
                stack.append(_Open(where, piece == "{", piece == "{"))
    return source


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line, last = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", last, match.start())
        last = match.start()
        yield match[0], line


def _writable(text: str) -> str:
    """JSON can spell half a character; a message that quotes one must still fit a log."""
    return text.encode("utf-8", "backslashreplace").decode()

"""Which entries of the metadata an expression compares with numbers or with texts, as far as it says so itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SIGNS = ("==", "!=", "<=", ">=", "<", ">")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|0[xX][0-9a-fA-F]+)[uU]?")
_TEXT = re.compile(r"([\"'])((?:[^\"'\\]|(?!\1)[\"'])*)\1", re.DOTALL)
_TOKEN = re.compile(
    r"//[^\n]*+|[rRbB]{0,2}(?:\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+')"
    r"|0[xX][0-9a-fA-F]+[uU]?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[uU]?|[A-Za-z_]\w*+|[=!<>]=|&&|\|\||\S"
)


def compared_metadata(source: str) -> tuple[tuple[str, bool], ...]:
    """Each entry that stands beside a comparison with a literal, and whether that is a number."""
    tokens = [token for token in _TOKEN.findall(source) if not token.startswith("//")]
    found = dict.fromkeys(_comparisons(tokens))
    return tuple(found)


def _comparisons(tokens: Sequence[str]) -> Iterator[tuple[str, bool]]:
    for at in range(len(tokens)):
        if tokens[at : at + 3] != ["request", ".", "metadata"]:
            continue
        name, end = _entry(tokens, at + 3)
        if name is None:
            continue
        if end < len(tokens) and tokens[end] in _SIGNS:
            yield from _with(name, _literal(tokens, end + 1))
        elif at >= 2 and tokens[at - 1] in _SIGNS:
            yield from _with(name, _kind(tokens[at - 2]))


def _entry(tokens: Sequence[str], at: int) -> tuple[str | None, int]:
    """The name of the entry that is taken, by ``.name`` or ``["name"]``, and where the rest begins."""
    if tokens[at : at + 1] == ["."] and len(tokens) > at + 1:
        return (None, at) if tokens[at + 2 : at + 3] == ["("] else (tokens[at + 1], at + 2)
    if tokens[at : at + 1] == ["["] and tokens[at + 2 : at + 3] == ["]"]:
        text = _TEXT.fullmatch(tokens[at + 1])
        return (text[2] if text else None), at + 3
    return None, at


def _literal(tokens: Sequence[str], at: int) -> bool | None:
    """Whether a number stands there; None: neither that nor a text."""
    if tokens[at : at + 1] == ["-"]:
        at += 1
    return _kind(tokens[at]) if at < len(tokens) else None


def _kind(token: str) -> bool | None:
    if _NUMBER.fullmatch(token):
        return True
    return False if token[-1:] in {'"', "'"} else None


def _with(name: str, number: bool | None) -> Iterator[tuple[str, bool]]:
    if number is not None:
        yield name, number

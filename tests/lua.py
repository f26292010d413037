"""Changes of the shipped Lua, for tests that show what its lines are good for.

What is replaced is found by its tokens, wherever in the scripts it stands, so neither layout nor comments nor a move to
another file matter. Only where the same words occur in several files is their file named first.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import pytest

from aegis_core.store import scripts

_TOKEN = re.compile(
    r"""(?P<left>\s+|--\[\[.*?\]\]|--[^\n]*)|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|\d[\w.]*"""
    r"""|\.\.\.?|[=~<>]=|.""",
    re.DOTALL,
)


def replaced(text: str, old: str, new: str) -> str:
    """The Lua with the tokens of `old`, which occur once, replaced by `new`."""
    spans = _occurrences(text, old)
    assert len(spans) == 1, f"{old!r} occurs {len(spans)} times; the mutant must follow the script"
    start, end = spans[0]
    return f"{text[:start]}{new}{text[end:]}"


def _occurrences(text: str, wanted: str) -> list[tuple[int, int]]:
    tokens, look = _tokens(text), [token for token, _, _ in _tokens(wanted)]
    assert look, f"{wanted!r} has no Lua in it"
    words = [token for token, _, _ in tokens]
    return [
        (tokens[at][1], tokens[at + len(look) - 1][2])
        for at in range(len(words) - len(look) + 1)
        if words[at : at + len(look)] == look
    ]


@cache  # each mutant looks through all the scripts
def _tokens(text: str) -> list[tuple[str, int, int]]:
    return [(found[0], *found.span()) for found in _TOKEN.finditer(text) if not found["left"]]


def place(mutant: tuple[str, ...]) -> dict[str, list[tuple[str, str]]]:
    """The replacements by the part of the scripts that they are made in."""
    parts = {each.name.removesuffix(".lua"): each.read_text("utf-8") for each in _lua()}
    scope, pairs = (mutant[0], mutant[1:]) if len(mutant) % 2 else ("", mutant)
    found: dict[str, list[tuple[str, str]]] = {}
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        where = [name for name, text in parts.items() if name == scope or (not scope and _occurrences(text, old))]
        assert len(where) == 1, f"{old!r} occurs in {where or 'no script'}; the mutant must follow the scripts"
        parts[where[0]] = replaced(parts[where[0]], old, new)
        found.setdefault(where[0], []).append((old, new))
    return found


def _lua() -> list[Any]:
    found, folders = [], [files("aegis_core.store") / "lua"]
    while folders:
        for each in folders.pop().iterdir():
            (folders if each.is_dir() else found).append(each)
    return sorted(found, key=lambda each: each.name)


def put_in_place(monkeypatch: pytest.MonkeyPatch, change: tuple[str, ...]) -> None:
    """Make every script that is assembled from now on hold a change: pairs of old and new, before them maybe a file."""
    places, read = place(change), scripts._read

    def changed(part: str) -> str:
        text = read(part)
        for old, new in places.get(part, ()):
            text = replaced(text, old, new)
        return text

    monkeypatch.setattr(scripts, "_read", changed)

"""Whether scripts name only what there is: Lua itself takes a misspelt name for nil, and says nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from aegis_core.store import scripts
from aegis_core.store.layout import HEADS
from aegis_core.store.lua_names import TOKEN

_KEYWORDS = frozenset(
    (
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not",
        "or", "repeat", "return", "then", "true", "until", "while",
    )
)  # fmt: skip
_GLOBALS = frozenset(
    (
        "cmsgpack", "ipairs", "math", "next", "pairs", "redis", "string", "table", "tonumber", "type", "unpack",
        "complete", "decide_one",  # made where scripts are assembled
    )
)  # fmt: skip
_KEY = re.compile(r"PREFIX \.\. '([a-z]+:?)|(?:fetch|change|hold)\('([a-z]+:?)")


def check(name: str, parts: Mapping[str, str], called_with: Sequence[tuple[str, ...]]) -> None:
    """Look through the parts of one script.

    Raises:
        ValueError: a part uses a name that no part declares, or a key that `layout` does not know; or the script does
            not use something that it is called with.
    """
    declared, used = set(_GLOBALS), set[str]()
    arguments = {argument for fields in called_with for argument in fields}
    for text in parts.values():
        declared |= _facts(text)[0]
        used |= _facts(text)[1]
    for part, text in parts.items():
        unknown = sorted(_facts(text)[1] - declared - arguments)
        unknown += [f"the key {key}" for key in _facts(text)[2] - set(HEADS)]
        if unknown:
            raise ValueError(f"lua/{part}.lua names {', '.join(unknown)}, which nothing declares")
    if idle := sorted(arguments - used):
        raise ValueError(f"lua/{name}.lua does not use {', '.join(idle)}, with which it is called")


def check_all() -> int:
    """Look through every verb that is shipped; answers how many there are.

    Raises:
        ValueError: as `check` does.
    """
    assembly = scripts._Assembly()
    shared = {part: assembly.parts[part] for part in ("clock", *scripts._PARTS)}
    for name, (own, called) in assembly.made.items():
        check(name, shared | {part: assembly.parts[part] for part in own}, [each._fields for each in called])
    return len(assembly.made)


@lru_cache(maxsize=256)
def _facts(text: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """What a part declares, which names it uses, and which keys."""
    tokens = [found[0] for found in TOKEN.finditer(text) if not found[0].startswith("--")]
    declared, used = set[str](), set[str]()
    at = 0
    while at < len(tokens):
        if tokens[at] in {"local", "for", "function"}:
            at, names = _declared(tokens, at + 1)
            declared |= names
        elif _is_name(tokens[at]) and not _is_field(tokens, at):
            used.add(tokens[at])
        at += 1
    return frozenset(declared), frozenset(used), frozenset(a or b for a, b in _KEY.findall(text))


def _declared(tokens: list[str], at: int) -> tuple[int, set[str]]:
    """The names that are declared from a place on, and where the last of them stands."""
    names = set[str]()
    of_function = "function" in tokens[at - 1 : at + 1]
    while at < len(tokens):
        if _is_name(tokens[at]):
            names.add(tokens[at])
            at += tokens[at + 1 : at + 2] == [","]
        elif not of_function or tokens[at] in {")", "..."} or tokens[at] not in {"function", "(", ","}:
            return at - 1, names
        at += 1
    return at, names


def _is_name(token: str) -> bool:
    return (token[0].isalpha() or token[0] == "_") and token not in _KEYWORDS


def _is_field(tokens: list[str], at: int) -> bool:
    """True after a dot, and for a key of a table."""
    before, after = tokens[at - 1 : at] if at else [], tokens[at + 1 : at + 2]
    return before in (["."], [":"]) or (before in (["{"], [","]) and after == ["="])

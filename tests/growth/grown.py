"""A later version of the schema: every kind of record has one field more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgpack

from aegis_core.store import event_bodies
from aegis_core.store.schema import HELD, KINDS, Agent, Kind

EXTRA = "extra"
_DEFAULTS = (False, 7, "new")
_BY_PREFIX = {kind.prefix: kind for kind in KINDS}
KEYS = {
    **HELD, "r:": ("R", False), "j:": ("J", False), "p:": ("P", False), "pf": ("F", False), "k:": ("Y", False),
    "lc": ("N", False), "l:": ("L", False), "lw:": ("W", False), "x:": ("X", False), "cn:": ("NOTICE", False),
    "pe": ("PERSON", False),
}  # fmt: skip
"""What lies under the names of keys; under ``lw:``, ``cn:`` and ``pe`` it is the values of a hash."""


def grow(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Append a field to every class, in place, so that whoever has imported one has the later version."""
    kinds = {kind.fields for kind in KINDS} | set(event_bodies.BODIES.values())
    for number, kind in enumerate(sorted(kinds, key=lambda kind: kind.__name__)):
        later: Any = NamedTuple(kind.__name__, [(name, Any) for name in (*kind._fields, EXTRA)])
        default = _DEFAULTS[number % len(_DEFAULTS)]
        later.__new__.__defaults__ = (default,)
        put(kind, "_fields", later._fields)
        put(kind, "_field_defaults", {**kind._field_defaults, EXTRA: default})
        put(kind, "__new__", later.__new__)
        put(kind, "_make", classmethod(later._make.__func__))
        put(kind, EXTRA, later.__dict__[EXTRA])


def marked(kind: Kind, value: Any, mark: Callable[[], str] | None) -> Iterator[tuple[str, Any]]:
    """The last element of every record in a value, by its path; with `mark` it is replaced first.

    A record in a list goes by its first field there, as its place may change.
    """
    if mark:
        width = value[0] if kind.rows else len(value)
        assert width == len(kind.fields._fields), f"{kind.fields.__name__} was not written whole: {value}"
    if kind.rows:
        width = value[0]
        for at in range(1, len(value), width):
            if mark:
                value[at + width - 1] = mark()
            yield f".{kind.prefix}[{value[at]}]", value[at + width - 1]
        return
    for name, inner in kind.one.items():
        part = value[kind.fields._fields.index(name)]
        if part:
            yield from ((f".{name}{path}", each) for path, each in marked(_BY_PREFIX[inner], part, mark))
    if kind.fields is Agent:  # a count of spending is a budget, any other a rate
        for name, part in (value[kind.fields._fields.index("counters")] or {}).items():  # Lua packs none as a list
            inner = _BY_PREFIX["B" if any(isinstance(each, list) for each in part) else "U"]
            yield from ((f".counters[{name}]{path}", each) for path, each in marked(inner, part, mark))
    for name, inner in kind.many.items():
        for part in value[kind.fields._fields.index(name)]:
            found = marked(_BY_PREFIX[inner], part, mark)
            yield from ((f".{name}[{part[0]}]{path}", each) for path, each in found)
    if mark:
        value[-1] = mark()
    yield f".{kind.prefix}", value[-1]


_OF_EXPERIMENTS = {"tally": "TALLY", "closed": "CLOSED"}


def marks_of_experiment(field: str, blob: bytes, mark: Callable[[], str] | None = None) -> tuple[bytes, dict[str, Any]]:
    """As `marks`, of one field of an experiment: its pairs by their numbers, and what they say."""
    prefix = "PAIR" if field.isdigit() else _OF_EXPERIMENTS.get(field)
    if prefix is None:
        return blob, {}
    value = msgpack.unpackb(blob)
    found = dict(marked(_BY_PREFIX[prefix], value, mark))
    return msgpack.packb(value, use_bin_type=False), found


def marks(name: str, blob: bytes, mark: Callable[[], str] | None = None) -> tuple[bytes, dict[str, Any]]:
    """The value of a key, its records marked, and the marks by path."""
    head = name.partition("}:")[2].partition(":")[0]
    head += ":" * (f"{head}:" in KEYS)
    if head not in KEYS:
        return blob, {}
    prefix, many = KEYS[head]
    value = msgpack.unpackb(blob)
    found: dict[str, Any] = {}
    for each in value if many else [value]:
        at = f"[{each[0]}]" if many else ""
        found |= {f"{at}{path}": mark_ for path, mark_ in marked(_BY_PREFIX[prefix], each, mark)}
    return msgpack.packb(value, use_bin_type=False), found

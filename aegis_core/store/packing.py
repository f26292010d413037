"""MessagePack as Lua's cmsgpack speaks it: no bin type, bytes and text are both raw strings. And records by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import msgpack

from aegis_core.protocol.errors import StoreError

_library: Any = msgpack

pack = cast("Callable[[Any], bytes]", _library.Packer(use_bin_type=False, autoreset=True).pack)
unpack = cast("Callable[[bytes], Any]", _library.unpackb)


def unpack_raw(blob: bytes) -> list[Any]:
    """A list whose texts stay bytes, because some of them are no text."""
    return _library.unpackb(blob, raw=True)


Named = NamedTuple
"""A class of `schema`, of `verbs` or of the lists between."""

_N = TypeVar("_N", bound=Named)


def decode(kind: type[_N], values: Sequence[Any]) -> _N:
    """A stored list by name. What an older version did not write has its default; what a newer one added is left out.

    Raises:
        StoreError: a field is missing that was always there, so the data is damaged.
    """
    if len(values) == len(kind._fields):
        return kind._make(values)
    return kind._make(_fitted(kind, values))


def _fitted(kind: type[Named], values: Sequence[Any]) -> list[Any]:
    names, defaults = kind._fields, kind._field_defaults
    missing = names[len(values) :]
    if not defaults.keys() >= set(missing):
        text = f"INVARIANT: a stored {kind.__name__} of {len(values)} fields lacks {', '.join(missing)}"
        raise StoreError(text, reason="script")
    return [*values[: len(names)], *(defaults[name] for name in missing)]


def row_list(kind: type[Named], found: Iterable[Iterable[Any]]) -> list[Any]:
    """Rows as one list, behind their length."""
    flat: list[Any] = [len(kind._fields)]
    for row in found:
        flat += row
    return flat


def rows(kind: type[_N], flat: Sequence[Any]) -> list[_N]:
    """The rows of a stored list, which begins with their length."""
    width = flat[0]
    found = (flat[at : at + width] for at in range(1, len(flat), width))
    if width == len(kind._fields) and not kind._field_defaults:
        return [kind._make(row) for row in found]
    return [kind._make(_row(kind, row)) for row in found]


def _row(kind: type[Named], row: Sequence[Any]) -> list[Any]:
    """Older code that appends a row to longer ones puts False where it knows no field; that means the default."""
    defaults = kind._field_defaults
    fitted = zip(kind._fields, _fitted(kind, row), strict=True)
    return [defaults.get(name, value) if value is False else value for name, value in fitted]


def columns(kind: type[Named], *names: str) -> Callable[[Sequence[Any]], Iterable[tuple[Any, ...]]]:
    """What reads some fields of every row, without making records of them: for those that have always been there."""
    places = [kind._fields.index(name) + 1 for name in names]
    assert not kind._field_defaults.keys() & set(names), "what may be missing is read by `rows`"
    return lambda flat: zip(*[flat[at :: flat[0]] for at in places], strict=True)

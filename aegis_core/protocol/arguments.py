"""The hash by which an approval holds for one call: equal for equal arguments, and for no others."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping, Set
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PurePath
from typing import Annotated, Any, cast
from uuid import UUID

import rfc8785
from pydantic import AfterValidator, BaseModel, Field

from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.parsing import NestingError, first_repeat, loads, readable

MAX_DEPTH = 64
"""Containers within one another."""
MAX_VALUES = 1_000_000
"""Values in all; one that is reached in two ways counts twice."""
MAX_SHOWN = 65_536
"""Bytes of spelt arguments about which a person can be asked; longer ones nobody reads."""
ArgumentsJson = Annotated[str, Field(max_length=MAX_SHOWN), AfterValidator(readable)]
"""The field of messages that holds spelt arguments."""
MAX_DIGITS = 4_300
"""Digits of a number, as Python reads it from text."""

_VERSION = "a2"
"""Goes before the digits, so that no hash of an older version is taken for one of these."""
_SAFE = 2**53 - 1
_TOO_LONG = 10**MAX_DIGITS
_TELLING = (
    date, time, timedelta, tzinfo, UUID, Fraction, complex, range, Enum, PurePath, IPv4Address, IPv6Address,
    IPv4Interface, IPv6Interface, IPv4Network, IPv6Network,
)  # fmt: skip
"""Types whose ``repr`` says all that their values hold; an enumeration's value is told by its name."""
_CONTAINERS = (Mapping, Set, list, tuple)
_SEVERAL = ("getlist", "get_list", "getall", "multi_items")
"""Methods of mappings that have several values of one key, of which ``items`` may show one."""
_UNTELLING = re.compile(r" at 0x|\.\.\.|…|\*\*\*")
"""What stands in a ``repr`` that leaves something out: an address for the contents, a long array, a secret."""


def hash_arguments(arguments: object) -> str:
    """``a2:`` and 32 hexadecimal digits, equal for equal arguments in every process and framework.

    Raises:
        InvalidRequestError: what cannot be told from other arguments, see `spelt_arguments`.
    """
    return hash_of(spelt_arguments(arguments))


def bound_arguments(arguments: object) -> tuple[str, str | None]:
    """The hash, and the JSON that it is of: empty where that is longer than `MAX_SHOWN`. Raises as `hash_arguments`."""
    spelt = spelt_arguments(arguments)
    return hash_of(spelt), spelt.decode() if len(spelt) <= MAX_SHOWN else ""


def hash_of(spelt: bytes) -> str:
    """The hash of arguments that are spelt already."""
    return f"{_VERSION}:{blake2b(spelt, digest_size=16).hexdigest()}"


def spelt_arguments(arguments: object) -> bytes:
    """The JSON that is hashed, which is also what an approver reads: the same for equal arguments, for no others.

    JSON values are spelt as RFC 8785 says, so 1 and 1.0 are equal, and 1 and True are not. A tuple counts as a
    list, a subclass of text or numbers as its value, and text that holds a JSON object as that object. What JSON cannot
    say is spelt as an object that says what it was, such as ``{"$bytes": "61"}``: integers beyond 2^53, NaN and
    infinities, bytes, sets, decimals, mappings with other keys than text, models and dataclasses by their fields, and
    dates, times, identifiers, fractions, enumerations, paths and addresses by their type and ``repr``. Keys that begin
    with ``$`` get another ``$``, so nothing looks like those.

    Raises:
        InvalidRequestError: what cannot be told from other arguments: an object of another kind, whose ``repr`` may
            leave something out, mappings with several values of a key, nesting beyond 64 levels, what holds itself,
            more than a million values, a number of more than 4,300 digits, JSON text with a key twice or a number that
            no float can be.
    """
    if isinstance(arguments, str):
        arguments = _parsed(arguments)
    return rfc8785.dumps(_Spelling().of(arguments))


def single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads` as its ``object_pairs_hook``: an object, each key of which stands there once.

    Raises:
        InvalidRequestError: readers differ on which of two values counts, so nobody knows what would be approved.
    """
    if (twice := first_repeat(pairs)) is not None:
        raise _refused(f"hold the key {twice[:64]!r} twice in one JSON object; give it once")
    return dict(pairs)


def _parsed(text: str) -> object:
    if not text.lstrip(" \t\r\n").startswith("{"):
        return text
    try:
        return loads(text, object_pairs_hook=single_keys, parse_int=_whole, parse_float=_real)
    except (NestingError, RecursionError):
        raise _too_deep() from None
    except json.JSONDecodeError:
        return text


def _whole(digits: str) -> int:
    return int(_bounded(digits))


def _real(digits: str) -> float:
    value = float(_bounded(digits))
    if math.isinf(value):
        raise _refused(f"hold the number {digits[:32]}, which is beyond what readers of JSON can hold; pass it as text")
    return value


def _bounded(digits: str) -> str:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise _too_long()
    return digits


class _Spelling:
    """One value on its way to JSON."""

    def __init__(self) -> None:
        self._left = MAX_VALUES
        self._within: set[int] = set()

    def of(self, value: object) -> Any:
        """As `rfc8785` takes it."""
        self._left -= 1
        if self._left < 0:
            raise _refused(f"hold more than {MAX_VALUES:,} values; pass a reference to them")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(str.__str__(value))
        if isinstance(value, int):
            return _integer(int.__index__(value))
        if isinstance(value, float):
            return float.__float__(value) if math.isfinite(value) else {"$float": float.__repr__(value)}
        if id(value) in self._within:
            raise _refused("hold a value that holds itself; pass it without the circle")
        if len(self._within) >= MAX_DEPTH:
            raise _too_deep()
        self._within.add(id(value))
        spelt = self._inner(value)
        self._within.remove(id(value))
        return spelt

    def _inner(self, value: object) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._fields(value, {each.name: getattr(value, each.name) for each in dataclasses.fields(value)})
        if isinstance(value, Mapping):
            return self._mapping(cast("Mapping[object, object]", value))
        if isinstance(value, list | tuple):
            return [self.of(item) for item in cast("Iterable[object]", value)]
        if isinstance(value, bytes | bytearray):
            return {"$bytes": bytes(value).hex()}
        if isinstance(value, Set):
            return {"$set": _ordered(self.of(item) for item in cast("Set[object]", value))}
        if isinstance(value, Decimal):
            return {"$decimal": _decimal(value)}
        if isinstance(value, BaseModel):  # also the fields that its dump leaves out, and what it is iterated over
            return self._fields(value, {**(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})})
        return {"$object": [_name(value), _text(_shown(value))]}

    def _fields(self, value: object, fields: dict[str, object]) -> dict[str, Any]:
        """Of a model or a dataclass everything that it holds, whether declared or not."""
        if isinstance(value, _CONTAINERS):  # what it holds besides stands in no field
            raise _untelling(cast("object", value))
        held: dict[str, object] = getattr(value, "__dict__", {})
        return {"$fields": [_name(value), self.of({**held, **fields})]}

    def _mapping(self, value: Mapping[object, object]) -> dict[str, Any]:
        if any(hasattr(type(value), name) for name in _SEVERAL):
            raise _untelling(value)
        pairs = [(self.of(key), self.of(item)) for key, item in value.items()]
        if all(isinstance(key, str) for key, _ in pairs):
            found = {f"${key}" if key.startswith("$") else key: item for key, item in pairs}
            if len(found) != len(pairs):  # keys that are text and compare otherwise
                raise _untelling(value)
            return found
        return {"$mapping": _ordered([key, item] for key, item in pairs)}


def _ordered(values: Iterable[Any]) -> list[Any]:
    return sorted(values, key=rfc8785.dumps)


def _text(value: str) -> Any:
    """Text, or half a surrogate pair, which UTF-8 cannot carry, by its code units."""
    try:
        _ = value.isascii() or value.encode()
    except UnicodeEncodeError:
        return {"$text": value.encode("utf-8", "surrogatepass").hex()}
    return value


def _integer(value: int) -> Any:
    if abs(value) <= _SAFE:
        return value
    if abs(value) >= _TOO_LONG:
        raise _too_long()
    return {"$int": hex(value)}


def _decimal(value: Decimal) -> str:
    """The same for 1, 1.0 and 10E-1. Without arithmetic, which would round."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return str(value)
    if len(digits) > MAX_DIGITS:
        raise _too_long()
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    return f"{'-' if sign else ''}{kept}E{exponent + len(text) - len(kept)}" if kept else "0"


def _shown(value: object) -> str:
    if not isinstance(value, _TELLING):
        raise _untelling(value)
    try:
        name = cast("str | None", value.name) if isinstance(value, Enum) else repr(value)
        shown = str(value) if isinstance(value, PurePath) else name
    except ValueError:  # it holds a number that Python will not spell
        raise _too_long() from None
    except Exception:  # noqa: BLE001 - of a subclass, which may raise what it likes
        raise _untelling(value) from None
    if shown is None or (  # an enumeration's value has no name where it is made of several
        not isinstance(value, PurePath) and _UNTELLING.search(shown)
    ):
        raise _untelling(value)
    return shown


def _untelling(value: object) -> InvalidRequestError:
    return _refused(
        f"hold a value of the type {type(value).__qualname__} that cannot be told from others of it; pass what it "
        "holds, as values of JSON"
    )


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _refused(problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"The arguments {problem}.", field="arguments", problem=problem)


def _too_deep() -> InvalidRequestError:
    return _refused(f"are nested more than {MAX_DEPTH} levels deep; pass them flatter")


def _too_long() -> InvalidRequestError:
    return _refused(f"hold a number of more than {MAX_DIGITS:,} digits; pass it as text")

"""One spelling for equal values, to be read, measured and kept; what an approval holds for is hashed in `arguments`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Set
from decimal import Decimal
from hashlib import blake2b
from typing import cast

_DEEPEST = 64

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: object) -> str:
    """A value as JSON with sorted keys and no spaces. It takes everything, and spells some different values alike.

    What JSON has no form for is spelt as an object that says what it was, ``{"$type": text}``, so that a number and its
    text stay apart: NaN and infinities, bytes (as hexadecimal), sets (sorted), decimals, models (by their fields), and
    anything else by its ``repr`` without memory addresses. A whole float is written as the integer it equals.
    """
    return _encode(_plain(value, 0))


def storable(text: str) -> str:
    """The same text, but half a surrogate pair, which UTF-8 cannot carry, as its escape, which JSON reads as that half.

    Models leave half an emoji behind when they are cut off, and file names hold bytes that are no UTF-8.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def digest(*parts: str) -> str:
    """32 hexadecimal digits for a list of texts."""
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _plain(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in {bool, int, str, type(None)} else _plain(_bare(value), depth)
    if isinstance(value, float):
        if not math.isfinite(value):
            return {"$float": repr(value)}
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if depth > _DEEPEST:
        return {"$deep": type(value).__qualname__}
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {key if isinstance(key, str) else canonical_json(key): _plain(item, depth + 1) for key, item in pairs}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in cast("list[object]", value)]
    return _special(value, depth)


def _bare(value: object) -> int | str:
    """An enumeration's member and the like as the plain value that it is."""
    return str.__str__(value) if isinstance(value, str) else int(cast("int", value))


def _special(value: object, depth: int) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": bytes(cast("bytes", value)).hex()}
    if isinstance(value, Set):
        return {"$set": sorted(canonical_json(item) for item in cast("Set[object]", value))}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return {f"${type(value).__qualname__}": _plain(dump(), depth + 1)}
    shown = repr(value).partition(" at 0x")[0]
    return {f"${type(value).__qualname__}": shown}


def record_id(agent: str, request_id: str) -> str:
    """The name under which a request is remembered: short, of fixed alphabet, and the agent's own."""
    return blake2b(f"{agent}\0{request_id}".encode(), digest_size=16).hexdigest()

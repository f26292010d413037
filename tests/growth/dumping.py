"""A database as JSON, and back. Of a key: its type, what it holds (in base64), and the ms that it has left."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from aegis_core.store.store import Store


async def dump(store: Store) -> dict[str, Any]:
    """Every key."""
    found: dict[str, Any] = {}
    for name in sorted(await store.command("KEYS", "ae:*")):
        kind = (await store.command("TYPE", name)).decode()
        command, tail = _READ[kind]
        value = await store.command(command, name, *tail)
        left = await store.command("PTTL", name)
        found[name.decode()] = {"type": kind, "value": _texts(value), "pttl": max(left, 0)}
    return found


async def restore(store: Store, dumped: dict[str, Any]) -> None:
    """Every key again."""
    for name, entry in dumped.items():
        for command in _WRITE[entry["type"]](_blobs(entry["value"])):
            await store.command(command[0], name, *command[1:])
        if entry["pttl"]:
            await store.command("PEXPIRE", name, entry["pttl"])


def _texts(value: Any) -> Any:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, dict):
        return [_texts([name, each]) for name, each in sorted(value.items())]
    if isinstance(value, set):
        return sorted(map(_texts, value))
    return [_texts(each) for each in value] if isinstance(value, list | tuple) else value


def _blobs(value: Any) -> Any:
    if isinstance(value, str):
        return b64decode(value)
    return [_blobs(each) for each in value] if isinstance(value, list) else value


def _pairs(value: list[Any]) -> list[Any]:
    """A hash or a scored set, whichever way the client answered it."""
    return value if value and isinstance(value[0], list) else [value[at : at + 2] for at in range(0, len(value), 2)]


_READ: dict[str, tuple[str, tuple[Any, ...]]] = {
    "string": ("GET", ()), "hash": ("HGETALL", ()), "set": ("SMEMBERS", ()), "zset": ("ZRANGE", (0, -1, "WITHSCORES")),
    "stream": ("XRANGE", ("-", "+")),
}  # fmt: skip
_WRITE: dict[str, Callable[[Any], list[list[Any]]]] = {
    "string": lambda value: [["SET", value]],
    "hash": lambda value: [["HSET", *pair] for pair in _pairs(value)],
    "set": lambda value: [["SADD", *value]],
    "zset": lambda value: [["ZADD", score, member] for member, score in _pairs(value)],
    "stream": lambda value: [["XADD", at, *(part for pair in _pairs(fields) for part in pair)] for at, fields in value],
}

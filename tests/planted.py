"""All bytes that a tenant has on its server, to look for what must not be among them."""

from __future__ import annotations

from collections.abc import Iterable

import redis


def kept(server: redis.Redis, tenant: str) -> bytes:
    """Names and values of all its keys, one after the other."""
    return b"\n".join(
        part for key in server.scan_iter(f"ae:{{{tenant}}}:*", count=10_000) for part in _key(server, key)
    )


def _key(server: redis.Redis, key: bytes) -> Iterable[bytes]:
    yield key
    match server.type(key):
        case b"string":
            yield server.get(key) or b""
        case b"hash":
            for pair in server.hgetall(key).items():
                yield from pair
        case b"zset":
            yield from server.zrange(key, 0, -1)
        case b"set":
            yield from server.smembers(key)
        case b"list":
            yield from server.lrange(key, 0, -1)
        case b"stream":
            for _, fields in server.xrange(key):
                for pair in fields.items():
                    yield from pair
        case b"none":  # it has ended meanwhile
            return
        case other:
            raise AssertionError(f"{key!r} is of a type that nobody looks into: {other!r}")

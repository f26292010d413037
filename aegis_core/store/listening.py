"""A subscription: redis-py connects and authenticates, then this protocol takes over its transport.

A message costs a few microseconds this way; through redis-py's own subscription it costs ten times that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import hiredis
from redis.exceptions import RedisError

from aegis_core.store.address import Clients
from aegis_core.store.inherited import closed, keep_apart

Hear = Callable[[str, str], None]
"""Takes channel and text of a message; two empty texts after each (re)connection, when some may have been missed."""

_PAUSE = 0.2
"""Seconds before a lost connection is made again."""

_pack_command = cast("Callable[[tuple[str, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]


class PushConnection(asyncio.Protocol):
    """One connection that only hears. `ended` is done when it does no more."""

    def __init__(self, transport: asyncio.Transport, channels: tuple[str, ...], hear: Hear) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport, self._hear, self._missing = transport, hear, len(channels)
        self.lost = False
        self._reader = hiredis.Reader()
        self._before = transport.get_protocol()
        transport.set_protocol(self)
        keep_apart(self)
        transport.write(_pack_command(("SUBSCRIBE", *channels)))

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, Exception):  # the server refuses to be listened to
                self.transport.close()
                return
            kind, channel, text = cast("tuple[bytes, bytes, bytes]", reply)
            if kind == b"message":
                self._hear(channel.decode(), text.decode())
            elif kind == b"subscribe":
                self._missing -= 1
                if not self._missing:
                    self._hear("", "")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        closed(self)
        if not self.ended.done():
            self.ended.set_result(None)
        self._before.connection_lost(exc)


async def listen(clients: Clients, longest: float, channels: tuple[str, ...], hear: Hear) -> None:
    """Bring every message on some channels to `hear`, until cancelled; a connection that is lost is made again.

    Args:
        clients: the way to the server.
        longest: seconds that connecting may take.
        channels: their names.
        hear: what is called.
    """
    while True:
        with suppress(RedisError, OSError):
            if clients.single is None:
                await _listen_to_cluster(clients, channels, hear)
            else:
                await _listen_once(clients.single.connection_pool, longest, channels, hear)
        await asyncio.sleep(_PAUSE)


async def _listen_once(pool: Any, longest: float, channels: tuple[str, ...], hear: Hear) -> None:
    connection = pool.make_connection()
    try:
        async with asyncio.timeout(longest):
            await connection.connect()
        await PushConnection(connection._writer.transport, channels, hear).ended  # noqa: SLF001 - as in pipeline.py
    finally:
        await connection.disconnect(nowait=True)


async def _listen_to_cluster(clients: Clients, channels: tuple[str, ...], hear: Hear) -> None:
    pubsub = clients.any.pubsub()
    try:
        await pubsub.subscribe(*channels)
        hear("", "")
        async for message in pubsub.listen():
            if message["type"] == "message":
                hear(message["channel"].decode(), message["data"].decode())
    finally:
        with suppress(RedisError, OSError):
            await pubsub.aclose()

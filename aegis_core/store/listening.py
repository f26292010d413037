"""A subscription: redis-py connects and authenticates, then this protocol takes over its transport.

A message costs a few microseconds this way; through redis-py's own subscription it costs ten times that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import hiredis
from redis.exceptions import MovedError, NoPermissionError, RedisClusterException, RedisError

from aegis_core.protocol.masking import visible
from aegis_core.store.address import Clients
from aegis_core.store.inherited import closed, keep_apart

_log = logging.getLogger("aegis.store")

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
        self.refusal = ""
        """What the server said, where it refuses to be listened to."""
        self._reader = hiredis.Reader()
        self._before = transport.get_protocol()
        transport.set_protocol(self)
        keep_apart(self)
        transport.write(_pack_command(("SUBSCRIBE", *channels)))

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, Exception):
                self.refusal = str(reply)
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
    told = ""
    while True:
        refusal = ""
        try:
            if clients.single is None:
                await _listen_to_cluster(clients, channels, hear)
            else:
                refusal = await _listen_once(clients.single.connection_pool, longest, channels, hear)
        except (NoPermissionError, MovedError) as error:
            refusal = str(error)
        except (RedisError, RedisClusterException, OSError):
            pass
        if refusal and refusal != told:  # once, for it is asked again several times a second
            _log.warning(
                "Redis refuses to be listened to (%s): what waits for an approval or a lock hears of it late. "
                "docs/operations.md lists the permissions that Aegis needs.",
                visible(refusal[:200]),
            )
            told = refusal
        await asyncio.sleep(_PAUSE)


async def _listen_once(pool: Any, longest: float, channels: tuple[str, ...], hear: Hear) -> str:
    """Listen until the connection ends; what the server said where it refused."""
    connection = pool.make_connection()
    try:
        async with asyncio.timeout(longest):
            await connection.connect()
        hearing = PushConnection(connection._writer.transport, channels, hear)  # noqa: SLF001 - as in pipeline.py
        await hearing.ended
        return hearing.refusal
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
        with suppress(RedisError, RedisClusterException, OSError):
            await pubsub.aclose()

"""The hot path's connection: redis-py connects and authenticates, then this protocol takes over its transport.

Calls of one loop tick leave in one write and replies are matched in order, which costs half of redis-py's pool per
call. A call on an idle pipeline is written at once, so that a lone caller does not wait for the end of the tick.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from aegis_core.protocol.errors import UNKNOWN, AnswerLostError, StoreError
from aegis_core.store.inherited import closed, keep_apart

_pack_command = cast("Callable[[tuple[bytes | str | int, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]

_BATCH = 8
"""Calls in one write: few enough that the server works on some while the next are still being prepared."""


_LOOKS = 10
"""Times within its time-out that a pipeline looks whether a call has waited too long."""


class UnreachableError(StoreError):
    """The server could not be connected to, so nothing was sent to it."""


class Pipeline(asyncio.Protocol):
    """One pipelining connection. Create it with `adopt`; when `lost` is true it can only be replaced. `silent`: it was
    lost because the server said nothing for as long as a call may wait."""

    def __init__(self, timeout: float) -> None:
        self.lost = self.silent = False
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._sent: deque[float] = deque()
        self._buffer: list[bytes] = []
        self.heard_at = self._loop.time()
        """When the server last said something, by the loop's clock; or was first asked since it said all."""
        self.transport: asyncio.Transport
        self._before: asyncio.BaseProtocol
        self._watch = self._loop.call_later(timeout / _LOOKS, self._check)

    @classmethod
    def adopt(cls, transport: asyncio.Transport, timeout: float) -> Pipeline:
        """Take over a transport whose handshake is done."""
        pipeline = cls(timeout)
        pipeline.transport, pipeline._before = transport, transport.get_protocol()
        transport.set_protocol(pipeline)
        keep_apart(pipeline)
        return pipeline

    def call(self, *parts: bytes | str | int) -> asyncio.Future[Any]:
        """Send one command. The future holds the reply, or fails with what the server or the connection said."""
        future = self._loop.create_future()
        if self.lost:  # it can be, between two calls of one script
            future.set_exception(
                UnreachableError("The connection to Redis is closed; no decision was made.", reason="down")
            )
            return future
        waiting, now = self._waiting, self._loop.time()
        packed = _pack_command(parts)
        self._sent.append(now)
        if not waiting:
            self.heard_at = now
            waiting.append(future)
            self.transport.write(packed)
            return future
        waiting.append(future)
        buffer = self._buffer
        if not buffer:
            self._loop.call_soon(self._flush)
        buffer.append(packed)
        if len(buffer) >= _BATCH:
            self._flush()
        return future

    def _flush(self) -> None:
        if self._buffer and not self.lost:
            self.transport.write(b"".join(self._buffer))
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        reader, waiting, sent = self._reader, self._waiting, self._sent
        reader.feed(data)
        self.heard_at = self._loop.time()
        while (reply := reader.gets()) is not False:
            future = waiting.popleft()
            sent.popleft()
            if future.done():
                continue
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        closed(self)
        self.fail("Redis closed the connection", "down")
        self._before.connection_lost(exc)

    def _check(self) -> None:
        """A server that says nothing is given up; of one that is slow, each call waits as long as it may."""
        now, text = self._loop.time(), f"Redis did not answer within {self._timeout:g} s"
        if self._waiting and now - self.heard_at >= self._timeout:
            self.silent = True
            self.fail(text, "slow")
            return
        for future, sent in zip(self._waiting, self._sent, strict=True):
            if now - sent < self._timeout:
                break
            if not future.done():
                future.set_exception(lost(text, "slow", sent))
        self._watch = self._loop.call_later(self._timeout / _LOOKS, self._check)

    def fail(self, message: str, reason: str) -> None:
        """Give the connection up; calls in flight fail with `AnswerLostError`."""
        if self.lost:
            return
        self.lost = True
        self._watch.cancel()
        self._buffer.clear()
        while self._waiting:
            future, sent = self._waiting.popleft(), self._sent.popleft()
            if not future.done():
                future.set_exception(lost(message, reason, sent))
        self.transport.abort()

    def close(self) -> None:
        """Close the transport; calls in flight fail."""
        self.fail("The store was closed", "closed")
        self.transport.close()


def lost(message: str, reason: str, sent_at: float | None = None) -> AnswerLostError:
    """The error of a call that was sent, then by the loop's clock, and not answered."""
    error = AnswerLostError(f"{message}; {UNKNOWN}", reason=reason)
    error.sent_at = sent_at
    return error

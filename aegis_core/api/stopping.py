"""A server that is asked to stop ends what only waits, so that what is under way has the time that is left."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aegis_core.api.problems import response_to
from aegis_core.protocol.errors import StoreError

_GRACE = 0.2
"""Seconds in which a request that may wait, and does not yet, is answered as ever."""


class Stopping:
    """Whether the server stops, and which requests wait. Made in its event loop.

    Attributes:
        begun: it stops; what would wait now is answered at once.
    """

    def __init__(self) -> None:
        self.begun = False
        self._loop = asyncio.get_running_loop()
        self._waits: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()

    def begin(self) -> None:
        """End all waits, and those to come. From any thread or signal handler."""
        self._loop.call_soon_threadsafe(self._begin)

    @contextmanager
    def on_signals(self) -> Generator[None]:
        """Begin at SIGTERM and SIGINT, ahead of what the server itself does then."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        servers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

        def hear(number: int, frame: FrameType | None) -> None:
            self.begin()
            cast("Callable[[int, FrameType | None], None]", servers[signal.Signals(number)])(number, frame)

        ours = [each for each, handler in servers.items() if callable(handler)]
        for each in ours:
            signal.signal(each, hear)
        try:
            yield
        finally:
            for each in ours:
                if signal.getsignal(each) is hear:
                    signal.signal(each, servers[each])

    def enter(self, task: asyncio.Task[Any]) -> None:
        """A request begins that may wait."""
        self._waits.add(task)

    def leave(self, task: asyncio.Task[Any]) -> None:
        """It was answered."""
        self._waits.discard(task)
        self._ended.discard(task)

    def ends(self, task: asyncio.Task[Any]) -> bool:
        """Whether it was cancelled because the server stops."""
        return task in self._ended

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self._loop.call_later(_GRACE, self._end)

    def _end(self) -> None:
        for task in self._waits:
            self._ended.add(task)
            task.cancel()


class EndingWaits:
    """Pure ASGI middleware: what waits while the server stops is answered 503, a stream of events ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _may_wait(scope):
            return await self._app(scope, receive, send)
        stopping: Stopping = scope["app"].state.stopping
        if stopping.begun:
            return await _STOPS(scope, receive, send)
        task = asyncio.current_task()
        assert task is not None  # every request has one
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        stopping.enter(task)
        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            if not stopping.ends(task):
                raise
            task.uncancel()
        finally:
            ended = stopping.ends(task)
            stopping.leave(task)
        if ended and started:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif ended:
            await _STOPS(scope, receive, send)
        return None


def _may_wait(scope: Scope) -> bool:
    return b"wait=" in scope["query_string"] or scope["path"].endswith("/events/stream")


_STOPS = response_to(
    StoreError(
        "The server stops, and what waits in it ends. What was asked goes on waiting: ask again, with the same "
        "request_id.",
        code="stopping",
        reason="stopping",
    )
)

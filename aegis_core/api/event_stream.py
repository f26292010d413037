"""Events as they happen, for browsers and programs (server-sent events): one reader of a process wakes all viewers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from pydantic import TypeAdapter

from aegis_core.governor.event_reader import EventReader
from aegis_core.protocol.errors import AegisError, ConflictError
from aegis_core.protocol.events import Event, EventPage, EventQuery, cursor_of

MOST_VIEWERS = 200
"""Of one tenant, in one process."""
_QUIET = 15.0
"""Seconds after which a comment shows that the stream is alive."""
_LOOK = 1.0
_JSON: TypeAdapter[Event] = TypeAdapter(Event)


class EventStreams:
    """The viewers of one tenant in this process. What each has seen is its own: a slow one keeps nobody waiting."""

    def __init__(self, reader: EventReader) -> None:
        self._reader, self._viewers, self._newest = reader, 0, ""
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def check_room(self) -> None:
        """See that there is a place for one more.

        Raises:
            ConflictError: there are as many viewers as there may be.
        """
        if self._viewers >= MOST_VIEWERS:
            raise ConflictError(
                f"{MOST_VIEWERS} programs follow the events of this tenant already, the most that one process serves.",
                code="too_many_viewers",
            )

    def _enter(self) -> None:
        self._viewers += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    def _leave(self) -> None:
        self._viewers -= 1
        if self._viewers == 0 and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        while True:
            try:
                newest = await self._reader.newest()
                if newest == self._newest:
                    await self._reader.something_after(newest, _LOOK)
                    continue
                self._newest = newest
                news, self._news = self._news, asyncio.Event()
                news.set()
            except AegisError:  # viewers hear of it by themselves
                await asyncio.sleep(_LOOK)

    async def lines(self, query: EventQuery, allowed: Callable[[], Awaitable[object]]) -> AsyncIterator[str]:
        """What a viewer is sent, from the cursor of its query on. `allowed` raises once its credential is void."""
        self._enter()  # here rather than in the route, so that a place is given back whatever becomes of the answer
        try:
            yield "retry: 1000\n\n"
            spoke = time.monotonic()
            while True:
                news = self._news
                page = await self._reader.find(query, tell=False)
                query = query.model_copy(update={"after": page.next})
                if text := _written(page):
                    await allowed()  # who was removed a moment ago is shown nothing more
                    yield text
                    spoke = time.monotonic()
                if page.more:
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), max(0.0, spoke + _QUIET - time.monotonic()))
                if time.monotonic() >= spoke + _QUIET:
                    await allowed()
                    yield ":\n\n"
                    spoke = time.monotonic()
        except AegisError as error:
            yield f"event: error\ndata: {json.dumps({'code': error.code, 'message': error.message})}\n\n"
        finally:
            self._leave()


def _written(page: EventPage) -> str:
    """Events with their ids; where some before them were trimmed, that first."""
    parts: list[str] = []
    if page.trimmed:
        first = page.events[0] if page.events else None
        gap = {"first_id": first and first.id, "first_number": first and first.number}
        parts.append(f"event: gap\ndata: {json.dumps(gap)}\n\n")
    parts += [f"id: {cursor_of(event)}\ndata: {_JSON.dump_json(event).decode()}\n\n" for event in page.events]
    return "".join(parts)

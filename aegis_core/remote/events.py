"""Events over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

from aegis_core.protocol.activity import ActivityPage, ActivityQuery
from aegis_core.protocol.events import Event, EventPage, EventQuery
from aegis_core.protocol.kaizen import Explanation, KaizenQuery, KaizenReport
from aegis_core.remote.calls import Query, segment

if TYPE_CHECKING:
    from pydantic import BaseModel

_T = TypeVar("_T")


class RemoteEvents:
    """What a governor behind a server shows of the events of its tenant."""

    _token: str | None

    if TYPE_CHECKING:

        async def _call(
            self, method: str, path: str, kind: type[_T], *, body: BaseModel | None = None, query: Query | None = None,
            token: str | None = None, session: str | None = None, wait: float = 0, retry: bool = False,
        ) -> _T: ...  # fmt: skip

    async def events(self, *, after: str = "0", limit: int = 100, wait: float = 0) -> tuple[Event, ...]:
        """As `EventViews.events`."""
        return (await self._events(after, limit, wait)).events

    async def latest_events(self, limit: int) -> tuple[Event, ...]:
        """As `EventViews.latest_events`."""
        query = {"latest": limit}
        page: EventPage = await self._call("GET", "/events", EventPage, query=query, token=self._token, retry=True)
        return page.events

    async def find_events(self, query: EventQuery) -> EventPage:
        """As `EventViews.find_events`."""
        said: Query = query.model_dump(exclude_none=True)
        return await self._call("GET", "/events", EventPage, query=said, token=self._token, retry=True)

    async def event(self, event_id: str) -> Event:
        """As `EventViews.event`."""
        return await self._call("GET", f"/events/{segment(event_id)}", Event, token=self._token, retry=True)

    async def activity(self, query: ActivityQuery) -> ActivityPage:
        """As `EventViews.activity`."""
        said: Query = query.model_dump(exclude_none=True)
        return await self._call("GET", "/activity", ActivityPage, query=said, token=self._token, retry=True)

    async def kaizen_report(self, query: KaizenQuery) -> KaizenReport:
        """As `EventViews.kaizen_report`."""
        said: Query = {"day": query.day.isoformat()} if query.day else {}
        return await self._call("GET", "/kaizen/report", KaizenReport, query=said, token=self._token, retry=True)

    async def kaizen_explain(self, name: str) -> Explanation:
        """As `EventViews.kaizen_explain`."""
        path = f"/kaizen/findings/{segment(name)}"
        return await self._call("GET", path, Explanation, token=self._token, retry=True)

    async def _events(self, after: str, limit: int, wait: float) -> EventPage:
        query = {"after": after, "limit": limit}
        return await self._call("GET", "/events", EventPage, query=query, token=self._token, wait=wait, retry=True)

    async def follow(self, *, after: str = "$") -> AsyncIterator[Event]:
        """Every event from now on (or after an id), for ever."""
        wait = 0.0 if after == "$" else 30.0
        while True:
            page = await self._events(after, 500, wait)
            after, wait = page.next, 30.0
            for event in page.events:
                yield event

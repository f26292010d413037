"""What a connected governor tells of what happened."""

from __future__ import annotations

from datetime import date

from aegis_core.client.connection import Connection
from aegis_core.client.ports import GovernorPort
from aegis_core.protocol.activity import ActivityPage, ActivityQuery
from aegis_core.protocol.events import Event, EventPage, EventQuery
from aegis_core.protocol.kaizen import KaizenQuery, KaizenReport
from aegis_core.protocol.parsing import parse


class Observing:
    """Events, their sums, and what was wasted; of a port."""

    connection: Connection

    @property
    def port(self) -> GovernorPort:
        """What carries the calls out. Raises `ConfigurationError` in a forked child that has not connected anew."""
        return self.connection.port

    async def events(self, *, after: str = "0", limit: int = 100, wait: float = 0) -> tuple[Event, ...]:
        """Events after an id, oldest first."""
        return await self.port.events(after=after, limit=limit, wait=wait)

    async def latest_events(self, limit: int = 50) -> tuple[Event, ...]:
        """The newest events, oldest of them first."""
        return await self.port.latest_events(limit)

    async def find_events(self, **query: object) -> EventPage:
        """A page of the events that the fields of `EventQuery` ask for: ``since="2h", code="budget_exceeded"``."""
        return await self.port.find_events(parse(EventQuery, **query))

    async def activity(self, **query: object) -> ActivityPage:
        """Sums of the events by the hour, as the fields of `ActivityQuery` group them: ``since="7d", by="model"``."""
        return await self.port.activity(parse(ActivityQuery, **query))

    async def kaizen_report(self, day: date | None = None) -> KaizenReport:
        """What was wasted on a day (None: the last closed one). Raises NotFoundError: it has no report."""
        return await self.port.kaizen_report(KaizenQuery(day=day))

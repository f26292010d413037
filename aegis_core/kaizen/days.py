"""Closes days at the tenant's midnight: one engine at a time, each event in one report, wherever it is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from aegis_core.kaizen.facts import DAY_MS
from aegis_core.kaizen.folding import CONTEXT_MS, DayFold
from aegis_core.kaizen.judging import judge
from aegis_core.kaizen.ports import ClosedDay, DayLease, KaizenPort
from aegis_core.protocol.events import Event

PAGE = 50
"""Events that are read at once: few, as other work of the process waits while they are understood."""

LEASE_SECONDS = 60.0
MOST_TRIES = 3


class DayCloser:
    """Closes the days of one tenant. How far it came is stored with the report, in the same step."""

    def __init__(self, port: KaizenPort, *, share: float = 1.0) -> None:
        """`share`: of the time of its process, at most; what else runs in it has the rest."""
        self._port, self._share, self._held = port, share, False

    async def look(self) -> int | None:
        """Close every day that is over; answers how many, None where another process does so.

        Raises:
            StoreError: Redis could not be asked; days that were closed stay closed.
        """
        closed = tries = 0
        while (lease := await self._port.hold(LEASE_SECONDS)) is not None:
            self._held = True
            day = await self._due(lease)
            await self._port.decide()  # before a report, which says how experiments stand
            if day is None:
                return closed
            if await self._close(lease, day):
                closed, tries = closed + 1, 0
            elif (tries := tries + 1) == MOST_TRIES:
                return None
        return None

    async def leave(self) -> None:
        """Let another process go on at once."""
        if self._held:
            await self._port.leave()

    async def _due(self, lease: DayLease) -> int | None:
        """The day of the oldest event that is in no report, if it is over; a day without events has no report.

        Where its clock had jumped, that day may have a report already, or be years ahead: then it is the next one that
        has none, or that of today.
        """
        if not (page := await self._port.page(lease.cursor, PAGE)):
            return None
        first = next((at for at in map(at_ms, page) if not ahead(lease.now, at)), lease.now)
        day = datetime.fromtimestamp(first / 1000, ZoneInfo(lease.zone)).date().toordinal()
        while await self._port.reported(day):
            day += 1
        return day if midnight(day + 1, lease.zone) <= lease.now else None

    async def _close(self, lease: DayLease, day: int) -> bool:
        start, end = midnight(day, lease.zone), midnight(day + 1, lease.zone)
        fold = DayFold(self._port.rates)
        for events in await self._before(lease.cursor, start - CONTEXT_MS):
            fold.add(events, before=True)
        cursor, number, missed, begun = lease.cursor, lease.number, 0, time.monotonic()
        while events := until(end, lease.now, await self._port.page(cursor, PAGE)):
            fold.add(events)
            numbers = [event.number for event in events if event.number is not None]
            if numbers:
                missed += max(0, numbers[-1] - number - len(numbers))
                number = numbers[-1]
            cursor = events[-1].id
            if not await self._mine(lease):
                return False
            begun = await self._rested(begun)
        around = await self._port.surroundings(start, end)
        name = date.fromordinal(day).isoformat()
        facts = fold.day(name, start, end, missed=missed, **around._asdict())
        report = await asyncio.to_thread(judge, facts, after=lease.cursor, through=cursor)
        if not await self._mine(lease):
            return False
        closed = ClosedDay(lease.cursor, lease.day, cursor, number, day, report)
        return await self._port.commit(lease.fence, closed)

    async def _before(self, cursor: str, since: int) -> list[list[Event]]:
        """What was told shortly before the day, and is in an earlier report, in its order."""
        pages, begun = list[list[Event]](), time.monotonic()
        while page := await self._port.back(cursor, PAGE):
            pages.append([event for event in reversed(page) if at_ms(event) >= since])
            if len(pages[-1]) < len(page) or len(page) < PAGE:
                break
            cursor = page[-1].id  # once more at the seam: what is told twice is known once
            begun = await self._rested(begun)
        return pages[::-1]

    async def _rested(self, begun: float) -> float:
        """Leave the process to others for as long as its share asks; answers the time then."""
        if self._share < 1:
            await asyncio.sleep((time.monotonic() - begun) * (1 / self._share - 1))
        return time.monotonic()

    async def _mine(self, lease: DayLease) -> bool:
        again = await self._port.hold(LEASE_SECONDS)
        return again is not None and again.fence == lease.fence


def midnight(day: int, zone: str) -> int:
    """When a day (an ordinal) begins in a zone, in ms since 1970."""
    begins = datetime.combine(date.fromordinal(day), datetime.min.time(), ZoneInfo(zone))
    return (begins.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def at_ms(event: Event) -> int:
    """When an event happened, in ms since 1970."""
    return round(event.at.timestamp() * 1000)


def until(end: int, now: int, events: Sequence[Event]) -> list[Event]:
    """Events before the first that is not of the day any more. One whose clock had gone back, or was more than a day
    ahead, is of the day in which it was told, so that each is in one report and keeps no other waiting."""
    return list(takewhile(lambda event: (at := at_ms(event)) < end or ahead(now, at), events))


def ahead(now: int, at: int) -> bool:
    """Whether a time is so far in the future that a clock must have jumped; less is told while a day is closed."""
    return at > now + DAY_MS

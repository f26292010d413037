"""Reading the events of one tenant: in their order or back, by time, and by what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from aegis_core.governor.budgets import at_ms
from aegis_core.governor.event_words import told_events
from aegis_core.governor.events import check_cursor, decode_event
from aegis_core.governor.kaizen_days import KaizenReader
from aegis_core.governor.observing import ActivityReader
from aegis_core.protocol.activity import ActivityPage, ActivityQuery
from aegis_core.protocol.errors import InvalidRequestError, NotFoundError
from aegis_core.protocol.events import Event, EventPage, EventQuery, moment
from aegis_core.protocol.kaizen import Explanation, KaizenQuery, KaizenReport
from aegis_core.store.ledger import Ledger
from aegis_core.store.streams import Entry, EventStream, cursor_at, place, placed

_SCANNED = 20_000
"""Entries that one call looks at; whoever wants more goes on from `EventPage.next`."""
_AT_ONCE = 1_000


class EventReader:
    """Reads; it changes nothing but what is only counted until somebody looks."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._stream, self._tenant = ledger, EventStream(ledger.store, ledger.tenant), ledger.tenant

    async def events(self, after: str, limit: int, wait: float) -> tuple[Event, ...]:
        """As `EventViews` has it."""
        check_cursor(after)
        after = after if after == "$" else place(placed(after))
        block = int(min(wait, self._ledger.store.timeout / 2) * 1000) or None
        entries = await self._ledger.all_events(after, limit, block)
        if not entries and after != "$":
            await self.check_past(after)
        return await told_events(self._ledger, entries)

    async def latest(self, limit: int) -> tuple[Event, ...]:
        """As `EventViews` has it."""
        entries = await self._ledger.latest_events(limit)
        return await told_events(self._ledger, entries)

    async def follow(self, after: str) -> AsyncIterator[Event]:
        """As `EventViews` has it."""
        while True:
            if after == "$":
                after = await self._ledger.newest_event()
            for event in await self.events(after, 500, 2):
                yield event
                after = event.id

    async def find(self, query: EventQuery, *, tell: bool = True) -> EventPage:
        """As `EventViews` has it."""
        now = at_ms(await self._ledger.tell_counted() if tell else 0)  # of use where a time is relative to it
        low, high = _time(query.since, now, "-"), _time(query.until, now, "+")
        after, back, trimmed = query.after, query.order == "desc", False
        if after == "$":
            after = None if back else await self._stream.last()
        if after is not None:
            await self.check_past(after, numbered=tell)
            if back and placed(after) == (0, 0):
                return EventPage((), after, more=False, trimmed=False)  # nothing lies before the first
            low, high = (low, _earlier(high, after)) if back else (_later(low, after), high)
        found: list[Entry] = []
        looked, last, more = 0, after or ("$" if back else "0"), False
        while len(found) < query.limit:
            most = _AT_ONCE if query.selects else query.limit
            entries = await self._stream.range(low, high, most, back=back)
            if after is not None and not back and not looked:  # asked afterwards: it may be trimmed at any time
                trimmed = await self._stream.is_before_first(after, entries[0] if entries else None)
            for entry in entries:
                last, looked = cursor_at(entry), looked + 1
                if self._matches(query, entry):
                    found.append(entry)
                    if len(found) == query.limit:
                        break
            more = len(entries) == most or len(found) == query.limit
            if len(entries) < most or looked >= _SCANNED:
                break
            end = f"({entries[-1][0]}"
            low, high = (low, end) if back else (end, high)
        return EventPage(await told_events(self._ledger, found), last, more, trimmed)

    async def newest(self) -> str:
        """The id of the newest event that there ever was."""
        return await self._stream.last()

    async def something_after(self, after: str, seconds: float) -> None:
        """Wait a moment, at most so many seconds, for an event after an id."""
        after = place(placed(after))
        await self._ledger.events(after, 1, max(1, int(min(seconds, self._ledger.store.timeout / 2) * 1000)))

    async def one(self, event_id: str) -> Event | None:
        """The event of this id, or None."""
        check_cursor(event_id)
        if event_id == "$":
            return None
        at = placed(event_id)
        entries = await self._stream.range(place(at), place(at), 1, back=False)
        return (await told_events(self._ledger, entries))[0] if entries else None

    def _matches(self, query: EventQuery, entry: Entry) -> bool:
        entry_id, fields = entry
        if query.kind is not None and fields[b"k"].decode() not in query.kind.split(","):
            return False
        if not all(word in fields[b"b"] or word in fields.get(b"s", b"") for word in query.words):
            return False
        return not query.selects or query.matches(decode_event(entry_id, fields, self._tenant))

    async def check_past(self, after: str, *, numbered: bool = True) -> None:
        """Refuse a cursor that lies after all events there ever were, or (if `numbered`) has no number of its place."""
        newest, problem = await self._stream.last(), ""
        if placed(after) > placed(newest):
            problem = f"lies after the newest event of this tenant, {newest}: it is of another tenant or server"
        elif numbered and (held := await self._stream.misnumbered(after)) is not None:
            problem = f"is not of event {held} of this tenant, which lies there: it is of another tenant or server"
        if problem:
            raise InvalidRequestError(f"after: {problem}", field="after", problem=problem)


class EventViews:
    """What a governor shows of the events of its tenant."""

    reader: EventReader
    activity_reader: ActivityReader
    kaizen_reader: KaizenReader

    async def events(self, *, after: str = "0", limit: int = 100, wait: float = 0) -> tuple[Event, ...]:
        """Events after an id, oldest first; with `wait`, up to that many seconds for the first one."""
        return await self.reader.events(after, limit, wait)

    async def latest_events(self, limit: int) -> tuple[Event, ...]:
        """The newest events, oldest of them first."""
        return await self.reader.latest(limit)

    def follow(self, *, after: str = "$") -> AsyncIterator[Event]:
        """Every event from now on (or after an id), for ever."""
        return self.reader.follow(after)

    async def find_events(self, query: EventQuery) -> EventPage:
        """A page of the events that a query asks for; of long stretches without any it comes back early.

        Raises:
            InvalidRequestError: the cursor is no place in this tenant's events.
        """
        return await self.reader.find(query)

    async def activity(self, query: ActivityQuery) -> ActivityPage:
        """Sums of the events by the hour, grouped. They are kept longer than the events, and counted a moment later.

        Raises:
            InvalidRequestError: a time that is no time, or too many hours.
        """
        return await self.activity_reader.find(query)

    async def kaizen_report(self, query: KaizenQuery) -> KaizenReport:
        """What was found in a day that is closed.

        Raises:
            NotFoundError: it is not closed yet, or its report is kept no longer.
        """
        return await self.kaizen_reader.report(query)

    async def kaizen_explain(self, name: str) -> Explanation:
        """A finding or proposal by its id. Raises NotFoundError: there is none."""
        return await self.kaizen_reader.explain(name)

    async def event(self, event_id: str) -> Event:
        """One event. Raises NotFoundError: it is not kept (any more)."""
        if (found := await self.reader.one(event_id)) is None:
            raise NotFoundError("There is no such event; old ones are kept no longer.", kind="event", name=event_id)
        return found


def _time(text: str | None, now: datetime, otherwise: str) -> str:
    """A time as the end of a range; the later one is not in it."""
    if text is None:
        return otherwise
    ms = max(0, int(moment(text, now).timestamp() * 1000))
    return f"({ms}-0" if otherwise == "+" else f"{ms}-0"


def _later(low: str, after: str) -> str:
    return f"({place(placed(after))}" if low == "-" or placed(after) >= placed(low) else low


def _earlier(high: str, after: str) -> str:
    return f"({place(placed(after))}" if high == "+" or placed(after) <= placed(high.removeprefix("(")) else high

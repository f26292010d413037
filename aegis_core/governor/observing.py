"""What observes a tenant on Redis: who counts its events by the hour, what is trimmed, and what was counted."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from aegis_core.governor.budgets import at_ms
from aegis_core.governor.events import decode_event
from aegis_core.observe.ports import Counted, Lease
from aegis_core.observe.sums import HOUR_MS, MEASURES, Names
from aegis_core.protocol.activity import Activity, ActivityPage, ActivityQuery, ActivityRow
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.events import Event, moment
from aegis_core.protocol.money import to_usd
from aegis_core.store.ledger import Ledger
from aegis_core.store.rollups import RollupStore
from aegis_core.store.verbs import CommitRollups

MOST_HOURS = 400 * 24
_AT_ONCE = 50


class TenantObservation:
    """Counts and trims; as `RollupPort` and `RetentionPort` have it."""

    def __init__(self, ledger: Ledger) -> None:
        self._tenant, self._store = ledger.tenant, RollupStore(ledger)

    async def hold(self, seconds: float) -> Lease | None:
        """Take or keep the lease; None while somebody else has it."""
        fence, cursor, number = await self._store.hold(seconds)
        return Lease(fence, cursor, number) if fence else None

    async def page(self, after: str, most: int) -> tuple[Event, ...]:
        """Events after one, in their order, without what agents wrote."""
        entries = await self._store.entries(after, most)
        return tuple(decode_event(entry_id, fields, self._tenant) for entry_id, fields in entries)

    async def commit(self, fence: int, counted: Counted) -> bool:
        """Add sums and move the cursor in one step; false where fence or cursor are not the stored ones any more."""
        added = [(each.hour, "\t".join(each.names), each.names.agent, each.sums) for each in counted.hours]
        order = CommitRollups(fence, counted.before, counted.cursor, counted.number, counted.missed, added)
        return await self._store.commit(order)

    async def leave(self) -> None:
        """Give the lease up, so that another process goes on at once."""
        await self._store.hold(0)

    async def trim(self, agents: int) -> int:
        """Remove what is too old; answers how many events went."""
        return await self._store.trim(agents)


class ActivityReader:
    """Reads the sums of a tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._store = ledger, RollupStore(ledger)

    async def find(self, query: ActivityQuery) -> ActivityPage:
        """As `EventViews.activity` has it."""
        now = at_ms(await self._ledger.now())
        since, until = moment(query.since, now), now if query.until is None else moment(query.until, now)
        first, last = (int(each.timestamp() * 1000) // HOUR_MS for each in (since, until))
        if not first <= last < first + MOST_HOURS:
            problem = f"must lie before until, and at most {MOST_HOURS // 24} days"
            raise InvalidRequestError(f"since: {problem}", field="since", problem=problem)
        progress, newest = await self._store.progress(), await self._store.last_number()
        groups: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(MEASURES))
        total, by = [0] * len(MEASURES), query.by.split(",")
        for at in range(first, last + 1, _AT_ONCE):
            hours = range(at, min(at + _AT_ONCE, last + 1))
            for hour, rows in zip(hours, await asyncio.gather(*map(self._store.hour, hours)), strict=True):
                for name, sums in rows:
                    names = Names(*name.split("\t"))
                    if _wanted(query, names):
                        _add(groups[tuple(_group(each, hour, names) for each in by)], sums)
                        _add(total, sums)
        charged, asked = MEASURES.index("charged_nanos"), MEASURES.index("requests")
        dearest = sorted(groups.items(), key=lambda each: (-each[1][charged], -each[1][asked], each[0]))
        if by == ["hour"]:
            dearest.sort(key=lambda each: each[0])
        rows = (ActivityRow(dict(zip(by, group, strict=True)), activity_of(sums)) for group, sums in dearest)
        return ActivityPage(
            tuple(rows)[: query.limit], activity_of(total), _hour(first), _hour(last + 1), progress.cursor,
            max(0, newest - progress.number), progress.missed,
        )  # fmt: skip


def activity_of(sums: Sequence[int]) -> Activity:
    """Stored sums by name, in dollars and seconds."""
    found = Activity()
    for name, value in zip(MEASURES, sums, strict=False):
        head, _, unit = name.rpartition("_")
        if unit in _UNITS:
            setattr(found, *_UNITS[unit](head, value))
        else:
            setattr(found, name, value)
    return found


_UNITS: dict[str, Callable[[str, int], tuple[str, Decimal | float]]] = {
    "nanos": lambda name, value: (f"{name}_usd", to_usd(value)),
    "ms": lambda name, value: (f"{name}_seconds", value / 1000),
    "millis": lambda name, value: (name, value / 1000),
}


def _wanted(query: ActivityQuery, names: Names) -> bool:
    wanted = (query.agent, query.model, query.task_type, query.rule, query.lock)
    return all(each in {None, name} for each, name in zip(wanted, names, strict=False))


def _group(by: str, hour: int, names: Names) -> str:
    if by == "hour":
        return f"{_hour(hour):%Y-%m-%dT%H:%MZ}"
    if by.startswith("label:"):
        pairs = dict(pair.split("=", 1) for pair in names.labels.split(",") if "=" in pair)
        return pairs.get(by.removeprefix("label:"), "")
    return getattr(names, by)


def _hour(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * HOUR_MS / 1000, UTC)


def _add(sums: list[int], more: Iterable[int]) -> None:
    for at, value in enumerate(more):
        if at < len(sums):  # a newer version sums up more
            sums[at] += value

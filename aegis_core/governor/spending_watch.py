"""Watches what is charged, and says of the last hour what nobody would see in one charge: told by one process.

When a budget for a day is used up, if that hour goes on; and whose charges are estimated rather than known.

Nothing of it is on the way of a decision. Whoever holds the lease reads each event once; when it goes, another reads
the last hour again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from aegis_core.governor.watching import watching
from aegis_core.store.arguments import EstimatesRow, PaceRow
from aegis_core.store.packing import decode, rows, unpack
from aegis_core.store.records import LineRow, Record, Text
from aegis_core.store.states import EXPIRED

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor

LOOK_SECONDS = 60.0
"""How long a budget may go the wrong way unsaid."""
LEAST_CHARGES = 3
"""Fewer in an hour are no rate, and no share."""

_LEASE_SECONDS = 2.5 * LOOK_SECONDS
_DUTY = "~spending"
"""The lease is kept like a channel's; no channel has such a name."""
_MINUTE, _HOUR = 60_000, 3_600_000
_PAGE = 1_000
_MOST_EXPIRED = 10_000
"""Of so many expired grants a late settlement is known to be one; the oldest makes room."""
_ENDED = frozenset({b"settled", b"overrun", b"expired", b"released"})

_log = logging.getLogger("aegis.spending")

_Key = TypeVar("_Key", bound=Hashable)


class _LastHour(Generic[_Key]):
    """Nano-dollars charged, of those estimated, and the number of charges, by the minute."""

    def __init__(self) -> None:
        self._minutes: dict[_Key, dict[int, list[int]]] = defaultdict(dict)

    def add(self, key: _Key, at: int, nanos: int, estimated: int) -> None:
        """Count one charge."""
        sums = self._minutes[key].setdefault(at // _MINUTE, [0, 0, 0])
        for column, more in enumerate((nanos, estimated, 1)):
            sums[column] += more

    def sums(self, now: int) -> list[tuple[_Key, int, int]]:
        """Charged and estimated of each that was charged often enough; what is older than an hour is dropped."""
        found: list[tuple[_Key, int, int]] = []
        first = (now - _HOUR) // _MINUTE + 1
        for key, minutes in list(self._minutes.items()):
            for minute in [minute for minute in minutes if minute < first]:
                del minutes[minute]
            if not minutes:
                del self._minutes[key]
                continue
            nanos, estimated, charges = (sum(column) for column in zip(*minutes.values(), strict=True))
            if nanos > 0 and charges >= LEAST_CHARGES:
                found.append((key, nanos, estimated))
        return found


class SpendingWatch:
    """The charges of the last hour, by budget for a day and by agent."""

    def __init__(self, governor: ResourceGovernor, estimated_percent: float) -> None:
        """`estimated_percent`: the share of estimated dollars from which on an agent's are told."""
        self._store, self._operator = governor.tenant_store, governor.operator
        self._duty, self._percent = self._store.channel_store(_DUTY), estimated_percent
        self._forget()

    def _forget(self) -> None:
        self._after = ""
        self._budgets = _LastHour[tuple[str, Text]]()
        self._agents = _LastHour[str]()
        self._expired: dict[tuple[str, str], int] = {}

    async def look(self) -> bool:
        """Read what happened since the last look, and say what comes of it.

        Returns:
            Whether it is this process that looks.

        Raises:
            StoreError: Redis could not be asked.
        """
        mine, now = await self._duty.hold(_LEASE_SECONDS)
        if not mine:
            self._forget()
            return False
        self._after = self._after or str(now - _HOUR)
        while entries := await self._store.entries(self._after, _PAGE, None):
            for entry_id, fields in entries:
                self._after = entry_id
                if fields[b"k"] in _ENDED:
                    self._count(decode(Record, unpack(fields[b"b"])))
        pace = [PaceRow(*budget, nanos) for budget, nanos, _ in self._budgets.sums(now)]
        high = [
            EstimatesRow(agent, nanos, estimated)
            for agent, nanos, estimated in self._agents.sums(now)
            if estimated * 100 >= nanos * self._percent > 0
        ]
        if pace:
            await self._operator.note_forecasts(pace)
        if high:
            await self._operator.note_estimates(high)
        return True

    async def leave(self) -> None:
        """Let another process go on at once."""
        if self._after:
            await self._duty.leave()

    def _count(self, record: Record) -> None:
        # A late settlement replaces what was charged, as an estimate, when the grant expired.
        before = self._expired.pop((record.agent, record.request), 0)
        if record.state == EXPIRED:
            self._expired[record.agent, record.request] = record.charged
            if len(self._expired) > _MOST_EXPIRED:
                del self._expired[next(iter(self._expired))]
        more, estimated = record.charged - before, (record.charged if record.estimated else 0) - before
        if not more and not estimated:
            return
        self._agents.add(record.agent, record.changed, more, estimated)
        for row in rows(LineRow, record.lines):
            if row.kind == "d":
                owner, opener = row.owner[:1] if row.owner[0] == "o" else row.owner, row.owner[2:]
                name: Text = {"a": record.agent, "s": record.session, "o": opener}.get(owner) or False
                self._budgets.add(("a" if owner == "o" else owner, name), record.changed, more, estimated)


@asynccontextmanager
async def watched_spending(governor: ResourceGovernor, estimated_percent: float) -> AsyncGenerator[None]:
    """Watch the spending of a tenant while the block runs, unless another process does."""
    watch = SpendingWatch(governor, estimated_percent)
    failed = partial(_log.warning, "%s; spending is not watched until that is over")
    async with watching(watch.look, LOOK_SECONDS, failed, leave=watch.leave):
        yield

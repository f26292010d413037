"""Kaizen's reports as they lie in Redis, and who closes days."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from aegis_core.store import layout, verbs
from aegis_core.store.ledger import Ledger


class HeldDays(NamedTuple):
    """The lease, as `hold_rollups.lua` answers: its fence (0: somebody else has it), id and number of the last event
    in a report, the last day that is closed (-1: none), the time in ms, and the tenant's zone."""

    fence: int
    cursor: str
    number: int
    day: int
    now: int
    zone: str


class KaizenStore:
    """The reports of one tenant, as one process sees them. Days are proleptic Gregorian ordinals."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts, self._holder = ledger, ledger.store.scripts, secrets.token_hex(8)

    async def hold(self, seconds: float) -> HeldDays:
        """Take or keep the lease; for no time it is given up."""
        order = verbs.HoldRollups(days=True, holder=self._holder, milliseconds=int(seconds * 1000))
        _, fence, cursor, number, day, now, zone = await self._ledger.call(self._scripts.hold_rollups, order)
        return HeldDays(int(fence), cursor.decode(), int(number), int(day), int(now), zone.decode())

    async def commit(self, order: verbs.CommitKaizen) -> bool:
        """Store a report in one step; false where fence, cursor or day are others by now."""
        return bool((await self._ledger.call(self._scripts.commit_kaizen, order))[1])

    async def report(self, day: int) -> bytes | None:
        """The report of a day, if it is kept."""
        found: bytes | None = await self._ledger.store.command("GET", layout.key(self._ledger.tenant, f"kd:{day}"))
        return found

    async def last(self) -> int | None:
        """The last day that is closed."""
        found = await self._ledger.store.command("HGET", layout.key(self._ledger.tenant, "kz"), "day")
        return None if found is None else int(found)

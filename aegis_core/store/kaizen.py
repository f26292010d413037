"""Kaizen's reports as they lie in Redis, and who closes days."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from aegis_core.store import layout, verbs
from aegis_core.store.ledger import Ledger

DAYS_KEPT = 402
"""So many days a report is kept; `commit_kaizen.lua` says the same in ms."""


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

    async def rewrite(self, day: int, change: Callable[[bytes], bytes | None]) -> None:
        """Change the report of a day where `change` answers another text for it; who else does so meanwhile, does."""
        while (text := await self.report(day)) is not None and (other := change(text)) is not None:
            order = verbs.RewriteKaizen(day, text, other)
            if (await self._ledger.call(self._scripts.rewrite_kaizen, order))[1]:
                return

    async def forget(self, agent: str) -> None:
        """Take the names of an agent's tools out of every report that is kept."""
        found = await self._ledger.store.command("HMGET", layout.key(self._ledger.tenant, "kz"), "day", "newest")
        for day in sorted({day for last in found if last for day in range(int(last) - DAYS_KEPT, int(last) + 1)}):
            await self.rewrite(day, partial(_without_words, agent))

    async def report(self, day: int) -> bytes | None:
        """The report of a day, if it is kept."""
        found: bytes | None = await self._ledger.store.command("GET", layout.key(self._ledger.tenant, f"kd:{day}"))
        return found

    async def last(self) -> int | None:
        """The last day that is closed."""
        found = await self._ledger.store.command("HGET", layout.key(self._ledger.tenant, "kz"), "day")
        return None if found is None else int(found)


def _without_words(agent: str, text: bytes) -> bytes | None:
    """A report in which a place of this agent names no tool; None where none does. What else is in it stays."""
    report: dict[str, Any] = json.loads(text)
    places = [place for finding in report["findings"] for place in finding["where"]]
    mine = [place for place in places if place["agent"] == agent and place.get("tool")]
    for place in mine:
        place["tool"] = ""
    return json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode() if mine else None

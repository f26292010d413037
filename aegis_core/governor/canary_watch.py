"""How a canary stands, by the events since it began. All of it can be read again, so nothing is lost with a process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from aegis_core.governor.proposal_sources import PAGE
from aegis_core.kaizen.optimizer.sessions import Sessions, Trial
from aegis_core.protocol.events import Event
from aegis_core.store.proposal_records import StoredProposal

Page = Callable[[str, int], Awaitable[tuple[Event, ...]]]
_LONGEST_MS = 3_600_000


@dataclass(slots=True)
class Seen:
    """What a look at a canary found. `fresh`: sessions with the change went on in this stage."""

    harm: str
    fresh: bool
    certified: bool
    tally: dict[str, Any]


class CanaryWatch:
    """Reads the events of canaries on from where it read last."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._read: dict[str, tuple[str, Sessions]] = {}
        self._reading = asyncio.Lock()

    async def look(self, name: str, stored: StoredProposal, now: int, stage_ms: int) -> Seen:
        """The standing at a time. Of two who look at once one reads first, so that no event counts twice."""
        async with self._reading:
            return await self._look(name, stored, now, stage_ms)

    async def _look(self, name: str, stored: StoredProposal, now: int, stage_ms: int) -> Seen:
        tally: dict[str, Any] = json.loads(stored.tally)
        stages = [(since, percent) for since, percent in tally["stages"]]
        cursor, sessions = self._read.get(name, ("", None))
        trial = Trial(name, stored.version, stored.parent, stages)
        if sessions is None:
            sessions, cursor = Sessions(trial, min(_LONGEST_MS, stage_ms // 2)), stored.cursor
        sessions.trial = trial
        while page := await self._page(cursor, PAGE):
            sessions.add(page)
            cursor = page[-1].id
        self._read = {name: (cursor, sessions)}  # one is tried at a time
        guards, saving = await asyncio.to_thread(lambda: (sessions.guards(now), sessions.saving(now)))
        metric, log_e = guards.worst
        changed = guards.sessions[True]
        return Seen(guards.harm, changed > tally.get("before", 0), guards.certified, {
            "stages": [list(each) for each in stages], "before": tally.get("before", 0), "changed": changed,
            "unchanged": guards.sessions[False], "metric": metric, "log_e": round(log_e, 6),
            "certified": guards.certified, "unknowing": sessions.unknowing, "saving": saving and list(saving),
        })  # fmt: skip


async def watched_for(page: Page, stored: StoredProposal, names: Collection[str]) -> tuple[int, int]:
    """Of the requests that were granted while rules of these names watched how many there were, and how many of them
    such a rule would have stopped."""
    granted, stopped, cursor = 0, 0, stored.cursor
    while events := await page(cursor, PAGE):
        cursor = events[-1].id
        for event in events:
            if event.kind == "granted" and event.facts.get("policy_version") == stored.version:
                granted += 1
                stopped += "would_be" in event.facts and event.facts.get("rule") in names
    return granted, stopped

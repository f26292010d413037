"""What detectors of locks need: leases with their holders, waits, and what a second of an agent is worth."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from aegis_core.kaizen.facts import Day, LockUse
from aegis_core.kaizen.findings import Loss

ENDS = frozenset({"released", "evicted", "expired", "forced", "unclaimed"})
_MINUTE_MS = 60_000


class Lease(NamedTuple):
    """A lock that was held by an agent from a time to a time."""

    lock: str
    agent: str
    since: int
    until: int
    event: str


def leases(day: Day) -> list[Lease]:
    """Those that ended on this day."""
    ended = [use for use in day.locks if use.kind in ENDS]
    return [Lease(use.lock, use.agent, use.at - use.held_ms, use.at, use.event) for use in ended]


def waits(day: Day) -> list[LockUse]:
    """Locks that were taken after a wait."""
    return [use for use in day.locks if use.kind == "acquired" and use.waited_ms > 0]


def permits(held: list[Lease]) -> int:
    """The most that held a lock at once."""
    steps = sorted([(each.since, 1) for each in held] + [(each.until, -1) for each in held])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return max(1, most)


def worth(day: Day) -> dict[str, int]:
    """By agent the nano-dollars that it spends in a minute in which it is active."""
    spent, active = defaultdict[str, int](int), defaultdict[str, set[int]](set)
    for call in day.calls:
        spent[call.agent] += call.spent
        active[call.agent].add(call.at // _MINUTE_MS)
    return {agent: spent[agent] // len(minutes) for agent, minutes in active.items()}


def waited(rates: dict[str, int], agent: str, lock: str, ms: int, event: str) -> Loss:
    """Time that an agent lost at a lock, and what it would have spent in it."""
    return Loss(agent, rates.get(agent, 0) * ms // _MINUTE_MS, (agent, lock, "", ""), (event,), ms)

"""Latent tasks: an agent that holds a lock for which others wait, and does nothing.

Definition: a lease during which its holder asked nothing and ended nothing, while others waited. Formula: sum of the
waits within such leases. Unit: ms waited, in dollars each times what the waiting agent spends in an active minute.
Minimum: 10 leases.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from aegis_core.kaizen.detectors.lock_uses import leases, waited, waits, worth
from aegis_core.kaizen.facts import Day, LockUse
from aegis_core.kaizen.findings import Detector, Found, Loss


def find(day: Day) -> Found:
    """Look for holders without progress."""
    acts: dict[str, list[int]] = defaultdict(list)
    for call in day.calls:
        acts[call.agent] += [at for at in (call.at, call.ended_at) if at is not None]
    for each in acts.values():
        each.sort()
    held, rates, losses = leases(day), worth(day), list[Loss]()
    queues: dict[str, list[LockUse]] = defaultdict(list)
    for use in waits(day):
        queues[use.lock].append(use)
    longest = {lock: max(use.waited_ms for use in each) for lock, each in queues.items()}
    for lease in held:
        mine = acts[lease.agent]
        if bisect_right(mine, lease.until) != bisect_right(mine, lease.since):
            continue
        queue = queues.get(lease.lock, [])
        for use in queue[bisect_right(queue, lease.since, key=lambda use: use.at) :]:
            if use.at - longest[lease.lock] > lease.until:
                break
            ms = min(lease.until, use.at) - max(lease.since, use.at - use.waited_ms)
            if use.agent != lease.agent and ms > 0:
                losses.append(waited(rates, use.agent, use.lock, ms, lease.event))
    return Found(len(held), losses)


DETECTOR = Detector("idle-holding", "Latent tasks: locks held without progress", "waited", 10, "leases", find)

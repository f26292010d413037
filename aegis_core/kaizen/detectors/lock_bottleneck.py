"""Lock bottlenecks: locks that are nearly always held, and waited for.

Definition: a lock with rho = (time held) / (time from its first use to its last * permits) above 0.8, permits being
the most holders at once. Formula: sum of the waits that ended in a lease; in dollars, each times what its agent spends
in an active minute. Unit: ms waited. Minimum: 20 leases of the lock. Source: utilisation in queueing theory (Kleinrock,
"Queueing Systems", 1975), above which waits grow without bound.
"""

from __future__ import annotations

from collections import defaultdict

from aegis_core.kaizen.detectors.lock_uses import Lease, leases, permits, waited, waits, worth
from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found

MINIMUM, BUSY_PERCENT = 20, 80


def find(day: Day) -> Found:
    """Look for locks that slow everybody down."""
    held: dict[str, list[Lease]] = defaultdict(list)
    for lease in leases(day):
        held[lease.lock].append(lease)
    busy: dict[str, int | float | str] = {}
    for lock, each in sorted(held.items()):
        span = max(lease.until for lease in each) - min(lease.since for lease in each)
        time = sum(lease.until - lease.since for lease in each)
        if len(each) >= MINIMUM and 100 * time > BUSY_PERCENT * span * permits(each):
            busy[lock] = round(time / (span * permits(each)), 3)
    rates = worth(day)
    losses = [waited(rates, use.agent, use.lock, use.waited_ms, use.event) for use in waits(day) if use.lock in busy]
    return Found(max(map(len, held.values()), default=0), losses, facts=busy)


DETECTOR = Detector("lock-bottleneck", "Lock bottlenecks", "waited", MINIMUM, "leases of one lock", find)

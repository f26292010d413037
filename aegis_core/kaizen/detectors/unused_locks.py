"""Locks that were handed over or leased, and not used.

Definition: leases that ended because nobody came for them (``unclaimed``) or nobody renewed them (``expired``).
Formula: sum of the time that they were held. Unit: ms waited, in dollars times what the agent spends in an active
minute. Minimum: 5 of them.
"""

from __future__ import annotations

from aegis_core.kaizen.detectors.lock_uses import waited, worth
from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found


def find(day: Day) -> Found:
    """Look for leases that nobody used."""
    unused, rates = [use for use in day.locks if use.kind in {"unclaimed", "expired"}], worth(day)
    losses = [waited(rates, use.agent, use.lock, use.held_ms, use.event) for use in unused]
    return Found(len(unused), losses)


DETECTOR = Detector(
    "unused-locks", "Locks that nobody used", "waited", 5, "unclaimed and expired leases", find, itself=True
)

"""Rules that never decide anything.

Definition: a rule in force that decided none of 1,000 requests judged in 30 days. Formula: their number. Unit: rules;
no money is lost by them. Guard: a silent ``deny`` is insurance, so it is never counted.
"""

from __future__ import annotations

from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found, Loss

DAYS, MINIMUM = 30, 1_000


def find(day: Day) -> Found:
    """Look for rules without effect."""
    if day.rules is None:
        return Found(0, unknown="nobody counted what rules decided in 30 days")
    judged = {name: use for name, use in day.rules.items() if use.days >= DAYS}
    idle = sorted(
        name for name, use in judged.items()
        if use.judged >= MINIMUM and not use.decided and use.effect != "deny"
    )  # fmt: skip
    losses = [Loss(name, 0, ("", name, "", ""), ()) for name in idle]
    return Found(max((use.judged for use in judged.values()), default=0), losses)


DETECTOR = Detector("undeciding-rules", "Rules that never decide", "none", MINIMUM, "requests judged in 30 days", find)

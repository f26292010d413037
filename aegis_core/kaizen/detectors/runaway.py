"""An agent that spends far more than it does at such times.

Definition: with four weeks of history, an hour above the 99.5 % quantile of what that agent spent in that hour of the
week; until then a minute above median + 6 MAD of the minutes in which it spent. Formula: sum of what the calls beyond
that threshold cost, in their order. Unit: nano-dollars spent. Minimum: 30 minutes of one agent (or 4 such hours).
Guard: an excess up to a dollar is none. Source: MAD as in Iglewicz and Hoaglin, "How to Detect and Handle Outliers"
(1993); two months of hourly alarms on recorded traffic gave none at 3 and 6 MAD.
"""

from __future__ import annotations

from collections import defaultdict

from aegis_core.kaizen.facts import HOUR_MS, Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss
from aegis_core.kaizen.intervals import median, quantile

MINUTE_MS, LEAST, WEEKS = 60_000, 30, 4
LEAST_EXCESS = 1_000_000_000
_MONDAY_MS = 4 * 24 * HOUR_MS
"""1970 began on a Thursday."""


def find(day: Day) -> Found:
    """Look for agents that ran away."""
    agents: dict[str, list[Call]] = defaultdict(list)
    for call in day.calls:
        if call.spent:
            agents[call.agent].append(call)
    losses, evidence = list[Loss](), 0
    for agent, calls in agents.items():
        minutes, hours = _by(calls, MINUTE_MS), _by(calls, HOUR_MS)
        evidence = max(evidence, len(minutes))
        known = {at: past for at in hours if len(past := day.hours.get((agent, hour_of_week(at)), ())) >= WEEKS}
        for at, past in known.items():
            evidence = max(evidence, LEAST)
            losses += _beyond(hours[at], quantile(past, 0.995))
        spent = [sum(call.spent for call in each) for each in minutes.values()]
        if len(spent) < LEAST:
            continue
        usual = median(spent)
        threshold = usual + 6 * median([abs(each - usual) for each in spent])
        for at, each in minutes.items():
            if at // 60 not in known:
                losses += _beyond(each, threshold)
    return Found(evidence, losses)


def hour_of_week(hour: int) -> int:
    """0 is the first hour of a Monday; `hour` is counted from 1970."""
    return (hour - _MONDAY_MS // HOUR_MS) % 168


def _by(calls: list[Call], width: int) -> dict[int, list[Call]]:
    found: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        found[call.at // width].append(call)
    return found


def _beyond(calls: list[Call], threshold: int) -> list[Loss]:
    total, losses = 0, list[Loss]()
    for call in calls:
        before, total = total, total + call.spent
        if total > threshold:
            losses.append(Loss.of(call, total - max(before, threshold)))
    return losses if total - threshold > LEAST_EXCESS else []


DETECTOR = Detector("runaway", "Spending far beyond the usual", "spent", LEAST, "minutes with spending", find)

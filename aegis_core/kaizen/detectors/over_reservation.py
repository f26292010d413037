"""Refusals for want of a budget that was only reserved, not spent.

Definition: a request refused by a budget while grants of the same agent (for a tenant's or label's budget: of anybody)
were open whose unspent part, as it turned out, was at least what the budget lacked. Formula: sum of what those
requests asked for. Unit: nano-dollars blocked. Minimum: 20 settled requests. Source: design of this project.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from aegis_core.kaizen.facts import Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss

REFUSED = "budget_exceeded"


def find(day: Day) -> Found:
    """Look for refusals that smaller reservations would have spared."""
    settled = [call for call in day.calls if call.end == "settled" and call.ended_at is not None]
    losses = list(_spared(day, settled))
    reserved = sum(call.reserved for call in settled)
    unspent = sum(_unspent(call) for call in settled)
    refused = sum(1 for call in day.calls if call.code == REFUSED)
    facts: dict[str, int | float | str] = {"refused_by_budgets": refused}
    if reserved:
        facts["unspent_percent"] = round(100 * unspent / reserved, 1)
    return Found(len(settled), losses, facts=facts)


def _spared(day: Day, settled: list[Call]) -> Iterator[Loss]:
    """One pass over time. What ends at the moment of a refusal is over, what begins at it has not begun."""
    steps = [(call.ended_at or 0, 0, -_unspent(call), call) for call in settled]
    steps += [(call.at, 1, 0, call) for call in day.calls if call.code == REFUSED]
    steps += [(call.at, 2, _unspent(call), call) for call in settled if call.at < (call.ended_at or 0)]
    ended = {call.id for call in settled if call.at >= (call.ended_at or 0)}
    held: dict[str, int] = defaultdict(int)
    for _, kind, change, call in sorted(steps, key=lambda step: step[:2]):
        if kind == 1:
            own = call.stopped_by.split(" ")[0] in {"agent", "session"}
            if 0 < call.short <= held[call.agent if own else ""]:
                yield Loss.of(call, call.reserved)
        elif call.id not in ended:
            held[call.agent] += change
            held[""] += change


def _unspent(call: Call) -> int:
    return max(0, call.reserved - call.charged)


DETECTOR = Detector("over-reservation", "Refused for reserved money", "blocked", 20, "settled requests", find)

"""Models that are stronger than the task needs.

Definition: calls for which a cheaper model is certified, that is, was shown in paired trials to do that type of task
as well. Formula: sum of (charged - the same tokens at the rates of the certified model). Unit: nano-dollars spent.
Minimum: 1 such call. Guard: without a certificate nobody knows the quality of the cheaper model, so it is unknown,
whatever its price.
"""

from __future__ import annotations

from aegis_core.kaizen.facts import Call, Day, Rates
from aegis_core.kaizen.findings import Detector, Found, Loss


def find(day: Day) -> Found:
    """Look for calls that a certified model would have done for less."""
    losses, evidence = list[Loss](), 0
    for call in day.calls:
        certified = day.certified.get((call.task_type, call.model)) if call.is_model else None
        if certified is None or call.input is None:
            continue
        evidence += 1
        if (gap := call.spent - _cost(call, certified.rates)) > 0:
            losses.append(Loss.of(call, gap))
    unknown = None if evidence else "no cheaper model is certified for what was asked"
    return Found(evidence, losses, unknown)


def _cost(call: Call, rates: Rates) -> int:
    fresh = (call.input or 0) - call.cached
    cached = rates.input if rates.cached is None else rates.cached
    total = fresh * rates.input + call.cached * cached + (call.output or 0) * rates.output
    return -(-total // 1_000_000)


DETECTOR = Detector(
    "over-strong", "Models stronger than the task needs", "spent", 1, "calls with a certified cheaper model", find
)

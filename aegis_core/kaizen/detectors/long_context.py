"""Inputs far longer than others of their type, without a better outcome.

Definition: calls of a type of task and model whose input is above the 90 % quantile of that type, where their mean
outcome is no better than that of the others. Formula: sum of (input - quantile) * rate of input. Unit: nano-dollars
spent. Minimum: 200 calls of the type. Guard: without outcomes it is unknown whether the length was of use.
"""

from __future__ import annotations

from collections import defaultdict

from aegis_core.kaizen.detectors.steps import outcomes, sessions
from aegis_core.kaizen.facts import Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss
from aegis_core.kaizen.intervals import quantile

MINIMUM = 200


def find(day: Day) -> Found:
    """Look for inputs that are longer than they need be."""
    judged = {call.id: outcome for calls in sessions(day).values() for call, outcome in outcomes(calls)}
    types: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in day.calls:
        if call.is_model and call.input is not None and call.spent:
            types[call.task_type, call.model].append(call)
    enough = [calls for calls in types.values() if len(calls) >= MINIMUM]
    losses, unjudged = list[Loss](), 0
    for calls in enough:
        most = quantile([call.input or 0 for call in calls], 0.9)
        long = [call for call in calls if (call.input or 0) > most]
        sides = [[judged[each.id] for each in side if each.id in judged] for side in (long, _rest(calls, most))]
        if not all(sides):
            unjudged += len(long)
        elif sum(sides[0]) / len(sides[0]) <= sum(sides[1]) / len(sides[1]):
            losses += [Loss.of(call, _over(call, most)) for call in long if call.rates]
    unknown = (
        f"{unjudged:,} long calls, or those beside which they are held, have no outcome"
        if unjudged and not losses
        else None
    )
    return Found(max(map(len, types.values()), default=0), [loss for loss in losses if loss.nanos], unknown)


def _rest(calls: list[Call], most: int) -> list[Call]:
    return [call for call in calls if (call.input or 0) <= most]


def _over(call: Call, most: int) -> int:
    assert call.rates is not None
    return min(((call.input or 0) - most) * call.rates.input // 1_000_000, call.spent)


DETECTOR = Detector("long-context", "Long contexts of no use", "spent", MINIMUM, "calls of one type of task", find)

"""Caps on answers far above any answer, so that each call holds money which it cannot spend.

Definition: of a type of task and model, a cap of more than twice the 99 % quantile of the output, where less than 1 %
of the answers reached their cap. Formula: sum of (cap - quantile) * rate of output. Unit: nano-dollars blocked.
Minimum: 299 calls of the type, from which on a bound holds for 99 % of calls with 95 % confidence (Wilks, 1941).
"""

from __future__ import annotations

from collections import defaultdict

from aegis_core.kaizen.facts import Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss
from aegis_core.kaizen.intervals import quantile

MINIMUM = 299


def find(day: Day) -> Found:
    """Look for caps that hold too much."""
    types: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in day.calls:
        if call.is_model and call.max_output and call.output is not None:
            types[call.task_type, call.model].append(call)
    losses, caps = list[Loss](), dict[str, int | float | str]()
    for (task, model), calls in sorted(types.items()):
        if len(calls) < MINIMUM:
            continue
        usual = quantile([call.output or 0 for call in calls], 0.99)
        cut = sum(1 for call in calls if (call.output or 0) >= (call.max_output or 0))
        if 100 * cut >= len(calls):
            continue
        wide = [call for call in calls if (call.max_output or 0) > 2 * usual and call.rates]
        losses += [Loss.of(call, _slack(call, usual)) for call in wide]
        if wide:
            caps[f"{task or 'any'} {model}"] = usual
    return Found(max(map(len, types.values()), default=0), losses, facts=caps)


def _slack(call: Call, usual: int) -> int:
    assert call.rates is not None
    return ((call.max_output or 0) - usual) * call.rates.output // 1_000_000


DETECTOR = Detector(
    "output-cap", "Output caps far above any answer", "blocked", MINIMUM, "calls of one type of task with a cap", find
)

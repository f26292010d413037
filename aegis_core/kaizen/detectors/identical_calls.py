"""The same question to the same model, paid again.

Definition: calls with the same hash of their prompt, model, cap and temperature 0 within an hour of the first.
Formula: sum of what all but the first of each cost. Unit: nano-dollars spent. Minimum: 20 calls with such a hash.
Guard: above temperature 0, or where it is not said, an equal prompt may be asked again for another answer: that is
unknown. Equal counts of tokens prove nothing (27.6 % of the calls of an hour of Azure have them by chance).
"""

from __future__ import annotations

from collections.abc import Hashable

from aegis_core.kaizen.facts import HOUR_MS, Day
from aegis_core.kaizen.findings import Detector, Found, Loss

TTL_MS = HOUR_MS


def find(day: Day) -> Found:
    """Look for calls that repeat another one exactly."""
    named = [call for call in day.calls if call.is_model and call.prompt is not None and call.end == "settled"]
    first: dict[Hashable, int] = {}
    losses, open_ones = list[Loss](), 0
    for call in named:
        key = (call.agent, call.prompt, call.model, call.max_output, call.temperature)
        before = first.get(key)
        if before is None or call.at - before > TTL_MS:
            first[key] = call.at
        elif call.temperature == 0:
            losses.append(Loss.of(call, call.spent))
        else:
            open_ones += 1
    unknown = None
    if not named:
        unknown = "no call says a hash of its prompt"
    elif open_ones and not losses:
        unknown = f"{open_ones:,} equal prompts were asked above temperature 0 or without one, perhaps on purpose"
    return Found(len(named), losses, unknown, {"perhaps_on_purpose": open_ones})


DETECTOR = Detector(
    "identical-calls", "Identical calls, paid again", "spent", 20, "calls with a hash of their prompt", find
)

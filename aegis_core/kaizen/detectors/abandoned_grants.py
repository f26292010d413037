"""Latent tasks: grants that nobody ended by their deadline, so that the whole of what was reserved was charged.

Definition: an ``expired`` request without a late settlement, of an agent and model of which others were settled.
Formula: sum of (charged - median of what settled requests of that agent and model were charged), where above 0.
Unit: nano-dollars spent. Minimum: 5 of them. Source: design of this project; the median is what such a call costs.
"""

from __future__ import annotations

from collections import defaultdict

from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found, Loss
from aegis_core.kaizen.intervals import median


def find(day: Day) -> Found:
    """Look for grants that were abandoned."""
    usual: dict[tuple[str, str], list[int]] = defaultdict(list)
    for call in day.calls:
        if call.end == "settled" and call.counts:
            usual[call.agent, call.model].append(call.charged)
    abandoned = [call for call in day.calls if call.end == "expired" and call.counts]
    known = [call for call in abandoned if (call.agent, call.model) in usual]
    losses = [
        Loss.of(call, over)
        for call in known
        if (over := call.charged - median(usual[call.agent, call.model])) > 0
    ]  # fmt: skip
    unknown = "no request of these agents and models was settled" if abandoned and not known else None
    return Found(len(abandoned), losses, unknown, {"without_settled_ones": len(abandoned) - len(known)})


DETECTOR = Detector(
    "abandoned-grants", "Latent tasks: grants that nobody ended", "spent", 5, "expired grants", find, itself=True
)

"""Modify: caps and estimates nearer to what is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_core.kaizen.scamper.making import Idea, dearest
from aegis_core.protocol.kaizen import Finding


def _caps(finding: Finding) -> Mapping[str, Any] | None:
    return {"kind": "output_cap", "caps": dict(finding.facts)} if finding.facts else None


def _estimate(finding: Finding) -> Mapping[str, Any] | None:
    return {"kind": "estimate", "from": "bound", "to": "forecast"} if dearest(finding) else None


def _length(finding: Finding) -> Mapping[str, Any] | None:
    if (place := dearest(finding)) is None:
        return None
    return {"kind": "input_ceiling", "model": place[1], "task_type": place[2], "mode": "observe"}


IDEAS = {
    "output-cap": Idea(
        "Lower the caps on answers to twice what 99 % of them need", _caps, "answers that are cut off",
        "how many recorded answers are above the cap", "the old cap",
    ),
    "over-reservation": Idea(
        "Reserve what such calls cost, not the most that they can", _estimate, "overruns of a budget by one call",
        "replay of the refusals with reservations by forecast", "AEGIS_FORECAST off",
    ),
    "long-context": Idea(
        "Watch inputs above the 90 % quantile of their type", _length, "what was cut off may have mattered",
        "outcomes of recorded calls below the ceiling", "drop the ceiling",
    ),
}  # fmt: skip
"""By the detector whose findings it takes."""

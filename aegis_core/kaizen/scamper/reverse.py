"""Reverse: the cheap model first, and the strong one where a check says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_core.kaizen.scamper.making import Idea, dearest
from aegis_core.protocol.kaizen import Finding


def _change(finding: Finding) -> Mapping[str, Any] | None:
    place = dearest(finding)
    if place is None or not finding.facts.get("verified"):
        return None  # without a check of the answer nobody notices where the cheap one fails
    return {"kind": "verify", "mode": "cheap_first", "model": place[1], "task_type": place[2]}


IDEAS = {
    "failed-work": Idea(
        "Try the cheaper model first and check its answer", _change, "latency of a second call",
        "paired outcomes", "switch it off", share=None,
    ),
}  # fmt: skip
"""By the detector whose findings it takes."""

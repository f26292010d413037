"""Adapt: bound spending by what is usual at that time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_core.kaizen.scamper.making import Idea, dearest
from aegis_core.protocol.kaizen import Finding


def _change(finding: Finding) -> Mapping[str, Any] | None:
    if (place := dearest(finding)) is None:
        return None
    return {"kind": "spend_rate", "agent": place[0], "mode": "observe"}


IDEAS = {
    "runaway": Idea(
        "Bound what this agent may spend in a minute, in observe mode first", _change,
        "it may stop work that was meant", "replay of four weeks: every verdict that changes", "the parent version",
    ),
}  # fmt: skip
"""By the detector whose findings it takes."""

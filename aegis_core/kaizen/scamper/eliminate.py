"""Eliminate: steps and questions that change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_core.kaizen.scamper.making import Idea, dearest
from aegis_core.protocol.kaizen import Finding

_AMOUNT = " largest_approved_usd"


def _loops(finding: Finding) -> Mapping[str, Any] | None:
    if (place := dearest(finding)) is None:
        return None
    return {"kind": "repeat_limit", "agent": place[0], "times": 2, "mode": "deny"}


def _asking(finding: Finding) -> Mapping[str, Any] | None:
    most = {name.removesuffix(_AMOUNT): usd for name, usd in finding.facts.items() if name.endswith(_AMOUNT)}
    return {"kind": "envelope", "up_to_usd": most} if most else None


IDEAS = {
    "loops": Idea(
        "Refuse the third equal call without anything in between", _loops, "a tool that must be asked again and again",
        "replay of the day: every call that would be refused", "switch the rule off",
    ),
    "over-asking": Idea(
        "Approve in advance up to the largest amount that was ever approved", _asking,
        "a loss that nobody was asked about", "every decision of the day judged again", "revoke the envelope",
        share=None,
    ),
}  # fmt: skip
"""By the detector whose findings it takes."""

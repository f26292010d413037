"""Put to other use: money that lies idle in one budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_core.kaizen.scamper.making import Idea, dearest
from aegis_core.protocol.kaizen import Finding


def _change(finding: Finding) -> Mapping[str, Any] | None:
    if (place := dearest(finding)) is None:
        return None
    return {"kind": "move_slack", "agent": place[0], "after_minutes": _minutes(finding)}


def _minutes(finding: Finding) -> int:
    return max(1, 3 * int(finding.facts.get("median_answer_ms", 0)) // 60_000)


IDEAS = {
    "stale-questions": Idea(
        "End questions at three times the usual time to an answer, so that what they hold is free for others", _change,
        "a late answer comes to nothing", "answers of the day that came later", "the old timeout",
    ),
}  # fmt: skip
"""By the detector whose findings it takes."""

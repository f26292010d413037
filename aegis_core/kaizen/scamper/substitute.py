"""Substitute: another model where it was shown to do as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_core.kaizen.scamper.making import Idea, dearest
from aegis_core.protocol.kaizen import Finding


def _change(finding: Finding) -> Mapping[str, Any] | None:
    if (place := dearest(finding)) is None:
        return None
    return {"kind": "model_override", "model": place[1], "task_type": place[2]}


IDEAS = {
    "over-strong": Idea(
        "Choose the certified cheaper model for this type of task", _change,
        "answers may be worse for requests unlike those of the trial", "pairs of the trial, per type of task",
        "drop the rule",
    ),
}  # fmt: skip
"""By the detector whose findings it takes."""

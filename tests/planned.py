"""Plans of workflows that people are asked about, for tests of plain code."""

from __future__ import annotations

from aegis_core.client.sync import SyncGovernor
from aegis_core.protocol.approvals import Approval


def plan_asked(governor: SyncGovernor) -> Approval:
    """The plan that people are asked about, once they are."""
    after = "0"
    while True:
        for each in governor.approvals.list():
            if each.plan is not None:
                return each
        for event in governor.events(after=after, wait=10):
            after = event.id


def approve_plan(governor: SyncGovernor) -> None:
    """Approve it."""
    asked = plan_asked(governor)
    governor.approvals.decide(asked.approval_id, "approve", by="ada", content=asked.content)

"""What the events of workflows say. Part of what `events` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aegis_core.governor.budgets import at_ms
from aegis_core.protocol.money import to_usd
from aegis_core.store.flow_bodies import WorkflowEnded, WorkflowInvited, WorkflowNarrowed

_Said = tuple[str | None, dict[str, object]]


def _ended(body: WorkflowEnded) -> _Said:
    facts: dict[str, object] = {
        "workflow_id": "wf_" + body.workflow, "name": body.name, "how": body.how, "planned_usd": _usd(body.budget),
        "used_usd": _usd(body.used), "beside_usd": _usd(body.beside), "uses": body.uses, "asked": body.asked,
        "open": body.open, "members": body.members,
    }  # fmt: skip
    return body.agent, facts | ({"by": body.author} if body.author else {})


def _invited(body: WorkflowInvited) -> _Said:
    facts: dict[str, object] = {
        "workflow_id": "wf_" + body.workflow, "name": body.name, "uses": body.uses,
        "expires_at": at_ms(body.expires).isoformat(), "by": body.author,
    }  # fmt: skip
    return body.agent, facts | ({"agents": body.agents} if body.agents else {})


def _narrowed(body: WorkflowNarrowed) -> _Said:
    return body.agent, {
        "workflow_id": "wf_" + body.workflow, "name": body.name, "planned_usd": _usd(body.budget),
        "lasts_seconds": body.lasts / 1000, "by": body.author,
    }  # fmt: skip


def _usd(nanos: int) -> float:
    return float(to_usd(nanos))


FLOW_FACTS: Mapping[type, Callable[[Any], _Said]] = {
    WorkflowEnded: _ended, WorkflowInvited: _invited, WorkflowNarrowed: _narrowed
}  # fmt: skip
"""By the class of the body."""

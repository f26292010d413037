"""Where a thread stands: what Aegis paused it for, and what the operators have said of that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from langgraph.types import StateSnapshot

from aegis_core.adapting import canonical_json
from aegis_core.adapting.clearance import decisions_in
from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.errors import InvalidRequestError, NotFoundError

Question = Mapping[str, Any]
Decisions = list[dict[str, object]] | Mapping[str, list[dict[str, object]]]
"""Of a question's actions in their order; or by the interrupt's id, where a thread asks several questions at once."""


def questions_of(state: StateSnapshot) -> dict[str, Question]:
    """What Aegis paused the thread for, by the interrupt's id."""
    found: dict[str, Question] = {}
    for each in state.interrupts:
        value: object = each.value
        if isinstance(value, Mapping) and "aegis" in value and "action_requests" in value:
            found[each.id] = cast("Question", value)
    return found


def asks(state: StateSnapshot, approval_id: str) -> bool:
    """Whether the thread is paused for this approval."""
    return any(asked["approval_id"] == approval_id for each in questions_of(state).values() for asked in each["aegis"])


def checkpoint_of(state: StateSnapshot) -> object:
    """The name of the checkpoint at which the thread stands."""
    return (state.config.get("configurable") or {}).get("checkpoint_id")


def moment_of(state: StateSnapshot) -> str:
    """A name for where the thread stands and what it waits for."""
    return canonical_json(
        [checkpoint_of(state), {key: question["aegis"] for key, question in questions_of(state).items()}]
    )


def is_stalled(state: StateSnapshot, after: timedelta) -> bool:
    """Whether the thread has not moved for so long."""
    moved = datetime.fromisoformat(state.created_at) if state.created_at else None
    return moved is not None and datetime.now(UTC) - moved > after


def answered(paused: Mapping[str, Question], decisions: Decisions) -> dict[str, Any]:
    """A person's decisions as the value to resume with.

    Raises:
        InvalidRequestError: they do not answer what the thread waits for.
    """
    given = decisions
    if not isinstance(given, Mapping):
        given = {next(iter(paused)): given} if len(paused) == 1 else {}
    values = {key: {"decisions": each} for key, each in given.items()}
    known = all(key in paused and decisions_in(value, _actions(paused[key])) for key, value in values.items())
    if not values or not known:
        waits = ", ".join(f"{key}: {_actions(question)}" for key, question in paused.items()) or "none"
        problem = (
            f"the thread waits for these numbers of decisions, by the ids of its interrupts: {waits}; give a list, or "
            "of several questions such lists by their ids; each decision is of approve, edit, reject or respond"
        )
        raise InvalidRequestError(f"decisions: {problem}", field="decisions", problem=problem)
    return values


def _actions(question: Question) -> int:
    return len(question["action_requests"])


async def decided(question: Question, get: Callable[[str], Awaitable[Approval]]) -> dict[str, Any] | None:
    """What the operators decided, as the value to resume with; None while anything of it is open.

    A call whose outcome is unknown stays open: no operator of Aegis was asked about it, only a person can say.
    """
    decisions: list[dict[str, object]] = []
    for asked in question["aegis"]:
        if asked["state"] == "unknown":
            return None
        try:
            approval = await get(asked["approval_id"])
        except NotFoundError:
            decisions.append({"type": "reject", "message": "its approval is no longer kept"})
            continue
        if approval.status == "open":
            return None
        if approval.status == "approved":
            decisions.append({"type": "approve"})
        else:
            decisions.append({"type": "reject", "message": approval.decision_reason})
    value = {"decisions": decisions}
    return value if decisions_in(value, _actions(question)) is not None else None

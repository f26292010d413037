"""The errors behind the answers of the scripts of workflows. Part of what `refusals` lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aegis_core.protocol.errors import AegisError, AuthError, ConflictError, InvalidRequestError
from aegis_core.protocol.money import format_usd
from aegis_core.protocol.windows import window_name

_HOW = {
    "time": "its time was over", "use": "its plan was used up", "opener": "its opener ended it",
    "operator": "an operator ended it", "rejected": "its plan was rejected", "timed_out": "nobody approved its plan",
    "withdrawn": "its plan was withdrawn",
}  # fmt: skip


def _ended(answer: list[Any]) -> AegisError:
    how = answer[1].decode()
    return ConflictError(f"The workflow has ended: {_HOW[how]}.", code="workflow_ended", ended=how)


def _above(answer: list[Any]) -> AegisError:
    owner, most, kind, agent = answer[1].decode(), int(answer[2]), answer[3].decode(), answer[4].decode()
    window = window_name(int(kind) if kind.isdigit() else kind)
    whose, name = {
        "agent": (f"its opener {agent}", f"agent {agent}"), "session": ("its opener's session", ""),
        "tenant": ("the tenant", "tenant -"),
    }[owner]  # fmt: skip
    problem = f"is above {format_usd(most)}, all that the {window} budget of {whose} could pay for while the plan lasts"
    told = f" An operator gives it more: aegis budget set {name} AMOUNT --window {window}" if name else ""
    return InvalidRequestError(f"budget_usd: {problem}. Nobody was asked.{told}", field="budget_usd", problem=problem)


def _refused(answer: list[Any]) -> AegisError:
    who, why = answer[1].decode(), answer[2].decode()
    return ConflictError(
        f"The same plan was refused by {who}{': ' + why if why else ''}; it is not asked again for a while.",
        code="refused_before",
    )  # fmt: skip


def _said(kind: type[AegisError], code: str, text: str) -> Callable[[list[Any]], AegisError]:
    """An error that may name the one number that the script answered."""
    return lambda answer: kind(text.format(*(f"{int(each):,}" for each in answer[1:])), code=code)


WORKFLOW_REFUSALS: Mapping[str, Callable[[list[Any]], AegisError]] = {
    "WORKFLOW_OVER": _ended,
    "PLAN_ABOVE": _above,
    "PLAN_REFUSED": _refused,
    "IS_A_PLAN": _said(
        ConflictError,
        "is_a_plan",
        "This is a workflow, which holds no money of its own: approve or reject it as it is, make it smaller "
        "(aegis workflows narrow), or end it.",
    ),
    "IN_A_WORKFLOW": _said(
        AuthError, "in_a_workflow", "A member of a workflow opens no other one; shake hands again to act outside of it."
    ),
    "TOO_MANY_QUESTIONS": _said(
        ConflictError, "too_many_questions", "The agent has {} unanswered requests, as many as may be; wait."
    ),
    "TOO_MANY_OPEN": _said(
        ConflictError, "too_many_open_grants", "The agent holds {} open grants and workflows, as many as it may."
    ),
    "TOO_MANY_JOINS": _said(
        ConflictError, "too_many_join_tokens", "There are {} join tokens in force, the most there may be; use some."
    ),
    "WIDER": _said(
        ConflictError, "plan_wider", "A plan is only made smaller; for more, people must be asked about another one."
    ),
    "BAD_JOIN": _said(AuthError, "bad_join_token", "This is no join token of a workflow of this tenant."),
    "JOIN_EXPIRED": _said(AuthError, "join_token_expired", "The join token has expired; its opener makes another one."),
    "JOIN_USED": _said(AuthError, "join_token_used", "The join token was used as often as it may."),
    "MAY_NOT_JOIN": _said(AuthError, "may_not_join", "Plan or token let only agents of other names join."),
    "WORKFLOW_PENDING": _said(ConflictError, "workflow_pending", "People are still asked about this workflow."),
    "WORKFLOW_FULL": _said(ConflictError, "workflow_full", "{} sessions joined already, as many as may."),
}
"""By the first word of the answer."""

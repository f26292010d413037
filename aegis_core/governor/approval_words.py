"""Approvals and envelopes in words: what is stored of a question, as operators and channels read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from aegis_core.governor.budgets import at_ms, lines_of
from aegis_core.governor.plans import plan_in
from aegis_core.protocol.approvals import Approval, ApprovalStatus, Envelope, OriginalRequest, Vote
from aegis_core.protocol.messages import WithdrawnBy
from aegis_core.protocol.money import to_usd
from aegis_core.protocol.transactions import simulated_lines
from aegis_core.protocol.writing import looks_like, mixed_scripts
from aegis_core.store.records import Question, Record
from aegis_core.store.records import StoredEnvelope as EnvelopeRow

PREFIX = "ap_"


def approval_of(record: Record, key: str, tenant: str) -> Approval:
    """A record as an approval.

    Raises:
        NotFoundError: it never waited for a person.
    """
    if (question := record.question) is None:
        raise no_approval()
    said: dict[str, Any] = question.trace
    lines, day = lines_of(record)
    plan = plan_in(said)
    status = cast("ApprovalStatus", question.how or "open")
    return Approval(
        approval_id=PREFIX + key,
        tenant=tenant,
        status=status,
        agent_id=record.agent,
        session_id=record.session,
        request_id=record.request,
        grant_id="gr_" + key,
        intent=said.get("intent", ""),
        resource_type=said["resource_type"],
        amount_usd=to_usd(record.amount) if plan is None else plan.budget_usd,
        rule=record.rule or None,
        reason=record.reason or "",
        asked_at=at_ms(record.created),
        deadline=at_ms(record.deadline if status == "open" else question.deadline or question.at),
        remaining_budget_usd=day,
        budgets=lines,
        quorum=question.quorum,
        missing=_missing(question) if status == "open" else 0,
        operators=tuple(question.operators or ()),
        approver_roles=tuple(question.roles or ()),
        groups=dict(zip((question.groups or ())[::2], (question.groups or ())[1::2], strict=True)),
        on_timeout="approve" if question.approves else "reject",
        remind_at=at_ms(question.remind) if question.remind and status == "open" else None,
        votes=_votes(question),
        decided_by=question.by or None,
        decided_at=at_ms(question.at) if question.how else None,
        decision_reason=question.why or "",
        edited=bool(question.edited),
        tool=said.get("tool"),
        arguments_hash=said.get("arguments_hash"),
        target_resource=said.get("target_resource"),
        task_type=said.get("task_type"),
        model=record.model or None,
        priority=said.get("priority", 5),
        confidence=said.get("confidence"),
        metadata=said.get("metadata") or {},
        content=question.edited or question.content,
        prompt_end=said.get("prompt_end", ""),
        simulated=simulated_lines(said.get("transaction")),
        original=_original(*question.original) if question.original else None,
        withdrawn_by=cast("WithdrawnBy | None", question.taken_back or None),
        mixed_scripts=_of_names(mixed_scripts, {"agent_id": record.agent, **said}),
        looks_like=_of_names(looks_like, {"agent_id": record.agent, **said}),
        shown_at={channel: at_ms(at) for channel, at in question.told or ()},
        plan=plan,
        workflow_id=f"wf_{record.workflow}" if record.workflow else None,
    )


def _votes(question: Question) -> tuple[Vote, ...]:
    return tuple(
        Vote(vote.operator, vote.word, at_ms(vote.at), vote.why or "", vote.credential or None)
        for vote in question.words
    )


def _missing(question: Question) -> int:
    return max(1, question.quorum - sum(vote.word == "approve" for vote in question.words))


def _of_names(say: Callable[[str], str], names: dict[str, Any]) -> dict[str, str]:
    found = ((name, say(names.get(name) or "")) for name in ("agent_id", "tool", "target_resource"))
    return {name: said for name, said in found if said}


def _original(amount: int, said: dict[str, Any]) -> OriginalRequest:
    return OriginalRequest(to_usd(amount), said.get("tool"), said.get("arguments_hash"), said.get("target_resource"))


def envelope_of(row: EnvelopeRow) -> Envelope:
    """A stored envelope in words."""
    return Envelope(
        envelope_id=row.id,
        limit_usd=to_usd(row.limit),
        used_usd=to_usd(row.used),
        uses=row.uses,
        author=row.author,
        made_at=at_ms(row.made),
        expires_at=at_ms(row.expires),
        agent_id=row.agent or None,
        session_id=row.session or None,
        tool=row.tool or None,
        rule=row.rule or None,
        phrase=row.phrase.strip() if isinstance(row.phrase, str) else None,
        resource_type=row.resource or None,  # pyright: ignore[reportArgumentType]
        reason=row.reason,
    )


def no_approval() -> Exception:
    """The error where there is no such approval."""
    from aegis_core.store.refusals import refusal

    return refusal("NO_APPROVAL", [])

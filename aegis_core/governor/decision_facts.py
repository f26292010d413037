"""What the event of a decision, or of how it ended, says: everything that explains it, without any other look-up."""

from __future__ import annotations

from typing import Any

from aegis_core.arbiter.why import routing_of
from aegis_core.governor.budgets import at_ms, budget_name, line_facts
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.money import to_usd
from aegis_core.protocol.windows import window_name
from aegis_core.store.call_evidence import COUNTS_OF_USAGE, CallFacts, Evidence
from aegis_core.store.packing import decode
from aegis_core.store.records import Bar, Question, Record
from aegis_core.store.states import EXPIRED, LIVE, PENDING, REJECTED, RELEASED, SETTLED, STATE_OF

Facts = dict[str, Any]

STOPS: dict[str, tuple[str, str]] = {
    "policy": ("rule", "a rule"),
    "rate_limit": ("rule", "a rule that counts requests"),
    "repeat_limit": ("rule", "a rule that counts equal calls"),
    "escalated": ("rule", "a rule that asks a person"),
    "budget_exceeded": ("budget", "a budget"),
    "too_much_pending": ("budget", "the share of a budget that may wait for people and locks"),
    "too_many_open_grants": ("ceiling", "max_open_grants"),
    "too_many_questions": ("ceiling", "max_open_questions"),
    "too_many_requests": ("ceiling", "max_requests_per_second"),
    "priority_above_maximum": ("ceiling", "max_priority"),
    "too_long_to_approve": ("ceiling", "arguments that a person is shown"),
    "missing_capability": ("session", "its capabilities"),
    "tenant_halted": ("brake", "tenant"),
    "agent_blocked": ("brake", "agent"),
    "refused_before": ("person", "an operator who refused the same"),
    "target_needed": ("request", "target_resource"),
    "stale_fence": ("lock", "the fence"),
    "lock_busy": ("lock", "its holder"),
    "locks_full": ("lock", "locks or waits"),
    "too_many_waits": ("lock", "waits of one agent or key"),
    "lock_deadlock": ("lock", "a cycle of waits"),
    "lock_lost": ("lock", "its lease"),
    "lock_differs": ("lock", "its permits"),
    "lock_unavailable": ("lock", "its state"),
    "lock_timed_out": ("lock", "its queue"),
    "workflow_ended": ("workflow", "its end"),
    "opener_blocked": ("brake", "the agent that opened the workflow"),
    "foreign_wallet": ("profile", "the wallets of the agent's profile"),
    "gas_unknown": ("gas", "the price of gas"),
    "gas_stale": ("gas", "the age of the price of gas"),
    "gas_too_dear": ("rule", "a rule on the price of gas"),
    "no_model": ("models", "the catalog"),
    "model_not_allowed": ("models", "the rules on models"),
    "withdrawn": ("answer", "lost on its way"),
}
"""By code what stood in the way of a refused or escalated request: what kind of thing, and which one where only the
code says so."""


def decision_facts(record: Record, said: Facts | None, words: Facts | None = None) -> Facts:
    """The facts of a record; `said` is what its request said, where the record does not hold it, and `words` what of it
    lies apart. What an operator made of the request stands in its record."""
    question, grant = record.question, record_id(record.agent, record.request)
    said = question.trace if said is None and question else said
    if said is not None and words:
        said = words | said
    facts: Facts = {
        "grant_id": "gr_" + grant,
        "request_id": record.request,
        "session_id": record.session,
        "created_at": at_ms(record.created).isoformat(),
        "code": record.code,
        "resource_type": record.resource,
        "policy_version": record.policy,
        "amount_usd": _usd(record.amount),
        "charged_usd": _usd(record.charged),
        "estimated": record.estimated or None,
        "late": (_may_come_late(record) and record.changed >= record.deadline) or None,
        "nothing_heard": (record.state == EXPIRED and record.attempt > 0) or None,
        "model": record.model or None,
        "recommended_model": record.recommended or None,
        "rule": record.rule or None,
        "rules": record.matched.split("\t") if record.matched else [record.rule] if record.rule else None,
        "reason": record.reason or None,
        "stopped_by": stopped_by(record, said or {}),
        "would_be": STATE_OF[record.would].status if record.would else None,
        "envelope_id": record.envelope or None,
        "deadline": at_ms(record.deadline).isoformat() if record.deadline else None,
        "credential": record.key or None,
        "task_type": record.task or None,
        "labels": dict(pair.split("=", 1) for pair in record.labels.split(",")) if record.labels else None,
        "lock": lease.resource if (lease := record.lease) else None,
        "workflow_id": f"wf_{record.workflow}" if record.workflow else None,
        "plan_step": record.plan_step if record.plan_step > 0 else None,
        "approval_id": f"ap_{record.workflow}" if record.plan_step > 0 else None,
        **_basis(record.basis or ""),
    }
    if record.state in (LIVE, PENDING, REJECTED):
        facts["budgets"] = line_facts(record)
    if record.why and (routing := routing_of(record.why)) is not None:
        facts["routing"] = {
            "evidence": routing.evidence, "expected_usd": float(routing.expected_cost_usd),
            "strongest_model": routing.strongest_model, "strongest_usd": float(routing.strongest_cost_usd),
            "degraded": routing.degraded, "outcomes": routing.outcomes, "note": routing.note,
        }  # fmt: skip
    if said is not None:
        facts |= _request(said)
    if question is not None:
        facts |= _question_facts(question)
    return {name: value for name, value in facts.items() if value is not None}


def _may_come_late(record: Record) -> bool:
    """Whether it ended by what may also take the place of the charge of an expired grant."""
    return record.state == SETTLED or (record.state == RELEASED and record.code == "withdrawn")


def stopped_by(record: Record, said: Facts) -> Facts | None:
    """What stood in the way of a refused or waiting request: a rule, budget, ceiling or lock, by name; and where it is
    a number, its limit, what was left and what was asked."""
    lease = record.lease
    if lease is not None and record.state == LIVE and not lease.claimed:  # granted but for its lock
        return {"kind": "lock", "name": lease.resource}
    if record.state not in (REJECTED, PENDING) and record.code in {"ok", "approved", "escalated"}:
        return None
    kind, name = STOPS.get(record.code, ("other", record.code))
    facts: Facts = {"kind": kind, "name": name}
    if record.workflow and record.code == "escalated" and not record.rule:
        return {"kind": "workflow", "name": f"wf_{record.workflow}"}  # it is beside the plan
    if kind == "rule":
        facts["name"] = record.rule or name
    elif kind == "lock":
        facts["name"] = lease.resource if lease else said.get("target_resource") or name
    elif record.code == "missing_capability" and said.get("capability"):
        facts["name"] = said["capability"]
    if record.code == "stale_fence" and "fence" in said:
        facts["asked"] = said["fence"]
    if record.code == "budget_exceeded" and record.short is not False:
        line = line_facts(record)[record.short]
        return facts | {
            "name": line["budget"], "window": line["window"], "unit": "usd", "limit": line["limit_usd"],
            "left": line["left_usd"], "asked": _usd(record.amount),
        }  # fmt: skip
    return facts | (_bar(decode(Bar, record.bar)) if record.bar else {})


def _bar(bar: Bar) -> Facts:
    values = {"limit": bar.limit, "left": bar.left, "asked": bar.asked}
    if bar.unit == "usd":
        values = {name: _usd(value) for name, value in values.items() if value is not False}
    facts: Facts = {"unit": bar.unit, **{name: value for name, value in values.items() if value is not False}}
    if bar.owner:
        facts |= {"name": budget_name(bar.owner), "window": window_name(bar.window)}
    return facts


def _basis(text: str) -> Facts:
    digest, _, rest = text.partition(" ")
    profiles, _, prices = rest.partition(" ")
    if not prices:
        return {}
    return {"policy_digest": digest, "profiles_version": int(profiles), "price_version": prices}


def _request(said: Facts) -> Facts:
    """What the request said, with the evidence by name."""
    said = dict(said)
    told: list[Any] = said.pop("evidence", None) or []
    evidence = decode(Evidence, told)._asdict()
    own = {name: value for name in ("traceparent", "http_request_id") if (value := evidence.pop(name))}
    return {"request": said | {name: value for name, value in evidence.items() if value is not False}, **own}


def call_facts(call: CallFacts) -> Facts:
    """How a call went, from its settlement."""
    counts = dict(zip(COUNTS_OF_USAGE, call.counts, strict=False))
    facts: Facts = {
        "answered_by": call.model or None,
        "usage": {name: count for name, count in counts.items() if count} or None,
        "outcome": None if call.outcome is False else call.outcome,
        "error_class": call.error or None,
        "attempt": call.attempt or None,
        "parent_request_id": call.parent or None,
        "latency_ms": None if call.latency is False else call.latency,
        "escalation_model": call.escalation or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _question_facts(question: Question) -> Facts:
    return {
        "quorum": question.quorum if question.quorum > 1 else None,
        "votes": [
            {"by": vote.operator, "decision": vote.word} | ({"credential": vote.credential} if vote.credential else {})
            for vote in question.words
        ]
        or None,
        "decided_by": question.by or None,
        "decision_reason": question.why or None,
        "edited": bool(question.edited) or None,
        "withdrawn_by": question.taken_back or None,
        "shown_at": {channel: at_ms(at).isoformat() for channel, at in question.told or ()} or None,
    }


def _usd(nanos: int) -> float:
    return float(to_usd(nanos))

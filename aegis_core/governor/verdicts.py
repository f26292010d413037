"""What the store answers, in words: the verdict, the receipt and the summary of an agent that callers see."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any

from aegis_core.arbiter.why import routing_of
from aegis_core.governor.budgets import at_ms, lines_of, lines_of_purses, shortage
from aegis_core.protocol.messages import AgentSummary, Handshake, Receipt, SessionOpened, Verdict
from aegis_core.protocol.money import format_usd, to_nanos, to_usd
from aegis_core.store.ledger import OpenedSession
from aegis_core.store.records import Record, RecordLock
from aegis_core.store.states import DECLINED, LIVE, OPEN, PENDING, REJECTED, RELEASED, STATE_OF, TIMED_OUT

_CARRIED = tuple(
    (Record._fields.index(name), name)
    for name in Record._field_defaults.keys() & {field.name for field in fields(Verdict)}
)
"""What records have had since the first of their schema, and the verdict calls the same, is the verdict's as it is."""
_REASONS = {
    "too_many_questions": "The agent has as many unanswered requests as it may have; wait for answers.",
    "too_long_to_approve": "A person would have to approve it, and its arguments are too long to be shown, over "
    "64 KiB. Pass a reference to them.",
    "too_much_pending": "What waits for a person or a lock, of this agent or of all that its key let in, would hold "
    "more than its share of a budget that others need.",
    "too_many_requests": "There were too many requests in this second, of this agent or of all that its key let in.",
    "tenant_halted": "The tenant is halted by its operator.",
    "agent_blocked": "The agent is blocked by its operator.",
    "workflow_ended": "The workflow that this session belongs to has ended; shake hands again to act outside of it.",
    "opener_blocked": "The agent that opened the workflow is blocked by its operator.",
    "stale_fence": "The agent does not hold the lock of its target with this fence: it ended or was taken.",
    "missing_capability": "The session did not register the capability that this request needs.",
    "priority_above_maximum": "The priority is above the maximum that the session registered.",
    "target_needed": "Name the lock in target_resource.",
    "locks_full": "There are as many locks, or waits for this one, as there may be: in all, of this agent or of all "
    "that its key let in.",
    "too_many_waits": "This agent, or all that its key let in, waits for the lock as often as it may.",
    "lock_deadlock": "Waiting for the lock would close a cycle of waits, and an earlier claim goes first. "
    "Give back what is held, and take all of it again.",
    "lock_lost": "A lease that it stood on, or its place in the queue, is no more. Ask again.",
    "lock_differs": "The lock is in use as a semaphore of several permits, so nobody can have it alone.",
    "lock_unavailable": "The lock cannot be asked for under this request id; use a new one.",
    "lock_timed_out": "The lock was not free in time.",
    "gas_unknown": "Nobody says what gas costs on the chain of this transaction: no process watches it, its nodes do "
    "not agree, or no transaction is shown. `aegis chains status` says which.",
    "gas_stale": "What is known of the price of gas on the chain is too old; nobody watches it any more.",
    "too_many_open_grants": "The agent has as many open grants as it may hold; settle or release some.",
}


def verdict_of(record: Record, grant: str, now: int) -> Verdict:
    """The verdict of a record: what was decided, and the state it is in now.

    Args:
        record: the record as the script answered it.
        grant: the record's id.
        now: the server's time in ms, for `retry_after_seconds`.
    """
    state, stands = record.state, STATE_OF[record.state]
    live = state in OPEN
    question = record.question
    lines, day = lines_of(record)
    verdict = Verdict(
        "REJECTED" if state == RELEASED and _withdrawn(record) else stands.status,
        record.agent,
        _reason(record),
        _code(record),
        day,
        record.request,
        record.policy,
        lines,
    )
    verdict.state = stands.word
    for place, name in _CARRIED:
        if value := record[place]:
            setattr(verdict, name, value)
    verdict.recommended_model = record.recommended or None
    verdict.rule = record.rule or None
    if record.why:
        verdict.routing = routing_of(record.why)
    if record.workflow or record.would:
        _say_beside(verdict, record)
    if state == REJECTED:
        verdict.asked_usd = to_usd(record.amount)
        if record.retry:
            verdict.retry_after_seconds = max(0.0, (record.retry - now) / 1000)
        return verdict
    verdict.reserved_usd = to_usd(record.amount)
    verdict.grant_id = "gr_" + grant
    if live:
        verdict.expires_at = at_ms(record.deadline)
    if question is not None:
        verdict.escalation_id = "ap_" + grant
        verdict.tool, verdict.arguments_hash = question.trace.get("tool"), question.trace.get("arguments_hash")
    if record.lease is not None and state == LIVE:
        _say_lock(verdict, record.lease, grant, now)
    if state == PENDING:
        verdict.waiting_for = "human"
    never = record.code == "policy"  # approved, and denied by newer rules before its agent could use it
    if verdict.waiting_for is None and not never and (question is None or question.how == "approved"):
        verdict.granted_at = at_ms(question.at if question else record.created)
    return verdict


def _say_beside(verdict: Verdict, record: Record) -> None:
    """What few verdicts say: what observed rules would have made of it; and of a member of a workflow, which step of
    the plan covers it, by which approval."""
    if record.would:
        verdict.would_be = STATE_OF[record.would].status
    if record.workflow:
        verdict.workflow_id = f"wf_{record.workflow}"
    if record.plan_step > 0:
        verdict.plan_step, verdict.approval_id = record.plan_step, f"ap_{record.workflow}"


def _say_lock(verdict: Verdict, lease: RecordLock, grant: str, now: int) -> None:
    """What the lock makes of a verdict: it is held, still to come, or lost while the money is held."""
    stands = lease.standing
    if stands is None:
        return
    verdict.lock_resource = lease.resource
    if stands.state == "held" and lease.claimed:
        verdict.lock_token, verdict.fence = "lk_" + grant, stands.fence
        ends = at_ms(stands.expires)
        verdict.lock_expires_at = ends if verdict.expires_at is None else min(ends, verdict.expires_at)
    elif lease.claimed:
        verdict.status, verdict.code = "REJECTED", "lock_lost"
        verdict.reason = f"The lease of {lease.resource} is no more. Settle what was spent, or release the grant."
    else:
        verdict.status, verdict.code, verdict.waiting_for = "PENDING", "lock_busy", "lock"
        place = "" if stands.state == "busy" else f", as number {stands.place + 1} of its queue"
        verdict.queue_position = stands.place if place else None
        held = format_usd(to_nanos(verdict.reserved_usd))
        verdict.reason = f"Waits for the lock {lease.resource}{place}: {held} is held meanwhile."
        verdict.retry_after_seconds = min(1.0, max(0.0, (stands.next_expiry - now) / 1000))


def receipt_of(record: Record, grant: str, *, repeated: bool, late: bool) -> Receipt:
    """What became of a grant after settle, release or extend."""
    overrun = max(0, record.charged - record.amount)
    open_ = record.state in OPEN
    return Receipt(
        grant_id="gr_" + grant,
        agent_id=record.agent,
        state=STATE_OF[record.state].word,
        reserved_usd=to_usd(record.amount),
        charged_usd=to_usd(record.charged),
        returned_usd=to_usd(0 if open_ else max(0, record.amount - record.charged)),
        overrun_usd=to_usd(overrun),
        expires_at=at_ms(record.deadline) if open_ else None,
        repeated=repeated,
        late=late,
        lock_lost=record.lease is not None and record.lease.lost,
        estimated=record.estimated,
    )


def session_of(message: Handshake, found: OpenedSession, sid: str, token: str, tenant: str) -> SessionOpened:
    """What a handshake opened: of what the agent asked for, what its operator allows."""
    allowed = set(found.claimed.split(","))
    if found.capabilities is not False:
        allowed &= set(found.capabilities.split(","))
    purses = {"a": found.agent, "s": found.session, "t": found.tenant}
    lines = lines_of_purses(purses, message.agent_id, sid)
    return SessionOpened(
        agent_id=message.agent_id,
        session_id=sid,
        session_token=token,
        tenant=tenant,
        agent_framework=message.agent_framework,
        capabilities=tuple(name for name in message.capabilities if name in allowed),
        max_priority=min(found.claims, found.priority),
        remaining_budget_usd=next(
            (line.remaining_usd for line in lines if (line.scope, line.window) == ("agent", "day")), Decimal(0)
        ),
        policy_version=found.policy,
        opened_at=at_ms(found.opened),
        budgets=lines,
        session_budget_usd=message.session_budget_usd,
    )


def grant_key(grant_id: str) -> str:
    """The record id inside a grant or escalation id; anything else names nothing."""
    key = grant_id.removeprefix("gr_").removeprefix("ap_")
    return key if len(key) == 32 and key.isalnum() else "none"


def _withdrawn(record: Record) -> bool:
    """True for what was given back before it was the agent's to use: a question taken back or denied by newer rules, a
    lock that never came, a verdict that did not reach who asked."""
    lease = record.lease
    never = lease is not None and not lease.claimed and record.code != "approved"
    return record.code in {"escalated", "policy", "withdrawn", "workflow_ended"} or never


def _code(record: Record) -> str:
    if record.state == RELEASED and _withdrawn(record):
        return record.code if record.code in _REASONS or record.code == "policy" else "withdrawn"
    if record.state == TIMED_OUT:
        return "approval_timed_out"
    if record.state == DECLINED:
        return "declined"
    return "approval_needed" if record.state == PENDING else record.code


def _reason(record: Record) -> str:
    state, code = record.state, record.code
    question = record.question
    if state == PENDING:
        missing = _missing(record)
        return f"Waits for {missing}: {_because(record)} {format_usd(record.amount)} is held meanwhile."
    if state == TIMED_OUT:
        return f"Nobody approved it in time, so it is refused: {_because(record)}"
    if state == RELEASED and _withdrawn(record):
        if code in _REASONS or code == "policy":
            return _REASONS.get(code) or _sentence(record.reason or f"rule {record.rule} denies it")
        if code == "withdrawn":
            return "It was withdrawn, for its verdict did not reach who asked."
        if code != "escalated":
            return "It was withdrawn before it got the lock."
        return f"It was withdrawn before anybody approved it: {_because(record)}"
    if state == DECLINED and question is not None:
        said = f" ({question.why})" if question.why else ""
        return f"{question.by} rejected it{said}: {_because(record)}"
    if code == "approved" and question is not None:
        said = f" ({question.why})" if question.why else ""
        changed = " after changing it" if question.edited else ""
        return f"Approved by {question.by or 'silence, as its rules say'}{changed}{said}."
    if code == "ok":
        ahead = f" It was {record.reason}." if record.reason and (record.envelope or record.plan_step) else ""
        return "Within every budget and the policy." + ahead + _forecast_of(record)
    if code == "budget_exceeded":
        return shortage(record)
    return _REASONS.get(code) or _sentence(record.reason or "refused")


def _missing(record: Record) -> str:
    question = record.question
    if question is None or question.quorum == 1:
        return "an operator's approval"
    there = sum(vote.word == "approve" for vote in question.words)
    return f"the approval of {question.quorum} operators ({there} so far)"


def _forecast_of(record: Record) -> str:
    """The bound on a forecast: of n exchangeable calls and the next, each is the dearest with chance 1 in n + 1."""
    if not record.samples:
        return ""
    more = format_usd(record.strict - record.amount)
    return f" Reserved by forecast: about 1 call in {record.samples + 1} may cost more, by at most {more}."


def _because(record: Record) -> str:
    return f"{record.reason or f'rule {record.rule} asks for it'}.".replace("..", ".")


def _sentence(phrase: str) -> str:
    return (phrase[:1].upper() + phrase[1:]).removesuffix(".") + "."


def summary_of(row: list[Any], labels: dict[str, str]) -> AgentSummary:
    """An agent in one row, with the labels that its operator gave it."""
    agent, status, framework, open_grants, _, spent, reserved, limit, registered, seen = row
    return AgentSummary(
        agent_id=agent,
        status=status,
        framework=framework,
        open_grants=open_grants,
        labels=dict(sorted(labels.items())),
        spent_today_usd=to_usd(spent),
        reserved_usd=to_usd(reserved),
        limit_usd=to_usd(limit),
        registered_at=at_ms(registered),
        last_seen_at=at_ms(seen),
    )

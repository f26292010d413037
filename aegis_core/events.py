"""What observers are told: the entries of the event stream, decoded into facts that a person or program can read."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aegis_core.errors import InvalidRequestError
from aegis_core.money import to_usd
from aegis_core.protocol import Event
from aegis_core.store import layout
from aegis_core.store.packing import unpack
from aegis_core.store.records import Question, Record

_EVENT_ID = re.compile(r"\d{1,19}(-\d{1,19})?|\$")
_RECORD_KINDS = frozenset(
    {
        "granted",
        "pending",
        "rejected",
        "settled",
        "overrun",
        "released",
        "expired",
        "timed_out",
        "declined",
        "extended",
        "approved",
        "voted",
    }
)


def check_cursor(after: str) -> None:
    """Refuse what is no place in the stream.

    Raises:
        InvalidRequestError: neither an event's id nor ``0`` nor ``$``.
    """
    if not _EVENT_ID.fullmatch(after):
        problem = "must be the id of an event, such as 1795382065724-0, or 0 for the oldest kept"
        raise InvalidRequestError(f"after: {problem}", field="after", problem=problem)


def decode_event(entry_id: str, fields: dict[bytes, bytes], tenant: str) -> Event:
    """One entry of the stream as an `Event`; unknown kinds keep their raw values, so that nothing is hidden."""
    kind = fields[b"k"].decode()
    body = unpack(fields[b"b"])
    if kind in _RECORD_KINDS:
        record = Record._make(body)
        facts = _record_facts(record)
        if b"q" in fields:
            facts["request"] = unpack(fields[b"q"])
        if record.question is not None:
            facts |= _question_facts(record.question)
        return Event(entry_id, _at(record.changed), kind, tenant, record.agent, facts)
    agent, facts = _DECODERS.get(kind, _unknown)(body[1:])
    return Event(entry_id, _at(body[0]), kind, tenant, agent or None, facts)


def _record_facts(record: Record) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "request_id": record.request,
        "session_id": record.session,
        "code": record.code,
        "resource_type": record.resource,
        "policy_version": record.policy,
        "amount_usd": _usd(record.amount),
        "charged_usd": _usd(record.charged),
        "model": record.model or None,
        "recommended_model": record.recommended or None,
        "rule": record.rule or None,
        "reason": record.reason or None,
        "would_be": {"G": "GRANTED", "P": "PENDING", "R": "REJECTED"}[record.would] if record.would else None,
        "envelope_id": record.envelope or None,
        "deadline": _at(record.deadline).isoformat() if record.deadline else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _question_facts(question: Question) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "request": question.trace,
        "quorum": question.quorum if question.quorum > 1 else None,
        "votes": [{"by": name, "decision": word} for name, word, _, _ in question.votes] or None,
        "decided_by": question.by or None,
        "decision_reason": question.why or None,
        "edited": bool(question.edited) or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _usd(nanos: int) -> float:
    return float(to_usd(nanos))


def _at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


_Decoded = tuple[str | None, dict[str, Any]]


def _unknown(body: list[Any]) -> _Decoded:
    return None, {"values": body}


def _handshake(body: list[Any]) -> _Decoded:
    agent, session, framework, priority, capabilities, limit = body
    return agent, {
        "session_id": session,
        "framework": framework,
        "max_priority": priority,
        "capabilities": [name for name in capabilities.split(",") if name],
        "session_budget_usd": _usd(limit) if limit is not False else None,
    }


def _session_closed(body: list[Any]) -> _Decoded:
    return body[0], {"session_id": body[1]}


def _crossed(body: list[Any]) -> _Decoded:
    owner, agent, session, kind, limit, used, mark = body
    return agent or None, {
        "owner": owner, "session_id": session or None, "window": kind, "limit_usd": _usd(limit),
        "committed_usd": _usd(used),
        "percent": mark,
    }  # fmt: skip


def _budget_set(body: list[Any]) -> _Decoded:
    owner, agent, session, kind, before, limit, author = body
    return agent or None, {
        "owner": owner, "session_id": session or None, "window": kind,
        "before_usd": _usd(before) if before else None, "limit_usd": _usd(limit), "by": author,
    }  # fmt: skip


def _envelope(body: list[Any]) -> _Decoded:
    packed, author = body
    row = dict(zip(layout.ENVELOPE, packed, strict=True))
    facts = {
        "envelope_id": row["ID"], "session_id": row["SESSION"] or None, "tool": row["TOOL"] or None,
        "rule": row["RULE"] or None, "phrase": row["PHRASE"] or None, "resource_type": row["RESOURCE"] or None,
        "limit_usd": _usd(row["LIMIT"]), "used_usd": _usd(row["USED"]), "uses": row["USES"],
        "expires_at": _at(row["EXPIRES"]).isoformat(), "reason": row["REASON"] or None, "by": author,
    }  # fmt: skip
    return row["AGENT"] or None, {name: value for name, value in facts.items() if value is not None}


def _ceiling(body: list[Any]) -> _Decoded:
    operator, nanos, author = body
    return None, {"operator": operator, "limit_usd": _usd(nanos) if nanos is not False else None, "by": author}


def _published(body: list[Any]) -> _Decoded:
    return None, {"policy_version": body[0], "digest": body[1], "by": body[2]}


def _opened(body: list[Any]) -> _Decoded:
    return None, {"tenant_day_usd": _usd(body[0]), "policy": body[1]}


def _configured(body: list[Any]) -> _Decoded:
    return None, {"timezone": body[0], "timings": body[1]}


def _by(*names: str) -> Callable[[list[Any]], _Decoded]:
    """A body of named values whose last is the author; one called ``agent_id`` is whom it is about."""

    def decode(body: list[Any]) -> _Decoded:
        facts = dict(zip((*names, "by"), body, strict=True))
        agent = facts.pop("agent_id", None)
        return agent or None, facts

    return decode


def _lock(body: list[Any]) -> _Decoded:
    """Times in seconds. What the last value says depends on the kind: places, the other agent, or the author."""
    agent, resource, fence, priority, waited, held, more = body
    facts: dict[str, Any] = {
        "resource": resource, "fence": fence, "priority": priority, "waited_seconds": waited / 1000,
        "held_seconds": held / 1000, "because_of": more,
    }  # fmt: skip
    return agent, {name: value for name, value in facts.items() if value is not False}


_LOCK_KINDS = (
    "acquired", "waiting", "released", "cancelled", "preempting", "evicted", "expired", "unclaimed", "abandoned",
    "forced", "wounded",
)  # fmt: skip

_DECODERS: dict[str, Callable[[list[Any]], _Decoded]] = {
    "handshake": _handshake,
    "session_closed": _session_closed,
    "budget_crossed": _crossed,
    "budget_set": _budget_set,
    "profiles_published": _by("profiles_version"),
    "agent_blocked": _by("agent_id"),
    "agent_active": _by("agent_id"),
    "tenant_halted": _by("agent_id"),
    "tenant_active": _by("agent_id"),
    "tenant_mode": _by("mode"),
    "key_created": _by("key_id", "role", "name"),
    "key_revoked": _by("key_id", "role", "name"),
    "agent_forgotten": _by("removed"),
    "channel_failed": _by("problem"),
    "channel_recovered": _by("problem"),
    "channel_refused": _by("channel", "act"),
    "outcomes_reset": _by("rows"),
    "prices_changed": _by("version", "before"),
    "envelope_made": _envelope,
    "envelope_revoked": _envelope,
    "ceiling_set": _ceiling,
    "policy_published": _published,
    "tenant_opened": _opened,
    "tenant_configured": _configured,
    **{f"lock_{kind}": _lock for kind in _LOCK_KINDS},
}

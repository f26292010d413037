"""What observers are told: the entries of the event stream, decoded into facts that a person or program can read."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aegis_core.governor.decision_facts import call_facts, decision_facts
from aegis_core.governor.proposal_events import PROPOSAL_FACTS
from aegis_core.governor.workflow_events import FLOW_FACTS
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.events import Event
from aegis_core.protocol.money import to_usd
from aegis_core.store.budget_bodies import BudgetAhead, BudgetReset, LossAccepted
from aegis_core.store.call_evidence import CallFacts
from aegis_core.store.event_bodies import (
    BODIES,
    BudgetCrossed,
    BudgetForecast,
    BudgetSet,
    CeilingSet,
    EnvelopePut,
    EstimatesHigh,
    Handshaken,
    HandshakeRefused,
    LockTold,
    LoginFailed,
    OutcomeUnknown,
    PolicyPublished,
    Refunded,
    RefusalsRepeated,
    RequestsLimited,
    SessionClosed,
    TenantConfigured,
    TenantOpened,
    ThreadFailed,
)
from aegis_core.store.experiment_records import KaizenExperiment
from aegis_core.store.kaizen_bodies import KaizenFound, KaizenProposed
from aegis_core.store.packing import decode, unpack
from aegis_core.store.people import KeyPut, PersonPut
from aegis_core.store.records import AlikeRefusals, Record, StoredEnvelope
from aegis_core.store.webhook_bodies import WebhookReplayed

_EVENT_ID = re.compile(r"\d{1,19}(-\d{1,19}(\.\d{1,19})?)?|\$")


def check_cursor(after: str) -> None:
    """Refuse what is no place in the stream.

    Raises:
        InvalidRequestError: neither an event's id nor ``0`` nor ``$``.
    """
    if not _EVENT_ID.fullmatch(after):
        problem = "must be the id of an event, such as 1795382065724-0, or 0 for the oldest kept"
        raise InvalidRequestError(f"after: {problem}", field="after", problem=problem)


Words = dict[str, Any]


def decode_event(entry_id: str, fields: dict[bytes, bytes], tenant: str, words: Words | None = None) -> Event:
    """One entry of the stream as an `Event`; unknown kinds keep their raw values, so that nothing is hidden.

    `words`: what the agent wrote, where `words_place` found some; they lie apart.
    """
    kind, values = fields[b"k"].decode(), unpack(fields[b"b"])
    number = int(fields[b"n"]) if b"n" in fields else None
    if kind not in BODIES:
        return Event(entry_id, _at(values[0]), kind, tenant, None, {"values": values[1:]}, number)
    of = BODIES[kind]
    body: Any = decode(of, values)
    if isinstance(body, Record):
        said = fields.get(b"q")
        facts = decision_facts(body, unpack(said) if said else None, words)
        if b"s" in fields:
            facts |= call_facts(decode(CallFacts, unpack(fields[b"s"])))
        return Event(entry_id, _at(body.changed), kind, tenant, body.agent, facts, number)
    agent, facts = _FACTS.get(of, _as_named)(body)
    if words:
        facts |= _told(of, words)
    return Event(entry_id, _at(body.at), kind, tenant, agent or None, facts, number)


def words_place(entry_id: str, fields: dict[bytes, bytes]) -> tuple[str, str] | None:
    """Where the words of an event lie: by which agent, under the id of which event. None where it has none."""
    of = BODIES.get(fields[b"k"].decode())
    if of is None or not (b"d" in fields or of in {Record, RefusalsRepeated}):
        return None
    body: Any = decode(of, unpack(fields[b"b"]))
    said = entry_id if b"d" in fields else False
    if isinstance(body, RefusalsRepeated):
        said = decode(AlikeRefusals, body.refused).said
    elif not said and isinstance(body, Record) and body.question:
        said = body.question.said
    return (body.agent, said) if said else None


def _told(of: type[Any], words: Words) -> Words:
    """Which words an event of this class is about."""
    names = {RefusalsRepeated: ("tool", "target_resource", "capability"), ThreadFailed: ("thread", "problem")}.get(
        of, ()
    )
    return {name: words[name] for name in names if name in words}


def _usd(nanos: int) -> float:
    return float(to_usd(nanos))


def _at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


_Said = tuple[str | None, dict[str, object]]


def _as_named(body: Any) -> _Said:
    """The values by their names; one called ``agent`` is whom it is about, the author is ``by``."""
    facts = body._asdict()
    del facts["at"]
    facts["by"] = facts.pop("author")
    return facts.pop("agent", None) or None, facts


def _handshake(body: Handshaken) -> _Said:
    return body.agent, {
        "session_id": body.session,
        "framework": body.framework,
        "max_priority": body.priority,
        "capabilities": [name for name in body.capabilities.split(",") if name],
        "session_budget_usd": _usd(body.limit) if body.limit is not False else None,
        **({"workflow_id": f"wf_{body.workflow}"} if body.workflow else {}),
    }


def _replayed(body: WebhookReplayed) -> _Said:
    since = {"since": body.since} if body.since else {}
    return None, {"channel": body.channel, **since, "count": body.again, "by": body.author}


def _turned_away(body: HandshakeRefused) -> _Said:
    return body.agent or None, {"code": body.code, "credential": body.credential or None, "count": body.count}


def _login_failed(body: LoginFailed) -> _Said:
    return None, {"code": body.code, "address": body.address, "count": body.count}


def _session_closed(body: SessionClosed) -> _Said:
    return body.agent, {"session_id": body.session}


def _crossed(body: BudgetCrossed) -> _Said:
    """What older versions wrote does not say how much was spent."""
    return body.agent or None, {
        "owner": body.owner, "session_id": body.session or None, "window": body.kind, "limit_usd": _usd(body.limit),
        "committed_usd": _usd(body.used), **({} if body.spent is False else {"spent_usd": _usd(body.spent)}),
        "percent": body.mark,
    }  # fmt: skip


def _forecast(body: BudgetForecast) -> _Said:
    return body.agent or None, {
        "owner": body.owner, "session_id": body.session or None, "window": body.kind, "limit_usd": _usd(body.limit),
        "spent_usd": _usd(body.spent), "last_hour_usd": _usd(body.hour), "gone_at": _at(body.gone).isoformat(),
    }  # fmt: skip


def _estimates(body: EstimatesHigh) -> _Said:
    return body.agent, {
        "charged_usd": _usd(body.charged), "estimated_usd": _usd(body.estimated),
        "percent": round(body.estimated * 100 / body.charged),
    }  # fmt: skip


def _refunded(body: Refunded) -> _Said:
    return body.agent, {
        "grant_id": "gr_" + body.grant, "request_id": body.request, "refund_usd": _usd(body.nanos),
        "charged_usd": _usd(body.charged), "refunded_usd": _usd(body.refunded), "reason": body.reason or None,
        "by": body.author,
    }  # fmt: skip


def _budget_set(body: BudgetSet) -> _Said:
    return body.agent or None, {
        "owner": body.owner, "session_id": body.session or None, "window": body.kind,
        "before_usd": _usd(body.before) if body.before else None, "limit_usd": _usd(body.limit), "by": body.author,
    }  # fmt: skip


def _ahead(body: BudgetAhead) -> _Said:
    return body.agent or None, {
        "owner": body.owner, "session_id": body.session or None, "window": body.kind, "limit_usd": _usd(body.limit),
        "committed_usd": _usd(body.used), "spent_usd": _usd(body.spent), "resets_at": _at(body.ends).isoformat(),
    }  # fmt: skip


def _reset(body: BudgetReset) -> _Said:
    facts: dict[str, object] = {
        "owner": body.owner, "session_id": body.session or None, "window": body.kind, "limit_usd": _usd(body.limit),
        "spent_usd": _usd(body.spent), "held_usd": _usd(body.held), "by": body.author,
    }  # fmt: skip
    return body.agent or None, facts | ({"resets_at": _at(body.until).isoformat()} if body.until else {})


def _accepted(body: LossAccepted) -> _Said:
    lost = {"agents_lost": body.agents_lost, "budgets_lost": body.budgets_lost, "whole": bool(body.whole)}
    return None, {**lost, "by": body.author}


def _envelope(body: EnvelopePut) -> _Said:
    row = decode(StoredEnvelope, body.envelope)
    facts = {
        "envelope_id": row.id, "session_id": row.session or None, "tool": row.tool or None,
        "rule": row.rule or None, "phrase": row.phrase or None, "resource_type": row.resource or None,
        "limit_usd": _usd(row.limit), "used_usd": _usd(row.used), "uses": row.uses,
        "expires_at": _at(row.expires).isoformat(), "reason": row.reason or None, "by": body.author,
    }  # fmt: skip
    return row.agent or None, {name: value for name, value in facts.items() if value is not None}


def _ceiling(body: CeilingSet) -> _Said:
    limit = _usd(body.nanos) if body.nanos is not False else None
    return None, {"operator": body.operator, "limit_usd": limit, "by": body.author}


def _person(body: PersonPut) -> _Said:
    facts: dict[str, object] = {"person": body.person, "role": body.role, "groups": list(body.groups) or False}
    facts |= {"limit_usd": _usd(body.nanos) if body.nanos is not False else False, "credential": body.credential}
    return None, {name: value for name, value in (facts | {"by": body.author}).items() if value is not False}


def _key_put(body: KeyPut) -> _Said:
    facts = body._asdict() | {"by": body.author}
    return None, {name: value for name, value in facts.items() if name not in {"at", "author"} and value is not False}


def _published(body: PolicyPublished) -> _Said:
    return None, {"policy_version": body.version, "digest": body.digest, "by": body.author}


def _opened(body: TenantOpened) -> _Said:
    return None, {"tenant_day_usd": _usd(body.day_limit), "policy": body.policy}


def _configured(body: TenantConfigured) -> _Said:
    return None, {"timezone": body.zone, "timings": body.timings}


def _lock(body: LockTold) -> _Said:
    """Times in seconds."""
    facts: dict[str, object] = {
        "resource": body.resource, "fence": body.fence, "priority": body.priority,
        "waited_seconds": body.waited / 1000, "held_seconds": body.held / 1000, "because_of": body.more,
    }  # fmt: skip
    return body.agent, {name: value for name, value in facts.items() if value is not False}


def _thread(body: ThreadFailed) -> _Said:
    return body.agent, {name: said for name, said in (("thread", body.thread), ("problem", body.problem)) if said}


def _unknown(body: OutcomeUnknown) -> _Said:
    return body.agent, {"call": body.call, "started_at": _at(body.started).isoformat()}


def _waste(body: KaizenFound) -> _Said:
    facts: dict[str, object] = {
        "finding_id": body.finding, "detector": body.detector, "currency": body.currency, "waste_usd": _usd(body.nanos),
        "count": body.places, "title": body.title,
    }  # fmt: skip
    if body.proposed:
        facts["proposes"] = body.proposed
    if body.low is not False and body.high is not False:
        facts |= {"low_usd": _usd(body.low), "high_usd": _usd(body.high)}
    return None, facts


def _proposed(body: KaizenProposed) -> _Said:
    return None, {
        "proposal_id": body.proposal, "finding_id": body.finding, "verb": body.verb, "proposes": body.title
    }  # fmt: skip


def _experiment(body: KaizenExperiment) -> _Said:
    return None, {
        "experiment_id": body.experiment, "task_type": body.task_type, "model": body.present,
        "candidate": body.candidate, "count": body.n, "log_e": round(body.log_e, 6), "reason": body.why or None,
        "by": body.author or None,
    }  # fmt: skip


def _limited(body: RequestsLimited) -> _Said:
    return body.agent, {"per_second": body.most, "credential": body.credential or None}


def _repeated(body: RefusalsRepeated) -> _Said:
    """`count` refusals followed the one that was told at `since`; `most_usd`: the largest amount among all of them."""
    kind = decode(AlikeRefusals, body.refused)
    facts = {
        "count": kind.count, "since": _at(kind.since).isoformat(), "until": _at(kind.until).isoformat(),
        "code": kind.code, "policy_version": kind.policy, "rule": kind.rule, "resource_type": kind.resource,
        "owner": kind.owner, "window": kind.window, "session_id": kind.session, "model": kind.model, "tool": kind.tool,
        "target_resource": kind.target, "capability": kind.capability, "most_usd": _usd(kind.most),
    }  # fmt: skip
    return body.agent, {name: value for name, value in facts.items() if value is not False}


_FACTS: dict[type, Callable[[Any], _Said]] = {
    **FLOW_FACTS,
    **PROPOSAL_FACTS,
    Handshaken: _handshake,
    HandshakeRefused: _turned_away,
    LoginFailed: _login_failed,
    SessionClosed: _session_closed,
    BudgetCrossed: _crossed,
    BudgetForecast: _forecast,
    Refunded: _refunded,
    EstimatesHigh: _estimates,
    BudgetSet: _budget_set,
    BudgetAhead: _ahead,
    BudgetReset: _reset,
    LossAccepted: _accepted,
    EnvelopePut: _envelope,
    CeilingSet: _ceiling,
    PersonPut: _person,
    KeyPut: _key_put,
    PolicyPublished: _published,
    TenantOpened: _opened,
    TenantConfigured: _configured,
    LockTold: _lock,
    ThreadFailed: _thread,
    OutcomeUnknown: _unknown,
    KaizenFound: _waste,
    KaizenProposed: _proposed,
    KaizenExperiment: _experiment,
    RequestsLimited: _limited,
    RefusalsRepeated: _repeated,
    WebhookReplayed: _replayed,
}

"""The errors behind the scripts' answers that are not decisions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aegis_core.protocol.errors import (
    AegisError,
    AuthError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StaleError,
)
from aegis_core.protocol.money import format_usd, to_usd
from aegis_core.store import states
from aegis_core.store.chain_refusals import CHAIN_REFUSALS
from aegis_core.store.experiment_refusals import EXPERIMENT_REFUSALS
from aegis_core.store.lost_state import evicting, part_lost
from aegis_core.store.packing import decode, unpack
from aegis_core.store.proposal_refusals import PROPOSAL_REFUSALS
from aegis_core.store.records import Record
from aegis_core.store.store import newer_schema
from aegis_core.store.workflow_refusals import WORKFLOW_REFUSALS

_MISSING = {
    "NO_TENANT": ("tenant", "This tenant does not exist on this Redis; open it with aegis_core.connect."),
    "NO_AGENT": ("agent", "This agent never shook hands. POST /api/v1/handshake first."),
    "NO_SESSION": ("session", "The agent has no such open session. Shake hands again."),
    "NO_BUDGET": ("budget", "There is no such budget; `aegis budget show` lists them."),
    "NO_GRANT": ("grant", "There is no such grant; ended ones are forgotten after a while."),
    "NO_POLICY": ("policy", "There is no such policy version; the last 100 are kept."),
    "NO_ENTRY": ("entry", "This call was never started, so it has no end."),
    "NO_KEY": ("key", "There is no such API key."),
    "NO_PERSON": ("person", "There is no such person; `aegis people list` shows who there is."),
    "NOT_LINKED": ("credential", "The person has no such credential."),
    "NO_LOCK": ("lock", "Nobody holds that lock (with that fence)."),
    "NO_APPROVAL": ("approval", "There is no such approval; ended ones are forgotten after a while."),
    "NO_TRANSACTION": ("transaction", "This grant is for no transaction, or for one that is settled."),
    "NO_EXPERIMENT": ("experiment", "There is no such experiment; `aegis kaizen experiments` shows them."),
    "NO_PAIR": ("pair", "This request was not sampled for that experiment."),
    "NO_WORKFLOW": ("workflow", "There is no such workflow; one that ended is forgotten after 7 days."),
    "NO_ENVELOPE": ("envelope", "There is no such envelope: it was revoked, or its time has passed."),
}
_FORBIDDEN = {
    "NOT_YOURS": ("not_yours", "This belongs to another agent."),
    "BAD_TOKEN": ("bad_token", "The session token is wrong or its session has ended. Shake hands again."),
    "BLOCKED": ("agent_blocked", "The agent is blocked by its operator."),
    "OWN_LIMIT": ("own_limit", "Nobody sets a limit, role or groups of their own; another owner must."),
    "ROLE_NEEDED": ("role_needed", "This person may look, and decides nothing; an owner gives the role approver."),
    "NOBODYS": (
        "nobodys_credential",
        "Several persons must agree, and this credential is nobody's: say whose (aegis people credential add NAME).",
    ),
    "HALTED": ("tenant_halted", "The tenant is halted by its operator."),
    "LIVE": (
        "agent_is_live",
        "This agent has an open session. Shake hands with one of its session tokens, or with an operator key.",
    ),
}
_CLOSED = {
    states.SETTLED: "already settled with other content",
    states.RELEASED: "already released",
    states.EXPIRED: "past its deadline and charged at its estimate; settle it to correct the charge",
    states.TIMED_OUT: "not approved in time",
    states.DECLINED: "declined by an operator",
    states.PENDING: "still waiting for an approval",
    states.LIVE: "still waiting for its lock",
    states.REJECTED: "a refusal, so there is nothing to settle",
}


def refusal(word: str, answer: list[Any]) -> AegisError:
    """The error for an answer whose first element is `word`."""
    if word in _MISSING:
        kind, message = _MISSING[word]
        return NotFoundError(message, kind=kind)
    if word in _FORBIDDEN:
        code, message = _FORBIDDEN[word]
        return AuthError(message, code=code)
    if word in _SPECIAL:
        return _SPECIAL[word](answer)
    return StaleError(f"Redis answered {word} twice in a row; no decision was made. Try again.", reason=word.lower())


def _too_old(answer: list[Any]) -> AegisError:
    return InvalidRequestError(
        f"request_id: was made {int(answer[1]) // 1000} s ago, longer than decisions are remembered. "
        "Ask again with a new one.",
        field="request_id",
        problem="is too old",
    )


def _too_many(answer: list[Any]) -> AegisError:
    whose = "The tenant already has {} agents, its ceiling (AEGIS_MAX_AGENTS)."
    if len(answer) > 2:
        whose = (
            "This key already registered {} agents, which is the most (AEGIS_MAX_AGENTS_PER_KEY). Shake hands as one "
            "of them."
        )
    return ConflictError(whose.format(answer[1]), code="too_many_agents")


def _too_fast(answer: list[Any]) -> AegisError:
    return ConflictError(
        f"More than {int(answer[1]):,} requests in this second (AEGIS_MAX_REQUESTS_PER_SECOND), of this agent or of "
        "all that its key let in. Nothing was done; try again in a second.",
        code="too_many_requests",
        retry_after_seconds=int(answer[2]) / 1000,
    )


def _closed(answer: list[Any]) -> AegisError:
    state = decode(Record, unpack(answer[1])).state
    return ConflictError(f"The grant is {_CLOSED[state]}; nothing changed.", state=state, code="grant_closed")


def _refund_above(answer: list[Any]) -> AegisError:
    if answer[1]:
        return ConflictError("The grant is still open; settle or release it instead.", code="grant_open")
    left = int(answer[2])
    return InvalidRequestError(
        f"usd: is above {format_usd(left)}, what the grant is still charged; nothing was taken back.",
        field="usd",
        problem=f"is above {format_usd(left)}",
    )


def _reused(_: list[Any]) -> AegisError:
    return ConflictError("request_id: was used before for another request; use a new one.", field="request_id")


def _priority(answer: list[Any]) -> AegisError:
    return AuthError(
        f"priority: is above {int(answer[1])}, the maximum of this session.",
        code="priority_above_maximum",
        field="priority",
        most=int(answer[1]),
    )


def _lock_differs(answer: list[Any]) -> AegisError:
    resource, what, value = answer[1].decode(), answer[2].decode(), answer[3]
    value = value.decode() if isinstance(value, bytes) else int(value)
    if what == "grace_seconds":
        value = int(value) / 1000
    problem = f"the lock {resource} has {what} {value} while it is held or waited for."
    if what == "weight":
        problem = f"is above the permits of {resource}, {value}; who first takes it says how many there are (permits)."
    return ConflictError(
        f"{what}: {problem}",
        code="lock_differs",
        field=what,
        resource=resource,
        in_force=value,
    )


def _locks_full(answer: list[Any]) -> AegisError:
    whose = {
        "queue": "The lock's queue",
        "tenant": "The tenant",
        "agent": "The agent",
        "key": "All that the agent's key let in",
    }[answer[1].decode()]
    return ConflictError(
        f"{whose} already has {int(answer[2]):,} locks or waits, which is the most.", code="locks_full"
    )


def _too_many_waits(answer: list[Any]) -> AegisError:
    resource, by_key, most = answer[1].decode(), answer[2] == b"key", int(answer[3])
    whose = "All that the agent's key let in" if by_key else "The agent"
    setting = "AEGIS_MAX_LOCK_WAITS_PER_KEY" if by_key else "AEGIS_MAX_LOCK_WAITS"
    return ConflictError(
        f"{whose} already waits for {resource} {most:,} times, which is the most ({setting}). Take it, or leave its "
        "queue, before waiting again.",
        code="too_many_waits",
        resource=resource,
        most=most,
    )


def _token_used(_: list[Any]) -> AegisError:
    return ConflictError("lock_token: it is in use for other locks.", code="conflict", field="lock_token")


def _decided(answer: list[Any]) -> AegisError:
    record = decode(Record, unpack(answer[1]))
    question = record.question
    assert question is not None
    at = datetime.fromtimestamp(question.at / 1000, UTC)
    how = str(question.how).replace("_", " ")
    by = f" by {question.by}" if question.by else ""
    why = f": {question.why}" if question.why else ""
    return ConflictError(
        f"It was {how}{by} at {at:%Y-%m-%d %H:%M:%S} UTC{why}; nothing changed.",
        code="already_decided" if question.by else str(question.how), state=question.how,
        decided_by=question.by or None, decided_at=at.isoformat(), reason=question.why or "",
    )  # fmt: skip


def _not_named(answer: list[Any]) -> AegisError:
    question = decode(Record, unpack(answer[1])).question
    names = ", ".join((question and question.operators) or ()) or "nobody: the rules that ask name different people"
    return AuthError(f"Its rule lets only these operators decide: {names}.", code="not_its_operator")


def _not_of_role(answer: list[Any]) -> AegisError:
    question = decode(Record, unpack(answer[1])).question
    roles = [*((question and question.roles) or ()), *((question and question.groups) or ())[::2]]
    return AuthError(
        f"Its rule lets only {', '.join(roles)} decide, where this person does not belong.", code="not_its_role"
    )


def _gone(answer: list[Any]) -> AegisError:
    return AuthError(
        f"{answer[2].decode()} was removed from the persons of this tenant and decides nothing.", code="person_removed"
    )


def _taken(answer: list[Any]) -> AegisError:
    what, whose = answer[1].decode(), answer[2].decode()
    return ConflictError(
        f"{what} is {whose}'s already; nothing changed. Revoke it there first: aegis people credential revoke.",
        code="credential_taken", credential=what, person=whose,
    )  # fmt: skip


def _other_role(answer: list[Any]) -> AegisError:
    name, role = answer[1].decode(), answer[2].decode()
    return ConflictError(
        f"{name} is there already, with the role {role}; nothing changed. For one more key: "
        f"aegis people credential add {name} --key",
        code="person_exists", person=name, role=role,
    )  # fmt: skip


def _alike(answer: list[Any]) -> AegisError:
    other = answer[1].decode()
    return ConflictError(
        f"name: looks like {other}, who is there already; choose one that nobody takes for it.",
        code="looks_alike", field="name", person=other,
    )  # fmt: skip


def _above(answer: list[Any]) -> AegisError:
    amount, ceiling = int(answer[1]), int(answer[2])
    return AuthError(
        f"It is about {format_usd(amount)}, and this person may approve up to {format_usd(ceiling)}; ask another.",
        code="above_operator_limit", amount_usd=float(to_usd(amount)), limit_usd=float(to_usd(ceiling)),
    )  # fmt: skip


def _stopped(answer: list[Any]) -> AegisError:
    code = "tenant_halted" if answer[1] == b"HALTED" else "agent_blocked"
    who = "The tenant is halted" if code == "tenant_halted" else "The agent is blocked"
    return ConflictError(f"{who}, so nothing can be approved. It may be rejected.", code=code)


def _not_runner(_: list[Any]) -> AegisError:
    return ConflictError("Another attempt started or ended this call; nothing changed.", code="not_runner")


def _journal_full(answer: list[Any]) -> AegisError:
    return ConflictError(
        f"The agent's journal holds {answer[1]} calls of unknown outcome; a person must settle some.",
        code="journal_full",
    )


_SPECIAL: dict[str, Callable[[list[Any]], AegisError]] = {
    **WORKFLOW_REFUSALS,
    "REUSED": _reused,
    "TOO_OLD": _too_old,
    "TOO_MANY_AGENTS": _too_many,
    "NOT_RUNNER": _not_runner,
    "JOURNAL_FULL": _journal_full,
    "CLOSED": _closed,
    "REFUND_ABOVE": _refund_above,
    "PRIORITY": _priority,
    "LOCK_DIFFERS": _lock_differs,
    "LOCKS_FULL": _locks_full,
    "TOO_MANY_WAITS": _too_many_waits,
    "TOO_MANY_REQUESTS": _too_fast,
    "TOKEN_USED": _token_used,
    "DECIDED": _decided,
    "NOT_AN_OPERATOR_OF_IT": _not_named,
    "NOT_OF_ITS_ROLE": _not_of_role,
    "BELONGS_NO_MORE": _gone,
    "CREDENTIAL_ENDED": lambda _: AuthError(
        "This credential was revoked, or its person removed; it decides nothing.", code="credential_ended"
    ),
    "CREDENTIAL_TAKEN": _taken,
    "OTHER_ROLE": _other_role,
    "LOOKS_ALIKE": _alike,
    "PERSON_EXISTS": lambda answer: ConflictError(
        f"{answer[1].decode()} is there already; `aegis people set` changes a person.", code="person_exists"
    ),
    "LAST_OWNER": lambda answer: ConflictError(
        f"{answer[1].decode()} is the only owner; make another one first, so that somebody can.", code="last_owner"
    ),
    "TOO_MANY_PEOPLE": lambda answer: ConflictError(
        f"The tenant already had {int(answer[1]):,} persons, the most.", code="too_many_people"
    ),
    "TOO_MANY_CREDENTIALS": lambda answer: ConflictError(
        f"The person already has {answer[1]} credentials, the most; revoke some.", code="too_many_credentials"
    ),
    "ABOVE_CEILING": _above,
    "STOPPED": _stopped,
    "EDITED": lambda _: ConflictError(
        "It was edited after you looked at it. Nothing was decided; look again.", code="edited_since"
    ),
    "EDIT_REFUSED": lambda answer: ConflictError(
        f"The policy refuses the changed request: {answer[1].decode()}. It still waits.", code="edit_refused"
    ),
    "POLICY_DENIES": lambda answer: ConflictError(
        f"The policy in force refuses it: {answer[1].decode()}. It was asked under an older one. "
        "It still waits, and may be rejected.",
        code="policy_denies",
    ),
    "EDIT_SHORT": lambda _: ConflictError(
        "The changed amount is more than a budget has left. It still waits.", code="budget_exceeded"
    ),
    "TOO_MANY_ENVELOPES": lambda answer: ConflictError(
        f"There are {answer[1]} envelopes in force, the most a tenant may have; revoke some.", code="too_many_envelopes"
    ),
    **CHAIN_REFUSALS,
    **EXPERIMENT_REFUSALS,
    "EVICTING": lambda answer: evicting(answer[1].decode()),
    **PROPOSAL_REFUSALS,
    "AGENT_LOST": lambda answer: part_lost(f"agent {answer[1].decode()}"),
    "BUDGET_LOST": lambda answer: part_lost(f"budget {answer[1].decode()}"),
    "NEWER": lambda answer: newer_schema(int(answer[1])),
}

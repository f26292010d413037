"""The errors behind the scripts' answers that are not decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aegis_core.errors import AegisError, AuthError, ConflictError, InvalidRequestError, NotFoundError, StaleError
from aegis_core.store.packing import unpack
from aegis_core.store.store import newer_schema

_MISSING = {
    "NO_TENANT": ("tenant", "This tenant does not exist on this Redis; open it with aegis_core.connect."),
    "NO_AGENT": ("agent", "This agent never shook hands. POST /api/v1/handshake first."),
    "NO_SESSION": ("session", "The agent has no such open session. Shake hands again."),
    "NO_GRANT": ("grant", "There is no such grant; ended ones are forgotten after a while."),
    "NO_POLICY": ("policy", "There is no such policy version; the last 100 are kept."),
    "NO_ENTRY": ("entry", "This call was never started, so it has no end."),
    "NO_KEY": ("key", "There is no such API key."),
}
_FORBIDDEN = {
    "NOT_YOURS": ("not_yours", "This belongs to another agent."),
    "BAD_TOKEN": ("bad_token", "The session token is wrong or its session has ended. Shake hands again."),
    "BLOCKED": ("agent_blocked", "The agent is blocked by its operator."),
    "LIVE": (
        "agent_is_live",
        "This agent has an open session. Shake hands with one of its session tokens, or with an operator key.",
    ),
}
ENDED = {
    "S": "already settled with other content",
    "L": "already released",
    "X": "past its deadline and charged at its estimate; settle it to correct the charge",
    "T": "not approved in time",
    "D": "declined by an operator",
    "P": "still waiting for an approval",
    "R": "a refusal, so there is nothing to settle",
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
    return ConflictError(
        f"The tenant already has {answer[1]} agents, its ceiling (AEGIS_MAX_AGENTS).", code="too_many_agents"
    )


def _closed(answer: list[Any]) -> AegisError:
    state = unpack(answer[1])[0]
    return ConflictError(f"The grant is {ENDED[state]}; nothing changed.", state=state, code="grant_closed")


def _reused(_: list[Any]) -> AegisError:
    return ConflictError("request_id: was used before for another request; use a new one.", field="request_id")


def _not_runner(_: list[Any]) -> AegisError:
    return ConflictError("Another attempt started or ended this call; nothing changed.", code="not_runner")


def _journal_full(answer: list[Any]) -> AegisError:
    return ConflictError(
        f"The agent's journal holds {answer[1]} calls of unknown outcome; a person must settle some.",
        code="journal_full",
    )


_SPECIAL: dict[str, Callable[[list[Any]], AegisError]] = {
    "REUSED": _reused,
    "TOO_OLD": _too_old,
    "TOO_MANY_AGENTS": _too_many,
    "NOT_RUNNER": _not_runner,
    "JOURNAL_FULL": _journal_full,
    "CLOSED": _closed,
    "NEWER": lambda answer: newer_schema(int(answer[1])),
}

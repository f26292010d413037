"""A packed record as a value: what a request, grant and question are in the store."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from aegis_core.store import layout


class Record(NamedTuple):
    """A packed record, field by field in the order of `layout.RECORD`. Money in nano-dollars, times in ms."""

    state: str
    agent: str
    request: str
    session: str
    digest: str
    policy: int
    created: int
    changed: int
    deadline: int
    amount: int
    charged: int
    code: str
    rule: str | None
    reason: str | None
    retry: int
    model: str | None
    recommended: str | None
    resource: str
    lines: list[Any]
    short: int | Literal[False]
    settled: str | Literal[False]
    strict: int
    samples: int
    trusted: bool
    would: str | Literal[False]
    asked: list[Any] | Literal[False]
    envelope: str | Literal[False]
    why: str | Literal[False]
    lock: list[Any] | Literal[False]

    @property
    def lease(self) -> RecordLease | None:
        """The part that is about a lock."""
        if not self.lock:
            return None
        *parts, stands = self.lock if len(self.lock) == len(layout.LEASE) else (*self.lock, None)
        return RecordLease._make((*parts, Standing._make(stands) if stands else None))

    @property
    def waits(self) -> bool:
        """True while it is not the agent's to use: a person, or the lock, is still to come."""
        return self.state == "P" or (self.state == "G" and bool(self.lock) and not self.lock[3])

    @property
    def question(self) -> Question | None:
        """The part that waits, or waited, for a person."""
        return Question._make(self.asked) if self.asked else None


class Question(NamedTuple):
    """What a record says of its question, in the order of `layout.QUESTION`. `votes` are (operator, word, at, why)."""

    quorum: int
    approves: bool
    operators: list[str] | Literal[False]
    remind: int
    votes: list[list[Any]]
    how: str | Literal[False]
    by: str | Literal[False]
    at: int
    why: str | Literal[False]
    claimed: bool
    content: str
    edited: str | Literal[False]
    trace: dict[str, Any]


class Standing(NamedTuple):
    """How a record's lock stands: ``held``, ``waiting`` or ``busy``. Times in ms of the server."""

    state: str
    fence: int
    place: int
    expires: int
    next_expiry: int
    evicting: bool


class RecordLease(NamedTuple):
    """What a record says of its lock, in the order of `layout.LEASE`.

    `claimed`: the agent knows that it held it. `lost`: it was gone before its grant ended.
    """

    resource: str
    ttl: int
    priority: int
    claimed: bool
    within: list[str]
    queued: bool
    lost: bool
    stands: Standing | None

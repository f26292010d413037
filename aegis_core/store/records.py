"""The record of a decision, by name: request, grant and question in one. Part of what `schema` declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from aegis_core.store.packing import decode
from aegis_core.store.states import LIVE, PENDING

Text = str | Literal[False]


class LineRow(NamedTuple):
    """A row of a record's lines: a budget in which it was reserved, and what it left there."""

    owner: str
    kind: str | int
    window: float
    limit: int
    room: int


class StoredVote(NamedTuple):
    """A person's word on a question. `operator`: the person; `credential`: with which it was said."""

    operator: str
    word: Literal["approve", "reject"]
    at: int
    why: Text
    credential: Text = False


class Question(NamedTuple):
    """The part of a record that waits, or waited, for a person. `content` is by what the agent's question is known
    again; `edited` is the same of what an operator made of it. `votes` are `StoredVote` lists. `deadline` is kept
    when it is answered, since the record's own is then that of its grant. `judged` is the policy's version by which it
    was judged again, 0 for the record's own. `unjudged`, only in an answer: the version by which it must be judged
    before its agent may use it. `shown`: so many bytes of arguments are kept for approvers. `original` is the amount
    and the trace before it was edited. `taken_back`: by whom, where it was withdrawn. `told`: channels that showed it,
    each with the time of the first one. `said`: the event under whose id its agent's words are kept. `roles`: who
    decides has each of them. `groups`: a role and how many of it must approve, and so on."""

    quorum: int
    approves: bool
    operators: list[str] | Literal[False]
    remind: int
    votes: list[list[Any]]
    how: Text
    by: Text
    at: int
    why: Text
    claimed: bool
    content: str
    edited: Text
    trace: dict[str, Any]
    deadline: int = 0
    judged: int = 0
    unjudged: int = 0
    shown: int = 0
    original: list[Any] | Literal[False] = False
    taken_back: Text = False
    told: list[list[Any]] | Literal[False] = False
    said: Text = False
    roles: Sequence[str] | Literal[False] = False
    groups: Sequence[Any] | Literal[False] = False

    @property
    def words(self) -> list[StoredVote]:
        """The votes by name."""
        return [decode(StoredVote, vote) for vote in self.votes]


class Standing(NamedTuple):
    """How a record's lock stands when a script answers: ``held``, ``waiting`` or ``busy``. It is never stored."""

    state: str
    fence: int
    place: int
    expires: int
    next_expiry: int
    evicting: bool


class RecordLock(NamedTuple):
    """The part of a record that is about a lock. Its token is ``lk_`` and the record's id.

    `claimed`: the agent knows that it held it. `within`: `Lien` rows of who asked for it. `queued`: it was asked for.
    `lost`: it was gone before its grant ended. `stands`: only in an answer.
    """

    resource: str
    ttl: int
    priority: int
    claimed: bool
    within: list[Any]
    queued: bool
    lost: bool
    stands: list[Any] | Literal[False]

    @property
    def standing(self) -> Standing | None:
        """How it stands, by name."""
        return decode(Standing, self.stands) if self.stands else None


class Bar(NamedTuple):
    """What a request would have passed: in this unit (``usd`` in nano-dollars) so much is allowed, was left and was
    asked. `owner` and `window`: of the budget of which it is a share."""

    unit: str
    limit: int
    left: int
    asked: int | Literal[False]
    owner: Text
    window: str | int | Literal[False]


class Record(NamedTuple):
    """Request, grant and idempotency in one. `lines` are `LineRow` rows, `short` the first that lacks room, from 0.

    `estimated`: what it cost is not known, so `charged` is what was reserved or reckoned. `refunded`: how much of it
    operators took back since, and the id of the last `refund`. `credential`: while it waits, for a person or a lock,
    the credential (or ``""``) with which its money counts as waiting. `matched`: the rules that matched, between tabs,
    where there is another than `rule`. `bar`: the `Bar` that stood in the way of a refusal or question. `basis`: by
    what it was judged: the policy's digest, the version of the profiles and of the prices. `key`: the credential that
    opened the session. `task`: the type of the task; `labels`: those of its agent when it asked, between commas.
    `attempt`: the number of the call that asked, by which its caller takes back what it never heard of; 0 once another
    call was answered with this record, too.
    `watched`: a transaction was sent for it, whose nonce is not final yet.
    `workflow`: the id of the workflow whose member asked; `plan_step`: which step of its plan covered it, from 1; 0 for
    what is beside the plan, -1 for the question about the plan itself, whose record lives as long as the workflow.
    """

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
    rule: Text
    reason: Text
    retry: int
    model: Text
    recommended: Text
    resource: str
    lines: list[Any]
    short: int | Literal[False]
    settled: Text
    strict: int
    samples: int
    trusted: bool
    would: Text
    asked: list[Any] | Literal[False]
    envelope: Text
    why: Text
    lock: list[Any] | Literal[False]
    estimated: bool = False
    refunded: int = 0
    refund: Text = False
    credential: Text = False
    matched: Text = False
    bar: list[Any] | Literal[False] = False
    basis: Text = False
    key: Text = False
    task: Text = False
    labels: Text = False
    attempt: int = 0
    watched: bool = False
    workflow: Text = False
    plan_step: int = 0

    @property
    def lease(self) -> RecordLock | None:
        """The part that is about a lock."""
        return decode(RecordLock, self.lock) if self.lock else None

    @property
    def waits(self) -> bool:
        """True while it is not the agent's to use: a person, or the lock, is still to come."""
        lease = self.lease
        return self.state == PENDING or (self.state == LIVE and lease is not None and not lease.claimed)

    @property
    def question(self) -> Question | None:
        """The part that waits, or waited, for a person."""
        return decode(Question, self.asked) if self.asked else None


class StoredEnvelope(NamedTuple):
    """What was approved in advance. `expires`, when it is put, says for how long."""

    id: str
    agent: Text
    session: Text
    tool: Text
    rule: Text
    phrase: Text
    resource: Text
    limit: int
    used: int
    uses: int
    author: str
    made: int
    expires: int
    reason: str


class StoredRefusal(NamedTuple):
    """What a person refused: asked again before `until`, it is refused at once."""

    operator: str
    why: Text
    until: int
    at: int


class AlikeRefusals(NamedTuple):
    """Refusals of an agent that are alike: whatever stands before `since`, when the one was that left its event, is the
    same. `count`: so many followed it, the last at `until`; at `most` so many nano-dollars were asked. `owner` and
    `window`: of the budget that lacked them; `session`: whose that was. `said`: the event under whose id the agent's
    words are kept."""

    code: str
    policy: int
    rule: Text
    resource: str
    owner: Text
    window: str | int | Literal[False]
    session: Text
    model: Text
    tool: Text
    target: Text
    capability: Text
    since: int
    until: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    most: int
    said: Text = False


class ShownNotice(NamedTuple):
    """What a channel has shown of one approval: which message, and what it said; 0 for no time (any more)."""

    ref: str
    face: str
    deadline: int
    remind_at: int

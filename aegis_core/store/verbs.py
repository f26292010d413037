"""What each script is called with, by name. It begins with ``local id, digest, … = unpack(A, 1, n)``, made of this.

The name of a script is its class's: `LockAcquire` is ``lua/lock_acquire.lua``. Money in nano-dollars, times in ms. None
is for what is not given; inside a list it is False, because a Lua list ends at its first nil.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from aegis_core.store.arguments import Bid, Edit, Given, Joins, Ruled, WantedLock
from aegis_core.store.records import Text

Act = Literal["settle", "release", "extend"]


class Authorize(NamedTuple):
    """Judge one request. `candidates` is a `Candidate`; `limits`, `counters` and `askers` are rows.

    `forecast` is the least that one may reserve; `latest`: the caller means the agent's open session; `words`: the
    intent as phrases read it. `shown` is what a person who is asked may read of the arguments; `too_long`: nobody can.
    `matched`: the rules that matched, between tabs; `basis`: by which versions. `said`, a `Said`: what the agent wrote;
    `said_asked`: the same with how its prompt ends, which is kept only of what a person is asked. `attempt`: a number
    that no other call has, but for repeats of this one whose answer was lost. `bid`: what a transaction pays for gas;
    `watch`: what it is, packed, for who settles it. `joins`: the question of an earlier call that it may join.
    `trial`: the proposal by whose changed policy it was judged.
    """

    id: str
    digest: str
    policy: int
    agent: str
    sid: Given
    token: Given
    born: int
    request_id: str
    priority: int
    capability: Given
    resource: str
    candidates: Sequence[Any]
    effect: str
    rule: Given
    reason: Given
    code: Given
    limits: Sequence[Any]
    trace: bytes
    forecast: int | None
    would: str
    counters: Sequence[Any]
    fingerprint: Given
    latest: bool
    profiles: int
    askers: Sequence[Any]
    content: Given
    words: Given
    fence: int | None
    target: str
    chosen_for: Given
    lock: WantedLock | None
    shown: Given = None
    too_long: bool = False
    matched: Given = None
    basis: Text = False
    said: Sequence[Any] = ()
    said_asked: Sequence[Any] | Literal[False] = False
    task: Text = False
    attempt: int = 0
    bid: Bid | None = None
    watch: bytes | None = None
    joins: Joins | None = None
    trial: Text = False


class TakeQuestion(NamedTuple):
    """Use what was approved under a name, of which every call may hear that joined its question: one of them may."""

    id: str
    name: str


class Withdraw(NamedTuple):
    """Take back a verdict that was not handed on, at no charge; or leave word for a request that is still on its way.
    All of it as that request said it."""

    id: str
    agent: str
    sid: Given
    token: Given
    request_id: str
    digest: str
    resource: str
    attempt: int


class Settle(NamedTuple):
    """Settle, release or extend one grant. Without a `cost` it is settled at its reservation. `capped`: a `cost` above
    what could be reserved is not believed. `by`: who takes back a question. `facts`: what its event says of the
    call. `proven`: the cost is what a chain says, not its agent; below 0 where that gave back more than it took."""

    id: str
    agent: Given
    sid: Given
    token: Given
    act: Act
    cost: int | None
    digest: Given
    more: int
    outcome: float | None
    answered: Given
    estimated: bool = False
    capped: bool = False
    by: str = "agent"
    facts: bytes | None = None
    proven: bool = False


class Follow(NamedTuple):
    """Say how a transaction stands for which a grant holds money. `replaces`: its nonce was used before, on purpose.
    `pause`: ms until it is looked at again. `last_height`: of `Watch`."""

    id: str
    act: Literal["sending", "sent", "refused", "later", "over"]
    agent: Given = None
    sid: Given = None
    token: Given = None
    raw: bytes | None = None
    replaces: bool = False
    pause: int = 0
    last_height: int | None = None


class Look(NamedTuple):
    """See some records. `claims`: their agents look, and learn what is granted. `ruled` is of the only one."""

    ids: Sequence[str]
    claims: bool
    inbox: Given
    ruled: Ruled | Literal[False] = False


class Sweep(NamedTuple):
    """End overdue records. `early`: tell of refusals that are counted, though their time is not over."""

    most: int
    early: bool = False


class AcceptLoss(NamedTuple):
    """Count agents and shared budgets whose records are gone, and let them begin anew where that is `accepted`.
    `whole`: the tenant itself was gone."""

    accepted: bool
    whole: bool
    author: str


class Decide(NamedTuple):
    """One person's word on one question. `seen`: the content that was looked at. `credential`: the one of
    `operator`, where that is a person's name."""

    id: str
    operator: str
    word: str
    why: Text
    seen: Text
    edit: Edit | Literal[False]
    ruled: Ruled | Literal[False] = False
    credential: Text = False


class ListQuestions(NamedTuple):
    """A page of questions. `after`: time and id of the last one of the page before."""

    ended: bool
    how: Given
    agent: Given
    after: Sequence[Any] | None
    most: int


class OpenSession(NamedTuple):
    """Register an agent and open a session. `guarded`: a live agent is taken over only with a token of its own.
    `credential`: the id of the key that it was opened with. `flow_id` and `flow_token`: the workflow that it joins, and
    the hash of a join token."""

    agent: str
    framework: str
    capabilities: str
    priority: int
    session_limit: int | None
    sid: str
    token: str
    is_local: bool
    owned_sid: Given
    owned_token: Given
    guarded: bool
    most_sessions: int
    credential: Given = None
    flow_id: Given = None
    flow_token: Given = None


class ReadSession(NamedTuple):
    """What the policy may know of who asks."""

    agent: str
    sid: Given


class WriteJournal(NamedTuple):
    """Write or read a line of the execution journal, or count a refusal of it.

    `thread`: of a failure, the conversation that cannot go on because of what is `said`, of which an event tells.
    """

    act: str
    agent: str
    sid: Given
    token: Given
    id: str
    runner: str
    result: Given
    most: int
    keep: int
    thread: Given
    said: Sequence[Any]


class HoldRollups(NamedTuple):
    """Take, keep or (with no time) give up the lease of who counts events, or who closes days."""

    days: bool
    holder: str
    milliseconds: int


class CommitRollups(NamedTuple):
    """Add sums of events and move the cursor. `added`: hour, names, agent and sums of each row."""

    fence: int
    before: str
    cursor: str
    number: int
    missed: int
    added: Sequence[Sequence[Any]]


class CommitKaizen(NamedTuple):
    """Store the report of a day and move on after the event `before` and the day `last`. `told`: kinds and bodies of
    events, without their time."""

    fence: int
    before: str
    last: int
    cursor: str
    number: int
    missed: int
    day: int
    report: bytes
    told: Sequence[Sequence[Any]]


class RewriteKaizen(NamedTuple):
    """Put `report` in the place of a day's report, if that is still `before`."""

    day: int
    before: bytes
    report: bytes


class TrimEvents(NamedTuple):
    """Remove what is too old, and of `most` agents after one the words of events that are gone."""

    after: Given
    most: int


class DecideAll(NamedTuple):
    """Several words at once."""

    orders: Sequence[Decide]


class LockAcquire(NamedTuple):
    """Take locks, or a place in their queues. `names` are sorted, `within` are `Lien` rows."""

    agent: str
    sid: Given
    session_token: Given
    names: Sequence[str]
    token: str
    priority: int | None
    ttl: int
    permits: int | None
    weight: int
    mode: str
    preemption: Given
    grace: int | None
    queue: bool
    inbox: Given
    within: Sequence[Any]


class LockRelease(NamedTuple):
    """Give a lease back, or leave a queue."""

    agent: str
    sid: Given
    session_token: Given
    name: str
    token: str
    fence: int | None


class LockRenew(NamedTuple):
    """Move the expiry of a lease. `inbox`: where its notices go from now on."""

    agent: str
    sid: Given
    session_token: Given
    name: str
    token: str
    fence: int | None
    ttl: int | None
    inbox: Given


class LockForce(NamedTuple):
    """Take a lock from its holders, for an operator."""

    name: str
    fence: int | None
    author: str


class LockList(NamedTuple):
    """A page of locks, or one of them."""

    one: Given
    start: int

"""What is stored, declared once: every record by name, and the constants that the scripts share with Python.

In Redis a record is the packed list of its fields, in the order of its class here. To let a record grow, append a field
with a default, and nothing else: never remove, reorder or redefine one. A field without a default has been there since
`layout.SCHEMA`; one with a default may be missing in what an older version wrote. Data that is shorter is read with the
defaults, data that is longer is carried unharmed (see `packing.decode`, `lua_names` and ``CONTRIBUTING.md``).

Rows lie one after the other in one list, behind the length of a row: ``[3, cell, spent, reserved, cell, …]``.
Readers go by that length, so that rows of another version are read as what they are.

Money is in nano-dollars, times in ms of the server. What may be absent is ``False``, never None: a Lua list ends at its
first nil.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from aegis_core.protocol.arguments import MAX_SHOWN
from aegis_core.protocol.locks import Told
from aegis_core.store import chain_records, experiment_records, flow_records, proposal_records
from aegis_core.store.chain_records import CHAINS
from aegis_core.store.counts import COUNTS, ROLLUPS, WAIT_BUCKETS_MS
from aegis_core.store.experiment_records import EXPERIMENTS
from aegis_core.store.flow_records import FLOWS
from aegis_core.store.kinds import Kind
from aegis_core.store.lock_records import Holder, Lien, Lock, LockCounters, Waiter
from aegis_core.store.people import PEOPLE, Key, Person
from aegis_core.store.proposal_records import PROPOSALS
from aegis_core.store.records import (
    AlikeRefusals,
    Bar,
    LineRow,
    Question,
    Record,
    RecordLock,
    ShownNotice,
    Standing,
    StoredEnvelope,
    StoredRefusal,
    StoredVote,
    Text,
)
from aegis_core.store.states import LIVE, OPEN, PENDING, REJECTED, STATES
from aegis_core.store.words import WORDS

HALF_LIFE_MS = 30 * 86_400_000
"""In which an outcome loses half its weight."""

EVENT_BYTES = 1_024
"""The bytes that a tenant's events may have on an average. Of larger ones fewer are kept."""

DECLINED_MS = 60_000
"""For how long a call that may join a question hears that it was declined, instead of asking again."""

VERSION_ROW = "#"
"""The row of the table of outcomes that counts its changes."""

CONSTANTS: Mapping[str, Any] = {
    **{f"STATE_{state.name}": state.letter for state in STATES},
    **{f"TELL_{told.name}": told.value for told in Told},
    "STATE_OF_EFFECT": {"allow": LIVE, "escalate": PENDING, "deny": REJECTED},
    "ENDED": {state.letter: state.word for state in STATES if state.letter not in OPEN + REJECTED},
    "ANSWERS": {state.letter: state.answer for state in STATES if state.answer},
    "HASHES": 2,  # how `protocol.arguments` hashes them; of questions about older hashes nobody knows what was shown
    "HISTORY": 10_000,  # ended questions that are listed
    "EVENT_BYTES": EVENT_BYTES,
    "EVENT_MOST": 4_096,  # bytes from which an event is shortened
    "EVENT_TEXT": 1_024,  # bytes of each of its texts that are left then
    "HALF_LIFE": HALF_LIFE_MS,
    "DECLINED_FOR": DECLINED_MS,
    "CHANNEL_HEALTH": 86_400_000,  # ms for which it is remembered how a channel was
    "OUTCOME_ROWS": 4_000,
    "VERSION_ROW": VERSION_ROW,
    "FORECAST_FROM": 20,  # settled calls of an agent and model that are needed before a forecast
    "FORECAST_KEEP": 64,  # and how many are remembered
    "BILLED_ROWS": 64,  # that one agent may begin a day, for the models that it names
    "LONG_RESULT": 4_096,  # bytes from which a result in the journal is long
    "LONG_RESULTS": 128,  # long results that are kept of one agent
    "RESULT_GONE": '"It was done. Its result was long, and is kept no longer."',  # JSON, as results of tools are
    "ALIKE": 10_000,  # ms in which refusals that are alike are told together
    "ALIKE_KINDS": 8,  # and how many kinds of them an agent's record counts at a time
    "AHEAD": 60_000,  # ms by which a window lies ahead before it is told; servers differ by less when one takes over
    "ALERT_EVERY": 3_600_000,  # ms in which the same of reservations is said once
    **COUNTS,
    **WORDS,
    **ROLLUPS,
    **PEOPLE,
    "WAIT_BUCKETS": WAIT_BUCKETS_MS,
    **CHAINS,
    **EXPERIMENTS,
    **FLOWS,
    **PROPOSALS,
    "MOST_SHOWN": MAX_SHOWN,
    "RING": 24,  # a rolling window counts so many whole cells, and the partial one before them
}
"""What a script may name besides the fields. A table stands in parentheses, so that it can be indexed at once."""


class Zone(NamedTuple):
    """A tenant's time zone: the offset holds from `since` until `till`, then `after`."""

    name: str
    offset: int
    since: int
    till: int
    after: int


class Config(NamedTuple):
    """A tenant's timings (ms) and ceilings, as the process that opened it last was set up."""

    grant: int
    grant_max: int
    approval: int
    keep: int
    transient: int
    idle: int
    open: int
    agents: int
    events: int
    agent_day: int
    questions: int
    refusal: int
    requests: int = 10_000
    share: float = 0.5
    waits: int = 64
    key_waits: int = 1_024
    key_agents: int = 100_000
    key_locks: int = 5_000
    age: int = 90 * 86_400_000


class Shared(NamedTuple):
    """How many budgets there are of labels, resource types and models."""

    labels: int
    resources: int
    models: int


class Cell(NamedTuple):
    """A row of the ring of a rolling window."""

    number: float
    spent: int
    reserved: int


class BudgetAlert(NamedTuple):
    """Which percent of a budget were announced as spent or reserved: `mark` until less is, `told` at `at` (ms).
    `foretold`: the last window of which it was said when it is used up."""

    mark: int
    told: int
    at: int
    foretold: int


class Budget(NamedTuple):
    """One budget of an owner. `ring` holds `Cell` rows, for a rolling window. `crossed`: which percent were announced
    as spent in this window; `alert` is a `BudgetAlert`, once there was one. `resets`: how often an operator reset it;
    `told`: the window of which it was said that it lies ahead; `kept`: what was held when it was reset in this one."""

    kind: str | int
    limit: int
    window: float
    spent: int
    reserved: int
    crossed: int
    ring: list[int] | Literal[False]
    alert: list[int] | Literal[False] = False
    resets: int = 0
    told: float = 0
    kept: int = 0


class Tenant(NamedTuple):
    """A tenant. `schema` is the one that made it; `due` the earliest deadline, perhaps too early. `hashes`: how the
    arguments are hashed that its questions are about. By the credential that opened a session: `asked`, how many
    requests there were in the `second`; `waiting`, what those hold that wait, for a person or a lock, by the hour of
    their deadline. `persons`: 1 once the keys of older versions' operators were carried over. `evicts`: how its server
    evicts keys, as whoever looks for all has found; while it does, nothing is decided. `canary`: the change that is
    tried in some sessions; `numbered`: the last version of the policy that was given a number."""

    schema: int
    status: str
    policy: int
    zone: list[Any]
    due: int
    config: list[float]
    shared: list[int]
    agents: int
    purse: list[list[Any]]
    mode: str
    profiles: int
    keys: int
    hashes: int = 0
    second: int = 0
    asked: dict[str, int] | Literal[False] = False
    waiting: dict[str, dict[str, int]] | Literal[False] = False
    persons: int = 0
    evicts: Text = False
    canary: list[Any] | Literal[False] = False
    numbered: int = 0


class Agent(NamedTuple):
    """An agent. `counters` are by rule: a `Rate`, or a `Budget` for what is spent. `doubted`: the last day on which it
    was said that much of its charges is estimated. `asked`: how many requests it made over HTTP in the `second`.
    `waiting`: what waits, as of a tenant; `pending`: of that, questions. `refused`: `AlikeRefusals` of the last
    seconds. `rows`: how many of the bill it began on the day `billed`. `words`: when its words are next kept alive."""

    status: str
    framework: str
    open: int
    session: str
    labels: list[str]
    purse: list[list[Any]]
    registered: int
    seen: int
    profile: int
    priority: int
    capabilities: Text
    trust: Text
    pending: int
    counters: dict[str, list[Any]]
    ring: str
    questions: int
    doubted: int = 0
    second: int = 0
    asked: int = 0
    waiting: dict[str, int] | Literal[False] = False
    refused: Sequence[list[Any]] = ()
    billed: int = 0
    rows: int = 0
    words: int = 0


class Rate(NamedTuple):
    """How often something happened in a cell of time and in the one before."""

    cell: int
    present: int
    before: int


class Session(NamedTuple):
    """A session. `token` is hashed; `local`: opened in this process, not over HTTP; `credential`: the id of the key
    that opened it; `workflow`: the id of the one that it joined."""

    agent: str
    priority: int
    capabilities: str
    token: str
    opened: int
    seen: int
    framework: str
    purse: list[list[Any]]
    local: bool
    credential: Text = False
    workflow: Text = False


class JournalLine(NamedTuple):
    """A call in the execution journal: ``unknown`` until its `runner` says how it ended. `told`: that nobody knows
    was an event."""

    state: str
    at: int
    result: Text
    runner: str
    told: bool = False


class StoredPolicy(NamedTuple):
    """A version of the policy."""

    version: int
    document: str
    digest: str
    author: str
    at: int
    parent: int


class Profiles(NamedTuple):
    """The agent profiles in force."""

    version: int
    document: str
    author: str
    at: int


class Score(NamedTuple):
    """A row of the table of outcomes. It is stored as text, with spaces between; what follows is carried, too."""

    good: float
    total: float
    at: float


KINDS = (
    Kind("T", Tenant, one={"zone": "Z", "config": "C", "shared": "A", "canary": "CANARY"}, many={"purse": "B"}),
    Kind("Z", Zone),
    Kind("C", Config),
    Kind("A", Shared),
    Kind("G", Agent, many={"purse": "B", "refused": "REFUSED"}),
    Kind("REFUSED", AlikeRefusals),
    Kind("U", Rate),
    Kind("S", Session, many={"purse": "B"}),
    Kind("B", Budget, one={"ring": "E", "alert": "ALERT"}),
    Kind("ALERT", BudgetAlert),
    Kind("E", Cell, rows=True),
    Kind("R", Record, one={"lines": "M", "asked": "Q", "lock": "K", "bar": "BAR"}),
    Kind("M", LineRow, rows=True),
    Kind("BAR", Bar),
    Kind("Q", Question, many={"votes": "O"}),
    Kind("O", StoredVote),
    Kind("K", RecordLock, one={"within": "I"}),
    Kind("D", Standing),
    Kind("I", Lien, rows=True),
    Kind("V", StoredEnvelope),
    Kind("X", StoredRefusal),
    Kind("L", Lock, many={"holders": "H"}),
    Kind("H", Holder, one={"waits": "I"}),
    Kind("W", Waiter, one={"within": "I"}),
    Kind("N", LockCounters),
    Kind("J", JournalLine),
    Kind("P", StoredPolicy),
    Kind("F", Profiles),
    Kind("Y", Key),
    Kind("PERSON", Person),
    Kind("NOTICE", ShownNotice),
    *chain_records.STORED,
    *experiment_records.STORED,
    *flow_records.STORED,
    *proposal_records.STORED,
)

FIELDS = sum(len(kind.fields._fields) for kind in KINDS)
"""How many there are. It only grows, and says which of two versions knows more."""

_LISTS = {"b:": ("B", True), "v": ("V", True)}
HELD = {"t": ("T", False), "a:": ("G", False), "s:": ("S", False), "wf:": ("FLOW", False), **_LISTS}
"""What lies under the names that scripts hold and write back: its kind, and whether it is a list of those."""

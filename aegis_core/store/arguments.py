"""The lists within the arguments and answers of scripts, by name. They are not stored: both sides are of one version.

Rows lie one after the other in one list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from aegis_core.store.packing import Named
from aegis_core.store.records import Text

Given = str | None


class CandidateRow(NamedTuple):
    """A model that a request may get: the one to recommend, the one whose budget is charged, and the bound."""

    recommended: Text
    model: Text
    bound: int
    others: bytes | Literal[False] = False
    """Further candidates as packed rows, without this field."""


class Limit(NamedTuple):
    """A row: a threshold on what a request may cost at most."""

    above: int
    effect: str
    rule: str
    reason: str
    observed: bool


class CounterRow(NamedTuple):
    """A row: a count of the policy, within `span`."""

    kind: str
    rule: str
    limit: int
    span: int
    effect: str
    reason: str
    observed: bool


class AskerRow(NamedTuple):
    """A row: a rule that may ask for a person."""

    rule: str
    above: int
    counted: bool
    quorum: int
    span: int | Literal[False]
    approves: bool
    operators: list[str] | Literal[False]
    remind: int
    most: int | Literal[False]
    role: Text
    groups: Sequence[Any] | Literal[False]


class WantedLock(NamedTuple):
    """The lock of a request's target: for how long, where its agent hears of it, and what the agent holds meanwhile."""

    ttl: int
    inbox: Text
    within: Sequence[Any]


class Bid(NamedTuple):
    """What a transaction pays for gas on a chain: wei at most, and what it offers above the base fee. `stale` is how
    old (ms) the price may be that it is judged by, `ceilings` are `Limit` rows in wei. `labels`: further ones, whose
    budgets pay it, too."""

    chain: str
    stale: int
    fee: int
    tip: int
    ceilings: Sequence[Any]
    labels: Sequence[str] = ()


class TermsRow(NamedTuple):
    """On what terms a rule would ask about an edited request."""

    quorum: int
    approves: bool
    operators: list[str] | Literal[False]
    role: Text
    groups: Sequence[Any] | Literal[False]


class Edit(NamedTuple):
    """A changed request, judged again by the policy. `limits` are `Limit` rows, `terms` a list of `TermsRow`."""

    policy: int
    effect: str
    reason: Given
    limits: Sequence[Any]
    amount: int
    bound: int
    trace: bytes
    content: str
    terms: Sequence[TermsRow]
    shown: Text = False


class Ruled(NamedTuple):
    """What a version of the policy says of a question asked under an older one. `limits` are `Limit` rows;
    `trial`: the proposal that changed it so."""

    policy: int
    effect: str
    rule: Text
    reason: Text
    limits: Sequence[Any]
    trial: Text = False


class Joins(NamedTuple):
    """The name of a question that a call joins instead of asking another one, if that is about so much (nano-dollars)
    `at_least`; under it, the question that it asks is found by further calls."""

    name: str
    at_least: int = 0


class PaceRow(NamedTuple):
    """A row: what was charged in the last hour to a budget. `name` is of the agent or session that owns it."""

    owner: str
    name: Text
    hour: int


class EstimatesRow(NamedTuple):
    """A row: what was charged to an agent in the last hour, and how much of that is estimated."""

    agent: str
    charged: int
    estimated: int


class Said(NamedTuple):
    """What an agent wrote: packed, with its salt and digest; and the `whole` of it where `words` are shortened."""

    words: bytes
    salt: bytes
    digest: bytes
    whole: bytes | Literal[False] = False


class BegunExperiment(NamedTuple):
    """A new shadow experiment. `about`: its terms as JSON; `margin`: how much of the present model's score is enough;
    `refutes`: its judge can say that the candidate is worse; `most` pairs, for at most `span` ms."""

    about: str
    task_type: str
    present: str
    candidate: str
    margin: float
    refutes: bool
    most: int
    span: int


class Found(NamedTuple):
    """How a claim stands: ``held``, ``waiting``, ``busy``, ``gone``, ``wounded`` or ``itself`` (waits for itself).

    Times are in ms of the server. `evicted` is 0, the end of the grace, or -1 where notice was given without an end.
    """

    state: str
    now: int = 0
    expires: int = 0
    fences: tuple[int, ...] = ()
    place: int = 0
    since: int = 0
    evicted: int = 0
    next_expiry: int = 0
    names: tuple[str, ...] = ()


LISTS: Mapping[str, type[Named]] = {
    "CANDIDATE": CandidateRow, "LIMIT": Limit, "COUNTER": CounterRow, "ASKER": AskerRow, "WANTED": WantedLock,
    "EDIT": Edit, "TERMS": TermsRow, "RULED": Ruled, "FOUND": Found, "PACE": PaceRow,
    "ESTIMATES": EstimatesRow, "SAID": Said, "BID": Bid, "JOINS": Joins, "BEGUN": BegunExperiment,
}  # fmt: skip
"""By the prefix of their fields in scripts, as in ``LIMIT_ABOVE``."""

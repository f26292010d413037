"""What the scripts of operators and channels are called with, by name: as in `verbs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from aegis_core.store.arguments import Given
from aegis_core.store.records import Text


class PutEnvelope(NamedTuple):
    """Approve in advance, or end what was."""

    made: Sequence[Any] | Literal[False]
    ending: Given
    author: str
    most: int


class ReadEnvelopes(NamedTuple):
    """What is approved in advance."""


class SetCeiling(NamedTuple):
    """Up to how much an operator may approve; False lifts it."""

    operator: str
    nanos: int | Literal[False]
    author: str


class OpenTenant(NamedTuple):
    """Make a tenant, or bring its timings to the caller's settings."""

    schema: int
    config: Sequence[float]
    zone_name: str
    day_limit: int
    document: str
    fingerprint: str


class PublishPolicy(NamedTuple):
    """Put a policy in force, with `expected` only in place of that version."""

    document: str
    fingerprint: str
    author: str
    keep: int
    parent: int | None
    expected: int | None = None


class ReadPolicy(NamedTuple):
    """A version of the policy, by default the one in force."""

    version: int | None


class SetBudget(NamedTuple):
    """Set one limit."""

    owner: str
    agent: Given
    sid: Given
    kind: str | int
    limit: int
    author: str


class ResetBudget(NamedTuple):
    """Begin the present window of one budget anew."""

    owner: str
    agent: Given
    sid: Given
    kind: str | int
    author: str


class ReadBudgets(NamedTuple):
    """Every budget of an agent, or all shared ones."""

    agent: Given
    sid: Given


class ListAgents(NamedTuple):
    """A page of agents by name."""

    after: Given
    most: int


class PublishProfiles(NamedTuple):
    """Put agent profiles in force."""

    document: str
    author: str


class ReadProfiles(NamedTuple):
    """The agent profiles in force."""


class ApplyProfile(NamedTuple):
    """Write what the profiles say of an agent into its record. `limits`: window kind, limit, …"""

    agent: str
    version: int
    priority: int
    capabilities: Text
    labels: list[str]
    trust: Text
    limits: Sequence[Any]


class Brake(NamedTuple):
    """Block or free an agent, halt or resume the tenant."""

    agent: Given
    status: str
    author: str


class ListOpen(NamedTuple):
    """A page of open records; with an author, questions are declined on the way."""

    agent: Given
    start: int
    author: Given


class Note(NamedTuple):
    """Append an event for what no script carried out."""

    kind: str
    fact: Any
    author: str


class ForgetQuestions(NamedTuple):
    """Take an agent's words out of those of these records that are its questions."""

    agent: str
    ids: Sequence[str]


class Forget(NamedTuple):
    """Delete an agent's words. `held`: so many records and events held some."""

    agent: str
    author: str
    held: int


class ReadWords(NamedTuple):
    """What agents wrote. `places`: of each an agent and the id of an event."""

    places: Sequence[Sequence[str]]


class NotePrices(NamedTuple):
    """Remember which prices are in use."""

    version: str


class Refund(NamedTuple):
    """Take back some of what an ended grant was charged. The same `refund_id` again changes nothing."""

    id: str
    nanos: int
    refund_id: str
    reason: str
    author: str


class NoteForecasts(NamedTuple):
    """Say when budgets for a day are used up. `pace` are `PaceRow` rows, none of nothing."""

    pace: Sequence[Any]


class NoteEstimates(NamedTuple):
    """Say of whose charges much is estimated. `found` are `EstimatesRow` rows."""

    found: Sequence[Any]


class ResetOutcomes(NamedTuple):
    """Forget what was learned from outcomes."""

    author: str


class SetMode(NamedTuple):
    """Enforce, or only observe."""

    mode: str
    author: str


class PutKey(NamedTuple):
    """Make or revoke an API key, or one of the proxy, which alone has `terms`. `person`: whose it is; where there
    is none of that name, one with the `role` is made, whose name looks like `fold`."""

    id: str
    role: Given
    hash: Given
    name: Given
    author: str
    act: Literal["created", "revoked"]
    terms: Given = None
    person: Given = None
    fold: Given = None


class ReadKeys(NamedTuple):
    """One API key, or all of them."""

    id: Given


class PutPerson(NamedTuple):
    """Add, change or remove a person, or give and take credentials. `nanos`: up to how much the person may approve;
    False lifts that, None leaves it."""

    name: str
    fold: str
    act: Literal["added", "changed", "removed", "linked", "revoked"]
    role: Text
    groups: Sequence[str] | Literal[False]
    nanos: int | Literal[False] | None
    credentials: Sequence[str]
    author: str


class ReadPeople(NamedTuple):
    """One person, by name or credential, or all of them."""

    name: Given


class HoldChannel(NamedTuple):
    """Take, keep or (with no time) give up the lease of a channel."""

    channel: str
    holder: str
    milliseconds: int


class PutGas(NamedTuple):
    """Write the price of gas on a chain, as the holder of a lease; False where nobody knows what a coin costs."""

    duty: str
    holder: str
    chain: str
    price: int
    block: int
    block_at: int
    sources: int
    usd: Text
    keep: int


class TellChannel(NamedTuple):
    """Remember how sending or hearing goes on a channel; without a problem, it works."""

    channel: str
    direction: str
    problem: str


class KeepNotice(NamedTuple):
    """Remember what a channel has shown of an approval, or forget it."""

    channel: str
    holder: str
    approval: str
    notice: Sequence[Any] | Literal[False]
    ref: str
    keep: int


class RefuseOnChannel(NamedTuple):
    """Count what a channel refused somebody."""

    channel: str
    who: str
    act: str


class NoteLogin(NamedTuple):
    """Tell that a credential did not hold, so many `times` from one address. `why`: the code of the refusal."""

    address: str
    why: str
    times: int


class HoldDelivery(NamedTuple):
    """Take, keep or (with no time) give up the lease of who posts events to a destination."""

    destination: str
    holder: str
    milliseconds: int


class CommitDelivery(NamedTuple):
    """Move a destination's cursor from `before`; so many events were sent, those from `first` to `last` are gone."""

    destination: str
    fence: int
    before: str
    cursor: str
    number: int
    sent: int
    first: int
    last: int


class FailDelivery(NamedTuple):
    """Count that an event could not be posted. `most`: attempts after which it is put aside; `patience`: ms after
    which it is; False: never for that. `down`: nothing else would arrive either."""

    destination: str
    fence: int
    before: str
    event_id: str
    number: int
    kind: str
    problem: str
    most: int | Literal[False]
    patience: int | Literal[False]
    down: bool


class ReplayDelivery(NamedTuple):
    """Note that so many events are posted again, for an operator; with a cursor, all after it, from `since` on."""

    destination: str
    cursor: Given
    number: int
    since: Text
    again: int
    author: str

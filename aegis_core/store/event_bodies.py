"""What the events of the stream hold: a record (see `records`), or one of these. They grow as stored records do.

An event that is no record begins with the time in ms of the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from aegis_core.store.budget_bodies import BudgetAhead, BudgetReset, LossAccepted
from aegis_core.store.experiment_records import EXPERIMENT_KINDS, KaizenExperiment
from aegis_core.store.flow_bodies import FLOW_BODIES
from aegis_core.store.kaizen_bodies import KaizenFound, KaizenProposed
from aegis_core.store.packing import Named
from aegis_core.store.people import KeyPut, PersonPut
from aegis_core.store.proposal_records import PROPOSAL_KINDS, KaizenMoved
from aegis_core.store.records import Record, Text
from aegis_core.store.states import STATES
from aegis_core.store.webhook_bodies import EventsLost, WebhookDeadLettered, WebhookReplayed


class Handshaken(NamedTuple):
    """A session was opened. `capabilities`: ``,a,b,``."""

    at: int
    agent: str
    session: str
    framework: str
    priority: int
    capabilities: str
    limit: int | Literal[False]
    workflow: Text = False


class HandshakeRefused(NamedTuple):
    """A session was not opened: so many times within an hour, for the same reason."""

    at: int
    agent: Text
    code: str
    credential: Text
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]


class LoginFailed(NamedTuple):
    """A credential did not hold: so many times within an hour from one address (``*``: from many)."""

    at: int
    address: str
    code: str
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]


class SessionClosed(NamedTuple):
    """A session ended."""

    at: int
    agent: str
    session: str


class BudgetCrossed(NamedTuple):
    """So many percent of a limit are spent, or spent and reserved; `used` is both together."""

    at: int
    owner: str
    agent: Text
    session: Text
    kind: str | int
    limit: int
    used: int
    mark: int
    spent: int | Literal[False] = False


class BudgetForecast(NamedTuple):
    """At the rate of the last `hour` (nano-dollars) a limit is used up at `gone` (ms), before its window ends."""

    at: int
    owner: str
    agent: Text
    session: Text
    kind: str | int
    limit: int
    spent: int
    hour: int
    gone: int


class EstimatesHigh(NamedTuple):
    """So much of what was charged to an agent in an hour is estimated, in nano-dollars."""

    at: int
    agent: str
    charged: int
    estimated: int


class Refunded(NamedTuple):
    """Some of what a grant was charged was taken back; `refunded` is all that was, this included."""

    at: int
    agent: str
    grant: str
    request: str
    nanos: int
    charged: int
    refunded: int
    reason: str
    author: str


class BudgetSet(NamedTuple):
    """A limit was set."""

    at: int
    owner: str
    agent: Text
    session: Text
    kind: str | int
    before: int | Literal[False]
    limit: int
    author: str


class EnvelopePut(NamedTuple):
    """Something was approved in advance, or no longer is. `envelope` is a packed `Envelope`."""

    at: int
    envelope: list[Any]
    author: str


class CeilingSet(NamedTuple):
    """Up to how much an operator may approve; False: anything."""

    at: int
    operator: str
    nanos: int | Literal[False]
    author: str


class PolicyPublished(NamedTuple):
    """A policy is in force."""

    at: int
    version: int
    digest: str
    author: str


class TenantOpened(NamedTuple):
    """A tenant was made."""

    at: int
    day_limit: int
    policy: str


class TenantConfigured(NamedTuple):
    """A tenant's timings are others."""

    at: int
    zone: str
    timings: list[float]


class LockTold(NamedTuple):
    """Something became of a lock or a wait for it; times in ms. What `more` says depends on the kind: places, the other
    agent, or the author."""

    at: int
    agent: str
    resource: str
    fence: int | Literal[False]
    priority: int
    waited: int
    held: int
    more: Any


class AgentActed(NamedTuple):
    """An agent, or the tenant (False), was stopped or freed."""

    at: int
    agent: Text
    author: str


class RequestsLimited(NamedTuple):
    """An agent, or all agents of a credential (``""``: without one), asked more than so many times in one second. What
    follows in that second is refused, and leaves no event."""

    at: int
    agent: str
    most: int
    credential: str


class RefusalsRepeated(NamedTuple):
    """More refusals like one that left its event; `refused` is a packed `records.AlikeRefusals`."""

    at: int
    agent: str
    refused: list[Any]


class ModeSet(NamedTuple):
    """Whether the tenant's rules decide."""

    at: int
    mode: str
    author: str


class AgentForgotten(NamedTuple):
    """So many texts of an agent were removed."""

    at: int
    removed: int
    author: str
    agent: Text = False


class ProfilesPublished(NamedTuple):
    """Agent profiles are in force."""

    at: int
    profiles_version: int
    author: str


class ChannelTold(NamedTuple):
    """How a channel itself is, in one direction."""

    at: int
    problem: str
    author: str
    direction: str = "sending"


class ChannelRefused(NamedTuple):
    """Somebody's word did not count."""

    at: int
    channel: str
    act: str
    author: str


class ThreadFailed(NamedTuple):
    """A conversation cannot go on, says the agent that carries it on."""

    at: int
    agent: str
    thread: str
    problem: str


class OutcomeUnknown(NamedTuple):
    """A call of the journal was begun at `started` (ms), and nobody knows how it ended."""

    at: int
    agent: str
    call: str
    started: int


class OutcomesReset(NamedTuple):
    """So many rows of outcomes were forgotten."""

    at: int
    rows: int
    author: str


class PricesChanged(NamedTuple):
    """Other prices are in use."""

    at: int
    version: str
    before: str
    author: str


_LOCK_KINDS = (
    "acquired", "waiting", "released", "cancelled", "preempting", "evicted", "expired", "unclaimed", "abandoned",
    "forced", "wounded",
)  # fmt: skip
_RECORD_KINDS = ("granted", "overrun", "extended", "approved", "voted")

BODIES: Mapping[str, type[Named]] = {
    **dict.fromkeys((*_RECORD_KINDS, *(state.word for state in STATES if state.word != "live")), Record),
    **dict.fromkeys((f"lock_{kind}" for kind in _LOCK_KINDS), LockTold),
    **dict.fromkeys(("agent_blocked", "agent_active", "tenant_halted", "tenant_active"), AgentActed),
    **dict.fromkeys(("key_created", "key_revoked"), KeyPut),
    **dict.fromkeys(
        ("person_added", "person_changed", "person_removed", "credential_added", "credential_revoked"), PersonPut
    ),
    **dict.fromkeys(("channel_failed", "channel_recovered"), ChannelTold),
    **dict.fromkeys(("envelope_made", "envelope_revoked"), EnvelopePut),
    **FLOW_BODIES,
    "handshake": Handshaken,
    "handshake_refused": HandshakeRefused,
    "login_failed": LoginFailed,
    "session_closed": SessionClosed,
    "requests_limited": RequestsLimited,
    "refusals_repeated": RefusalsRepeated,
    "budget_crossed": BudgetCrossed,
    "budget_reserved": BudgetCrossed,
    "budget_forecast": BudgetForecast,
    "refunded": Refunded,
    "estimates_high": EstimatesHigh,
    "budget_set": BudgetSet,
    "budget_ahead": BudgetAhead,
    "budget_reset": BudgetReset,
    "loss_accepted": LossAccepted,
    "profiles_published": ProfilesPublished,
    "tenant_mode": ModeSet,
    "agent_forgotten": AgentForgotten,
    "channel_refused": ChannelRefused,
    "events_lost": EventsLost,
    "webhook_dead_lettered": WebhookDeadLettered,
    "webhook_replayed": WebhookReplayed,
    "thread_failed": ThreadFailed,
    "outcome_unknown": OutcomeUnknown,
    "outcomes_reset": OutcomesReset,
    "prices_changed": PricesChanged,
    "ceiling_set": CeilingSet,
    "policy_published": PolicyPublished,
    "tenant_opened": TenantOpened,
    "tenant_configured": TenantConfigured,
    "kaizen_finding": KaizenFound,
    "kaizen_proposed": KaizenProposed,
    **dict.fromkeys(EXPERIMENT_KINDS, KaizenExperiment),
    **dict.fromkeys(PROPOSAL_KINDS, KaizenMoved),
}
"""By the kind of the event."""

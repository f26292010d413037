"""The handshake protocol: the messages that library, HTTP API and adapters share.

Incoming messages are pydantic models that refuse unknown fields; answers, built on every decision, are slotted
dataclasses with the same schema and JSON by `TypeAdapter`. Money is a ``Decimal`` of dollars, in JSON a number or text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from aegis_core.protocol.arguments import ArgumentsJson
from aegis_core.protocol.evidence import RequestEvidence, SettlementEvidence
from aegis_core.protocol.fields import Capabilities, Identifier, Intent, LockToken, LockTtl, Metadata, Usd, Window
from aegis_core.protocol.parsing import Message
from aegis_core.protocol.usage import Allowance, Usage

Status = Literal["GRANTED", "PENDING", "REJECTED"]
Framework = Literal["langchain", "langgraph", "crewai", "autogen", "custom"]
ResourceType = Literal["llm_tokens", "gas_budget", "api_call", "file_lock", "wallet_lock", "compute"]
Scope = Literal["agent", "session", "tenant", "model", "resource", "label"]
GrantState = Literal["live", "pending", "rejected", "settled", "released", "expired", "timed_out", "declined"]

LOCK_TYPES: frozenset[str] = frozenset({"file_lock", "wallet_lock"})
RESOURCE_TYPES: tuple[str, ...] = get_args(ResourceType)


class Handshake(Message):
    """An agent introduces itself. Everything it says only narrows what its operator allows."""

    agent_id: Identifier
    agent_framework: Framework = "custom"
    capabilities: Capabilities = ()
    max_priority: Annotated[int, Field(ge=1, le=10)] = 5
    session_budget_usd: Usd | None = None


class Requirements(Message):
    """What a model must be able to do to be recommended; `or_strongest`: one of `models` if none is of the tier."""

    tools: bool = False
    vision: bool = False
    min_context_tokens: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    providers: tuple[Identifier, ...] = Field(default=(), max_length=32, fail_fast=True)
    models: tuple[Identifier, ...] = Field(default=(), max_length=64, fail_fast=True)
    or_strongest: bool = False
    ceiling_usd: Usd | None = None


class HeldLock(Message):
    """A lease that the caller holds while it asks for another."""

    resource: Identifier
    lock_token: LockToken


BYTES_PER_TOKEN = 2
"""Bytes of UTF-8 for which a token is reserved; see `metering.tokens` for what that covers."""


class PermissionRequest(RequestEvidence):
    """One ask. Either `estimated_cost_usd`, or sizes from which the core estimates on the safe side; the higher counts.

    `prompt_bytes` (UTF-8) or `prompt_tokens` (the most that the caller counts) is the size of the prompt. `model` says
    which model the agent will call; without it the grant is priced for the recommended one. With `min_output_tokens`
    the answer may be cut to what is affordable, and with `cut_before_asking` to what no rule asks a person about or
    denies for its cost; the verdict's `max_output_tokens` says to what.
    For ``wallet_lock`` and ``file_lock``, `target_resource` names the lock, which is taken in the same step for
    `lock_ttl_seconds`, unless renewed, and ends with the grant; `within` names what the agent holds meanwhile.
    With `fence` the agent must hold the lock called `target_resource` with that fence, else it is refused. `verify`:
    the agent checks the answer of a cheap model, and calls `routing.escalation_model` when it fails; both are reserved.
    `allows` says what the call may consume beside plain text: media, hosted tools, a tier.
    `prompt_end` is how the prompt of a model call ends. No rule reads it; a person who is asked is shown it, and it is
    kept with that question only. `prompt_hash` names the prompt, where no `arguments_hash` says what the call is.
    `arguments_json` is the JSON (RFC 8785) that `arguments_hash` is of, for a person who is asked, kept, masked, only
    while somebody is; empty (longer than 64 KiB, more than 4,000 values), nobody can be asked.
    """

    agent_id: Identifier
    task_intent: Intent
    resource_type: ResourceType
    estimated_cost_usd: Usd | None = None
    priority: Annotated[int, Field(ge=1, le=10)] = 5
    logic_density: Annotated[int, Field(ge=1, le=10)] = 5
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    target_resource: Identifier | None = None
    fence: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = None
    lock_ttl_seconds: LockTtl = 30
    within: tuple[HeldLock, ...] = Field(default=(), max_length=16, fail_fast=True)
    session_id: Identifier | None = None
    request_id: Identifier | None = None
    capability: Identifier | None = None
    tool: Identifier | None = None
    arguments_hash: Identifier | None = None
    arguments_json: ArgumentsJson | None = None
    model: Identifier | None = None
    prompt_bytes: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    prompt_tokens: Annotated[int, Field(ge=0, le=500_000_000)] | None = None
    max_output_tokens: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    min_output_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    cut_before_asking: bool = False
    task_type: Identifier | None = None
    verify: Literal["cheap_first"] | None = None
    requirements: Requirements | None = None
    allows: Allowance | None = None
    prompt_end: Annotated[Intent, Field(max_length=500)] | None = None
    metadata: Metadata = Field(default_factory=dict[str, Any], json_schema_extra={"default": {}})

    @model_validator(mode="after")
    def _one_size_of_the_prompt(self) -> PermissionRequest:
        if self.prompt_tokens is not None and self.prompt_bytes is not None:
            raise ValueError("prompt_tokens: give prompt_bytes or prompt_tokens, not both")
        return self


class SettleRequest(SettlementEvidence):
    """What a grant really cost: exactly one of `cost_usd` and `usage`, or `estimated` where nobody knows.

    `estimated` alone charges what was reserved. An amount beside it is charged, and marked as reckoned; a usage without
    a known price is then charged as reserved, too. `escalation_usage` is of the second call of a verified one.
    `outcome` says how well the task was done, 0 to 1: of trusted agents it feeds the choice of models; an escalation
    without it counts as 0 for the first model. `within_reservation`: the usage counts more than the request allowed, so
    what it costs above the reservation is not believed: the reservation is charged then, and marked as estimated.
    """

    agent_id: Identifier | None = None
    cost_usd: Usd | None = None
    usage: Usage | None = None
    escalation_usage: Usage | None = None
    outcome: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    estimated: bool = False
    within_reservation: bool = False

    @model_validator(mode="after")
    def _one_of_two(self) -> SettleRequest:
        if (self.cost_usd is None) == (self.usage is None) and not (self.estimated and self.usage is None):
            raise ValueError(
                "cost_usd: give exactly one of cost_usd and usage, or estimated=true where neither is known"
            )
        if self.escalation_usage is not None and self.usage is None:
            raise ValueError("escalation_usage: comes beside usage only")
        return self


TakenBackBy = Literal["agent", "caller", "thread", "person"]
"""Who takes a question back: its agent; the caller, who gave up waiting; the conversation, which went on without it; or
a person, who answered it where the agent runs."""
WithdrawnBy = TakenBackBy | Literal["workflow"]
"""Or the end of its workflow took it back."""


class ReleaseRequest(SettlementEvidence):
    """Give a grant back unused, and say how a call went that certainly cost nothing; or take back a question, and say
    by whom (`by`). Its event repeats both."""

    agent_id: Identifier | None = None
    by: TakenBackBy = "agent"


class ExtendRequest(Message):
    """Keep a long call alive: the deadline moves to `seconds` from now, never earlier, up to the tenant's cap."""

    agent_id: Identifier | None = None
    seconds: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = 600


class BudgetChange(Message):
    """A new limit for one window of one scope. What is spent and reserved stays as it is."""

    window: Window
    limit_usd: Usd


@dataclass(slots=True)
class BudgetLine:
    """One budget that applies to a request. `remaining_usd` is what the next request may still ask for."""

    scope: Scope
    name: str
    window: str
    limit_usd: Usd
    remaining_usd: Usd
    tightest: bool = False


@dataclass(frozen=True, slots=True)
class Routing:
    """Why a model was recommended.

    `expected_quality` and its lower bound (95 %) are mean scores of 0 to 1, by `outcomes` (decayed) of its tier and the
    shipped weak prior. `evidence` says what decided the tier: outcomes of the task type, a fitted text model, outcomes
    of the agent at this density, or the declared density alone (``prior``). Costs are expected ones, not reservations.
    """

    model: str
    evidence: Literal["prior", "task_type", "text", "agent"]
    outcomes: int
    expected_quality: float
    quality_bound: float
    target: float
    expected_cost_usd: Usd
    strongest_model: str
    strongest_cost_usd: Usd
    price_version: str
    outcomes_version: int
    degraded: bool = False
    escalation_model: str | None = None
    note: str = ""


@dataclass(slots=True)
class Verdict:
    """The whole answer to one request.

    `code` is stable and meant for programs, `reason` for people. `remaining_budget_usd` is the agent's day budget;
    `budgets` lists every scope that applies. A grant is live until `expires_at`: settle, release or extend it.
    `tool` and `arguments_hash` are set where a person was asked: they are what was approved, perhaps after a change.
    """

    status: Status
    agent_id: str
    reason: str
    code: str
    remaining_budget_usd: Usd
    request_id: str
    policy_version: int
    budgets: tuple[BudgetLine, ...] = ()
    reserved_usd: Usd = field(default_factory=Decimal)
    recommended_model: str | None = None
    granted_at: datetime | None = None
    grant_id: str | None = None
    rule: str | None = None
    expires_at: datetime | None = None
    retry_after_seconds: float | None = None
    waiting_for: Literal["human", "lock"] | None = None
    escalation_id: str | None = None
    tool: str | None = None
    arguments_hash: str | None = None
    lock_resource: str | None = None
    lock_token: str | None = None
    fence: int | None = None
    lock_expires_at: datetime | None = None
    queue_position: int | None = None
    would_be: Status | None = None
    routing: Routing | None = None
    state: GrantState = "live"
    max_output_tokens: int | None = None
    """The cap to send when the money did not reach for the one that was asked, else None."""
    asked_usd: Usd | None = None
    """What a refused request would have reserved; `least_usd`: with the smallest useful answer."""
    least_usd: Usd | None = None
    workflow_id: str | None = None
    """The workflow of the session, where it belongs to one. `plan_step`: which step of its plan covers the grant, and
    `approval_id` of whom people approved that plan; absent beside it."""
    plan_step: int | None = None
    approval_id: str | None = None

    @property
    def granted(self) -> bool:
        """True when the agent may go on now: granted, and neither settled, released nor expired since."""
        return self.status == "GRANTED" and self.state == "live"


@dataclass(slots=True)
class SessionOpened:
    """The answer to a handshake. `session_token` is shown once and is a secret."""

    agent_id: str
    session_id: str
    session_token: str
    tenant: str
    agent_framework: Framework
    capabilities: tuple[str, ...]
    max_priority: int
    remaining_budget_usd: Usd
    policy_version: int
    opened_at: datetime
    budgets: tuple[BudgetLine, ...] = ()
    session_budget_usd: Usd | None = None
    workflow_id: str | None = None


@dataclass(slots=True)
class Receipt:
    """What became of a grant. `charged_usd` + `returned_usd` = `reserved_usd` + `overrun_usd`.

    `repeated`: the same act had been done before, and this call changed nothing.
    `late`: the deadline had passed and the grant had been charged at its estimate, which this settlement replaced.
    `lock_lost`: the lock that came with the money was gone before this, so others may have been in it, too.
    `estimated`: what it cost is not known, so `charged_usd` is what was reserved or reckoned.
    """

    grant_id: str
    agent_id: str
    state: GrantState
    reserved_usd: Usd
    charged_usd: Usd
    returned_usd: Usd
    overrun_usd: Usd
    expires_at: datetime | None = None
    repeated: bool = False
    late: bool = False
    lock_lost: bool = False
    estimated: bool = False


@dataclass(slots=True)
class BudgetState:
    """One budget as it stands. `resets_at` is absent for windows without an end."""

    scope: Scope
    name: str
    window: str
    limit_usd: Usd
    spent_usd: Usd
    reserved_usd: Usd
    remaining_usd: Usd
    resets_at: datetime | None = None


@dataclass(slots=True)
class BudgetReport:
    """Every budget that bounds an agent, and what is left of its day."""

    agent_id: str
    remaining_budget_usd: Usd
    budgets: tuple[BudgetState, ...]


@dataclass(slots=True)
class AgentSummary:
    """One registered agent as an operator sees it."""

    agent_id: str
    status: str
    framework: str
    open_grants: int
    labels: dict[str, str]
    spent_today_usd: Usd
    reserved_usd: Usd
    limit_usd: Usd
    registered_at: datetime
    last_seen_at: datetime

"""The messages about workflows: one plan that people approve once, and the sessions of several agents under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from aegis_core.protocol.fields import Capabilities, Identifier, Intent, Usd
from aegis_core.protocol.messages import Framework, ResourceType
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.parsing import Message

WorkflowState = Literal["pending", "live", "ended"]
WorkflowEnd = Literal["time", "use", "opener", "operator", "rejected", "timed_out", "withdrawn"]
"""How it ended: at its time, when its plan was used up, by its opener or an operator; or it never began."""

MOST_STEPS = 32
"""As many as a person can be shown in one message."""
MOST_MEMBERS = 1_000

_Seconds = Annotated[float, Field(gt=0, le=2_592_000, allow_inf_nan=False)]
_Times = Annotated[int, Field(ge=0, le=1_000_000)]


def _pattern(text: str) -> str:
    if "*" in text[:-1]:
        raise ValueError("a pattern has its only * at the end, such as payer-*")
    return text


Pattern = Annotated[
    str, Field(pattern=r"^[\w.:@/-]{0,128}\*?$", min_length=1, max_length=129), AfterValidator(_pattern)
]
"""A name of agents, or its beginning and ``*``."""


class Step(Message):
    """What members may do: with this `tool`, of this `resource_type`, or both.

    With `times` it is done so often at most, each time for at most `upto_usd`; without, as often as `upto_usd` reaches
    for all of it together.
    """

    tool: Identifier | None = None
    resource_type: ResourceType | None = None
    times: Annotated[_Times, Field(ge=1)] | None = None
    upto_usd: Usd

    if TYPE_CHECKING:  # amounts are taken in every way they are written, and read as decimals

        def __init__(
            self, *, tool: str | None = None, resource_type: ResourceType | None = None, times: int | None = None,
            upto_usd: UsdLike,
        ) -> None: ...  # fmt: skip

    @model_validator(mode="after")
    def _of_something(self) -> Step:
        if self.tool is None and self.resource_type is None:
            raise ValueError("tool: give tool or resource_type, which requests the step covers")
        return self


class WorkflowRequest(Message):
    """An agent asks for a plan to be approved as a whole.

    `seconds` run from the approval on. `may_join` are agents by name, or by a beginning and ``*``; empty: any agent
    with a join token. `capabilities` and `max_priority` bound what members may have, beside the opener's own and
    their own; without `capabilities` those of the opener's session do, if it has any.
    """

    agent_id: Identifier
    name: Annotated[Intent, Field(max_length=200)]
    budget_usd: Usd
    seconds: _Seconds = 3_600
    plan: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MOST_STEPS)]
    may_join: Annotated[tuple[Pattern, ...], Field(max_length=64)] = ()
    most_members: Annotated[int, Field(ge=1, le=MOST_MEMBERS)] = 64
    capabilities: Capabilities | None = None
    max_priority: Annotated[int, Field(ge=1, le=10)] = 10
    session_id: Identifier | None = None
    request_id: Identifier | None = None


class InviteRequest(Message):
    """Make a join token: for so many sessions, for so long, of this agent or (``payer-*``) of those of such names.

    `agent_id` is who opened the workflow, for callers without a session token.
    """

    uses: Annotated[int, Field(ge=1, le=MOST_MEMBERS)] = 1
    seconds: _Seconds = 600
    agents: Pattern | None = None
    agent_id: Identifier | None = None


class JoinRequest(Message):
    """An agent joins a workflow. Everything it says only narrows what plan, opener and its profile allow."""

    join_token: Annotated[str, Field(min_length=1, max_length=2_048)]
    agent_id: Identifier
    agent_framework: Framework = "custom"
    capabilities: Capabilities = ()
    max_priority: Annotated[int, Field(ge=1, le=10)] = 5
    session_budget_usd: Usd | None = None


class StepChange(Message):
    """What is left of the step of this `number`, from 1: fewer `times`, or less money. 0 times takes it away."""

    number: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    times: _Times | None = None
    upto_usd: Usd | None = None

    if TYPE_CHECKING:

        def __init__(self, *, number: int, times: int | None = None, upto_usd: UsdLike | None = None) -> None: ...


class WorkflowChange(Message):
    """A smaller plan: what is not given stays. `content` is that of the plan that was looked at."""

    content: Annotated[str, Field(min_length=1, max_length=64)]
    budget_usd: Usd | None = None
    seconds: _Seconds | None = None
    steps: Annotated[tuple[StepChange, ...], Field(max_length=MOST_STEPS)] = ()

    if TYPE_CHECKING:

        def __init__(
            self, *, content: str, budget_usd: UsdLike | None = None, seconds: float | None = None,
            steps: Sequence[StepChange] = (),
        ) -> None: ...  # fmt: skip

    @model_validator(mode="after")
    def _something(self) -> WorkflowChange:
        if self.budget_usd is None and self.seconds is None and not self.steps:
            raise ValueError("steps: changes nothing; give budget_usd, seconds or steps")
        if len({each.number for each in self.steps}) < len(self.steps):
            raise ValueError("steps: names a step twice")
        return self


@dataclass(slots=True)
class PlanStep:
    """A step as it stands: `used_usd` is what it holds or cost so far."""

    number: int
    tool: str | None
    resource_type: str | None
    times: int | None
    upto_usd: Usd
    used_usd: Usd
    uses: int


@dataclass(slots=True)
class Plan:
    """A plan as people are asked about it. `seconds` run from the approval on."""

    workflow_id: str
    name: str
    budget_usd: Usd
    seconds: float
    steps: tuple[PlanStep, ...]
    may_join: tuple[str, ...]
    most_members: int
    capabilities: tuple[str, ...] | None
    max_priority: int


@dataclass(slots=True)
class Member:
    """A session that joined."""

    agent_id: str
    session_id: str
    agent_framework: str
    joined_at: datetime


@dataclass(slots=True)
class Workflow:
    """A workflow as it stands. Its approval is `approval_id`; `expires_at` is absent until it is approved.

    `used_usd` is what the plan's steps hold or cost, `beside_usd` the same of what people granted beside the plan, and
    `waiting_usd` what they are still asked about, `asked` times in all; together all that its members hold or spent.
    `content`: a fingerprint of the plan, which an edit changes. Only `get` reads `members`.
    """

    workflow_id: str
    approval_id: str
    tenant: str
    state: WorkflowState
    opener: str
    plan: Plan
    used_usd: Usd
    beside_usd: Usd
    waiting_usd: Usd
    asked: int
    open: int
    joined: int
    made_at: datetime
    content: str
    approved_at: datetime | None = None
    approved_by: tuple[str, ...] = ()
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    ended: WorkflowEnd | None = None
    ended_by: str | None = None
    members: tuple[Member, ...] = ()


@dataclass(slots=True)
class JoinToken:
    """What lets agents join. `join_token` is shown once and is a secret."""

    join_token: str
    workflow_id: str
    uses: int
    expires_at: datetime

"""The messages about approvals: what waits for a person, what that person says, and what was approved in advance."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from aegis_core.protocol.arguments import ArgumentsJson
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.fields import Identifier, Usd
from aegis_core.protocol.messages import BudgetLine, ResourceType, Verdict, WithdrawnBy
from aegis_core.protocol.parsing import Message
from aegis_core.protocol.workflows import Plan

Decision = Literal["approve", "reject"]
ApprovalStatus = Literal["open", "approved", "rejected", "timed_out", "withdrawn"]
Listing = Literal["open", "ended", "approved", "rejected", "timed_out", "withdrawn"]
"""What is listed: the open ones by age, or ended ones (all, or of one kind), the newest first."""

Reason = Annotated[str, Field(max_length=500)]


class ApprovalEdit(Message):
    """What an operator changes in a request while approving it; the policy judges the changed request again."""

    estimated_cost_usd: Usd | None = None
    tool: Identifier | None = None
    arguments_hash: Identifier | None = None
    arguments_json: ArgumentsJson | None = None
    """The JSON that `arguments_hash` is of, for others who must approve: see `PermissionRequest`."""
    target_resource: Identifier | None = None

    @model_validator(mode="after")
    def _something(self) -> ApprovalEdit:
        if not self.model_dump(exclude_none=True):
            raise ValueError("edit: changes nothing; leave it out to approve the request as it is")
        return self


class DecisionRequest(Message):
    """What an operator says of an approval. Who said it comes from the credential, never from here."""

    decision: Decision
    reason: Reason = ""
    edit: ApprovalEdit | None = None
    content: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The `content` of the approval that was looked at: an approval of something else than that does not count."""

    @model_validator(mode="after")
    def _only_approved_edits(self) -> DecisionRequest:
        if self.edit is not None and self.decision == "reject":
            raise ValueError("edit: belongs to an approval, not to a rejection")
        return self


class EnvelopeRequest(Message):
    """Approve in advance what one agent or session asks for, of one kind, up to an amount and a time.

    At least one of `agent_id` and `session_id` says whose requests, at least one of `tool`, `rule`, `phrase` and
    `resource_type` says which; what is given must all hold. `phrase` is words that occur in the intent.
    """

    agent_id: Identifier | None = None
    session_id: Identifier | None = None
    tool: Identifier | None = None
    rule: Identifier | None = None
    phrase: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    resource_type: ResourceType | None = None
    limit_usd: Usd
    seconds: Annotated[float, Field(gt=0, le=2_592_000, allow_inf_nan=False)] = 3_600
    reason: Reason = ""

    @model_validator(mode="after")
    def _narrowed(self) -> EnvelopeRequest:
        if self.agent_id is None and self.session_id is None:
            raise ValueError("agent_id: give agent_id or session_id, whose requests are approved in advance")
        if not (self.tool or self.rule or self.phrase or self.resource_type):
            raise ValueError("tool: give tool, rule, phrase or resource_type, which requests are approved in advance")
        return self


class OperatorLimit(Message):
    """Up to how much one operator may approve; null lifts the limit."""

    approve_up_to_usd: Usd | None = None


@dataclass(slots=True)
class Vote:
    """What one person said. `operator`: the person's name; `credential`: with which it was said, where it is known."""

    operator: str
    decision: Decision
    at: datetime
    reason: str = ""
    credential: str | None = None


@dataclass(slots=True)
class OriginalRequest:
    """What was asked before an operator edited it."""

    amount_usd: Usd
    tool: str | None = None
    arguments_hash: str | None = None
    target_resource: str | None = None
    arguments: str = ""


@dataclass(slots=True)
class Approval:
    """A request that waits, or waited, for a person: verified facts, and the agent's own words in `intent`
    and, of a model call, `prompt_end`, how its prompt ends: nobody judged that.

    `decided_by` is empty while open, for a timeout and for a withdrawal. `remind_at` is when to ask again, quietly.
    `operators` are the only ones who may decide; empty means any. Who decides has each of `approver_roles`; of each of
    `groups` so many must approve, and each person counts once. `missing` approvals are still needed of `quorum`.
    `content` is a fingerprint of what is asked: an edit by an operator changes it. `arguments` is all of the JSON that
    `arguments_hash` is of, with secrets as kind and keyed digest; only `get` reads it, and it is empty where none is
    kept. `original` is what was asked before an edit. `mixed_scripts` says of `agent_id`, `tool` and `target_resource`
    which scripts the name mixes, where it does: such a name may look like another. `looks_like` says which name in
    ASCII one that is wholly in another script may be taken for. `shown_at` says by channel when people were first shown
    it there. `simulated`: what a transaction of a chain would do, a line for each asset and approval. `plan`: what it
    is about where a workflow is to be approved as a whole; `workflow_id`: that one, or the one whose member asks beside
    its plan.
    """

    approval_id: str
    tenant: str
    status: ApprovalStatus
    agent_id: str
    session_id: str
    request_id: str
    grant_id: str
    intent: str
    resource_type: ResourceType
    amount_usd: Usd
    rule: str | None
    reason: str
    asked_at: datetime
    deadline: datetime
    remaining_budget_usd: Usd = field(default_factory=Decimal)
    budgets: tuple[BudgetLine, ...] = ()
    quorum: int = 1
    missing: int = 1
    operators: tuple[str, ...] = ()
    on_timeout: Decision = "reject"
    remind_at: datetime | None = None
    votes: tuple[Vote, ...] = ()
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision_reason: str = ""
    edited: bool = False
    tool: str | None = None
    arguments_hash: str | None = None
    target_resource: str | None = None
    task_type: str | None = None
    model: str | None = None
    priority: int = 5
    confidence: float | None = None
    metadata: dict[str, object] = field(default_factory=dict[str, object])
    content: str = ""
    prompt_end: str = ""
    arguments: str = ""
    original: OriginalRequest | None = None
    withdrawn_by: WithdrawnBy | None = None
    mixed_scripts: dict[str, str] = field(default_factory=dict[str, str])
    looks_like: dict[str, str] = field(default_factory=dict[str, str])
    shown_at: dict[str, datetime] = field(default_factory=dict[str, datetime])
    approver_roles: tuple[str, ...] = ()
    groups: dict[str, int] = field(default_factory=dict[str, int])
    simulated: tuple[str, ...] = ()
    plan: Plan | None = None
    workflow_id: str | None = None


@dataclass(slots=True)
class Envelope:
    """What was approved in advance, and how much of it is used."""

    envelope_id: str
    limit_usd: Usd
    used_usd: Usd
    uses: int
    author: str
    made_at: datetime
    expires_at: datetime
    agent_id: str | None = None
    session_id: str | None = None
    tool: str | None = None
    rule: str | None = None
    phrase: str | None = None
    resource_type: str | None = None
    reason: str = ""


def check_call(verdict: Verdict, tool: str, arguments_hash: str) -> None:
    """Make sure that a call is the one that a person approved.

    Raises:
        AegisDenied: another tool or other arguments were approved.
    """
    if verdict.tool is not None and verdict.tool != tool:
        problem = f"{verdict.tool} was approved, not {tool}"
    elif verdict.arguments_hash is not None and verdict.arguments_hash != arguments_hash:
        problem = f"{tool} was approved with other arguments"
    else:
        return
    raise AegisDenied(f"Aegis refused: {problem}.", verdict=verdict, code="not_approved")

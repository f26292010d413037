"""What a governor is to those who use it: the same messages, decided here on Redis or over HTTP by another process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Protocol

from aegis_core.protocol.activity import ActivityPage, ActivityQuery
from aegis_core.protocol.approvals import (
    Approval,
    ApprovalEdit,
    Decision,
    Envelope,
    EnvelopeRequest,
    Listing,
)
from aegis_core.protocol.chains import ChainStatus, QuoteTransaction, TransactionPreview
from aegis_core.protocol.events import Event, EventPage, EventQuery
from aegis_core.protocol.experiments import (
    Experiment,
    ExperimentChange,
    ExperimentExplanation,
    Experiments,
    ExperimentStart,
    PairNoted,
    PairPost,
)
from aegis_core.protocol.journal import JournalEntry, JournalRequest
from aegis_core.protocol.kaizen import Explanation, KaizenQuery, KaizenReport
from aegis_core.protocol.locks import (
    AcquireLock,
    LockState,
    LockSummary,
    LockTaken,
    NoticeListener,
    ReleaseLock,
    RenewLock,
)
from aegis_core.protocol.messages import (
    AgentSummary,
    BudgetReport,
    BudgetState,
    ExtendRequest,
    Handshake,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    SessionOpened,
    SettleRequest,
    Verdict,
)
from aegis_core.protocol.proposals import PolicyProposal, PolicyProposals, ProposalAct
from aegis_core.protocol.transactions import SendTransaction, TransactionOrder, TransactionReport
from aegis_core.protocol.workflows import (
    InviteRequest,
    JoinRequest,
    JoinToken,
    Workflow,
    WorkflowChange,
    WorkflowRequest,
)


class ApprovalsPort(Protocol):
    """The operators' side of approvals. Implemented by `HITLManager` (on Redis) and `RemoteApprovals` (over HTTP).

    `by` is who acts, as a credential said; over HTTP the server takes it from the credential and ignores this one.
    """

    async def get(self, approval_id: str, *, wait: float = 0) -> Approval:
        """One approval as it stands. With `wait`, up to so many seconds for news while it is open."""
        ...

    async def list(
        self, listing: Listing = "open", *, agent_id: str | None = None, after: str | None = None, limit: int = 100
    ) -> tuple[Approval, ...]:
        """A page of open approvals, the oldest first; or of ended ones, the newest first. It goes on after `after`."""
        ...

    async def decide(
        self, approval_id: str, decision: Decision, *, by: str, reason: str = "", edit: ApprovalEdit | None = None,
        content: str | None = None,
    ) -> Approval:  # fmt: skip
        """Say yes or no. The same word of the same operator again is a harmless repeat.

        Args:
            approval_id: the ``escalation_id`` of a verdict.
            decision: ``approve`` or ``reject``. With a quorum, one rejection is enough, and approvals are counted.
            by: who decides.
            reason: told to the agent, and to anyone who asks later.
            edit: approve another amount or other arguments; the policy judges the changed request first.
            content: `Approval.content` as it was looked at. An approval does not count for what was edited since.

        Raises:
            NotFoundError: no such approval.
            ConflictError: it was decided otherwise, edited since, timed out, or its agent is blocked; or the edit is
                refused, or the whole by a policy that is newer than the question.
            AuthError: its rule names other operators, or the amount is above this operator's own limit.
        """
        ...

    async def approve_ahead(self, envelope: EnvelopeRequest, *, by: str) -> Envelope:
        """Approve in advance what falls within an envelope. What exceeds it asks again."""
        ...

    async def envelopes(self) -> tuple[Envelope, ...]:
        """What is approved in advance now."""
        ...

    async def revoke(self, envelope_id: str, *, by: str) -> Envelope:
        """End an envelope at once; what it granted stays granted."""
        ...

    async def limits(self) -> dict[str, Decimal]:
        """Up to how much operators may approve; an operator who is not named may approve anything."""
        ...

    async def set_limit(self, operator: str, usd: object | None, *, by: str) -> None:
        """Set up to how much one operator may approve, from the next decision on; None lifts the limit."""
        ...


class LocksPort(Protocol):
    """Locks. Implemented by `StateLockManager` (on Redis) and `RemoteLocks` (over HTTP)."""

    async def acquire(
        self, resource: str, message: AcquireLock, *, token: str | None = None, wait: float = 0
    ) -> LockState: ...

    async def renew(
        self, resource: str, message: RenewLock, *, token: str | None = None, wait: float = 0
    ) -> LockState: ...

    async def release(self, message: ReleaseLock, *, token: str | None = None) -> LockState: ...

    async def overview(self, resource: str | None = None) -> tuple[LockSummary, ...]: ...

    async def force_release(
        self, resource: str, *, fence: int | None = None, author: str = "operator"
    ) -> tuple[LockTaken, ...]: ...

    def watch(
        self, resource: str, message: RenewLock, ear: NoticeListener, *, token: str | None = None
    ) -> Callable[[], None]: ...


class WorkflowsPort(Protocol):
    """Workflows. Implemented by `Workflows` (on Redis) and `RemoteWorkflows` (over HTTP).

    `token` is an opener's session token; without one an operator acts, by the name `by`, which a server reads from the
    credential.
    """

    async def open(self, message: WorkflowRequest, *, token: str | None = None) -> Workflow:
        """Ask people about a plan; it is in force once they approved it."""
        ...

    async def get(self, workflow_id: str, *, wait: float = 0, token: str | None = None) -> Workflow:
        """A workflow as it stands, with its members; with `wait`, as soon as people decided about it."""
        ...

    async def list(self, *, after: str | None = None, limit: int = 100) -> tuple[Workflow, ...]:
        """Workflows, the newest first; it goes on after one of them."""
        ...

    async def invite(
        self, workflow_id: str, message: InviteRequest, *, agent_id: str | None = None, token: str | None = None,
        by: str = "operator",
    ) -> JoinToken:  # fmt: skip
        """Make a join token, as the opener `agent_id` or as an operator."""
        ...

    async def join(self, message: JoinRequest) -> SessionOpened:
        """Open a session under a workflow's plan."""
        ...

    async def change(self, workflow_id: str, message: WorkflowChange, *, by: str) -> Workflow:
        """Make a plan smaller, before or after it was approved."""
        ...

    async def end(
        self, workflow_id: str, *, agent_id: str | None = None, token: str | None = None, by: str = "operator"
    ) -> Workflow:
        """End a workflow for every member at once. Again is harmless."""
        ...


class JournalPort(Protocol):
    """Implemented by `Journal` (on Redis) and by `RemoteJournal` (over HTTP)."""

    async def write(self, message: JournalRequest, *, token: str | None = None) -> JournalEntry: ...


class TransactionsPort(Protocol):
    """Transactions of chains. Implemented by `Transactions` (on Redis) and `RemoteTransactions` (over HTTP)."""

    async def open(self, order: TransactionOrder, *, token: str | None = None, wait: float = 0) -> Verdict: ...

    async def send(self, message: SendTransaction, *, token: str | None = None) -> TransactionReport: ...

    async def report(
        self, grant_id: str, agent_id: str | None, *, token: str | None = None, wait: float = 0
    ) -> TransactionReport: ...

    async def status(self, *, token: str | None = None) -> tuple[ChainStatus, ...]: ...

    async def preview(self, message: QuoteTransaction, *, token: str | None = None) -> TransactionPreview: ...


class ExperimentsPort(Protocol):
    """Shadow experiments. Implemented by `TenantExperiments` (on Redis) and `RemoteExperiments` (over HTTP)."""

    async def all(self) -> Experiments: ...

    async def start(self, wish: ExperimentStart, *, author: str) -> Experiment: ...

    async def change(self, name: str, wish: ExperimentChange, *, author: str) -> Experiment: ...

    async def explain(self, name: str) -> ExperimentExplanation: ...

    async def post(self, pair: PairPost) -> PairNoted: ...


class ProposalsPort(Protocol):
    """Proposals of Kaizen. Implemented by `TenantProposals` (on Redis) and `RemoteProposals` (over HTTP)."""

    async def all(self) -> PolicyProposals: ...

    async def one(self, name: str) -> PolicyProposal: ...

    async def act(self, name: str, wish: ProposalAct, *, author: str) -> PolicyProposal: ...


class GovernorPort(Protocol):
    """Implemented by `ResourceGovernor` (on Redis) and `RemoteGovernor` (over HTTP)."""

    tenant: str

    @property
    def approvals(self) -> ApprovalsPort: ...

    @property
    def locks(self) -> LocksPort: ...

    @property
    def journal(self) -> JournalPort: ...

    @property
    def transactions(self) -> TransactionsPort: ...

    @property
    def experiments(self) -> ExperimentsPort: ...

    @property
    def proposals(self) -> ProposalsPort: ...

    @property
    def workflows(self) -> WorkflowsPort: ...

    async def handshake(self, message: Handshake) -> SessionOpened: ...

    async def request_permission(
        self, request: PermissionRequest, *, token: str | None = None, wait: float = 0
    ) -> Verdict: ...

    async def settle(self, grant_id: str, message: SettleRequest, *, token: str | None = None) -> Receipt: ...

    async def release(self, grant_id: str, message: ReleaseRequest, *, token: str | None = None) -> Receipt: ...

    async def extend(self, grant_id: str, message: ExtendRequest, *, token: str | None = None) -> Receipt: ...

    async def budget(self, agent_id: str) -> BudgetReport: ...

    async def set_budget(
        self, scope: str, name: str, window: str, limit_usd: object, *, author: str = "operator"
    ) -> BudgetState: ...

    async def label_agent(self, agent_id: str, labels: dict[str, str], *, author: str = "operator") -> None: ...

    async def agents(self, *, after: str | None = None, limit: int = 100) -> tuple[AgentSummary, ...]: ...

    async def events(self, *, after: str = "0", limit: int = 100, wait: float = 0) -> tuple[Event, ...]: ...

    async def latest_events(self, limit: int) -> tuple[Event, ...]: ...

    async def find_events(self, query: EventQuery) -> EventPage: ...

    async def event(self, event_id: str) -> Event: ...

    async def activity(self, query: ActivityQuery) -> ActivityPage: ...

    async def kaizen_report(self, query: KaizenQuery) -> KaizenReport: ...

    async def kaizen_explain(self, name: str) -> Explanation: ...

    def follow(self, *, after: str = "$") -> AsyncIterator[Event]: ...

    async def aclose(self) -> None: ...

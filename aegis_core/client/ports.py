"""What a governor is to those who use it: the same messages, decided here on Redis or over HTTP by another process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Protocol

from aegis_core.protocol.approvals import (
    Approval,
    ApprovalEdit,
    Decision,
    Envelope,
    EnvelopeRequest,
    Listing,
)
from aegis_core.protocol.journal import JournalEntry, JournalRequest
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
    Event,
    ExtendRequest,
    Handshake,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    SessionOpened,
    SettleRequest,
    Verdict,
)


class ApprovalsPort(Protocol):
    """The operators' side of approvals. Implemented by `HITLManager` (on Redis) and `RemoteApprovals` (over HTTP).

    `by` is who acts, as a credential said; over HTTP the server takes it from the credential and ignores this one.
    """

    async def get(self, approval_id: str, *, wait: float = 0) -> Approval: ...

    async def list(
        self, listing: Listing = "open", *, agent_id: str | None = None, after: str | None = None, limit: int = 100
    ) -> tuple[Approval, ...]: ...

    async def decide(
        self, approval_id: str, decision: Decision, *, by: str, reason: str = "", edit: ApprovalEdit | None = None,
        content: str | None = None,
    ) -> Approval: ...  # fmt: skip

    async def approve_ahead(self, envelope: EnvelopeRequest, *, by: str) -> Envelope: ...

    async def envelopes(self) -> tuple[Envelope, ...]: ...

    async def revoke(self, envelope_id: str, *, by: str) -> Envelope: ...

    async def limits(self) -> dict[str, Decimal]: ...

    async def set_limit(self, operator: str, usd: object | None, *, by: str) -> None: ...


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


class JournalPort(Protocol):
    """Implemented by `Journal` (on Redis) and by `RemoteJournal` (over HTTP)."""

    async def write(self, message: JournalRequest, *, token: str | None = None) -> JournalEntry: ...


class GovernorPort(Protocol):
    """Implemented by `ResourceGovernor` (on Redis) and `RemoteGovernor` (over HTTP)."""

    tenant: str

    @property
    def approvals(self) -> ApprovalsPort: ...

    @property
    def locks(self) -> LocksPort: ...

    @property
    def journal(self) -> JournalPort: ...

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

    def follow(self, *, after: str = "$") -> AsyncIterator[Event]: ...

    async def aclose(self) -> None: ...

"""What a governor is to those who use it: the same messages, decided here on Redis or over HTTP by another process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from aegis_core.journal_protocol import JournalEntry, JournalRequest
from aegis_core.protocol import (
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


class JournalPort(Protocol):
    """Implemented by `Journal` (on Redis) and by `RemoteJournal` (over HTTP)."""

    async def write(self, message: JournalRequest, *, token: str | None = None) -> JournalEntry: ...


class GovernorPort(Protocol):
    """Implemented by `ResourceGovernor` (on Redis) and `RemoteGovernor` (over HTTP)."""

    tenant: str

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

"""The same interface for plain code: one background event loop, and one thin bridge to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Any, TypeVar

from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.client.grants import Grant
from aegis_core.client.leases import HELD, Lease
from aegis_core.client.lock_block import LockBlock, leave
from aegis_core.client.sync_approvals import SyncApprovals
from aegis_core.protocol.journal import JournalAct, JournalEntry
from aegis_core.protocol.locks import LockSummary
from aegis_core.protocol.messages import (
    AgentSummary,
    BudgetReport,
    BudgetState,
    Event,
    Framework,
    Receipt,
    ResourceType,
    SessionOpened,
    Usage,
    Verdict,
)
from aegis_core.protocol.money import UsdLike

_T = TypeVar("_T")


class Portal:
    """An event loop in a thread of its own. Usable from any thread, also while another loop runs in the caller's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aegis", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end and answer its result; an interrupted caller cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[_T]) -> Generator[_T, None, None]:
        """Enter an async context manager for a plain ``with`` block."""
        value = self.run(_enter(manager))
        try:
            yield value
        except BaseException as error:
            if not self.run(_exit(manager, error)):
                raise
        else:
            self.run(_exit(manager, None))

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _enter(manager: AbstractAsyncContextManager[_T]) -> _T:
    return await manager.__aenter__()


async def _exit(manager: AbstractAsyncContextManager[Any], error: BaseException | None) -> bool | None:
    return await manager.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)


class SyncGovernor:
    """`Governor` for plain code. Made by `aegis_core.connect_sync`."""

    def __init__(self, portal: Portal, inner: Governor) -> None:
        self._portal, self._inner = portal, inner

    @property
    def tenant(self) -> str:
        """The tenant that this connection speaks for."""
        return self._inner.tenant

    def handshake(
        self,
        agent_id: str,
        *,
        framework: Framework = "custom",
        capabilities: tuple[str, ...] | list[str] = (),
        max_priority: int = 5,
        session_budget_usd: UsdLike | None = None,
    ) -> SyncGovernedAgent:
        """As `Governor.handshake`."""
        agent = self._portal.run(
            self._inner.handshake(
                agent_id,
                framework=framework,
                capabilities=capabilities,
                max_priority=max_priority,
                session_budget_usd=session_budget_usd,
            )
        )
        return SyncGovernedAgent(self._portal, agent)

    def rejoin(self, session: SessionOpened) -> SyncGovernedAgent:
        """As `Governor.rejoin`."""
        return SyncGovernedAgent(self._portal, self._portal.run(self._inner.rejoin(session)))

    @property
    def approvals(self) -> SyncApprovals:
        """As `Governor.approvals`."""
        return SyncApprovals(self._portal.run, self._inner.approvals)

    @property
    def inner(self) -> Governor:
        """The governor itself, whose methods are awaited in the loop of its connection."""
        return self._inner

    def budget(self, agent_id: str) -> BudgetReport:
        """As `Governor.budget`."""
        return self._portal.run(self._inner.budget(agent_id))

    def set_budget(
        self, scope: str, name: str, window: str, limit_usd: UsdLike, *, author: str = "operator"
    ) -> BudgetState:
        """As `Governor.set_budget`."""
        return self._portal.run(self._inner.set_budget(scope, name, window, limit_usd, author=author))

    def locks(self, resource: str | None = None) -> tuple[LockSummary, ...]:
        """As `Governor.locks`."""
        return self._portal.run(self._inner.locks(resource))

    def agents(self, *, after: str | None = None, limit: int = 100) -> tuple[AgentSummary, ...]:
        """As `Governor.agents`."""
        return self._portal.run(self._inner.agents(after=after, limit=limit))

    def events(self, *, after: str = "0", limit: int = 100, wait: float = 0) -> tuple[Event, ...]:
        """As `Governor.events`."""
        return self._portal.run(self._inner.events(after=after, limit=limit, wait=wait))


class SyncGovernedAgent:
    """`GovernedAgent` for plain code."""

    def __init__(self, portal: Portal, inner: GovernedAgent) -> None:
        self._portal, self._inner = portal, inner

    @property
    def inner(self) -> GovernedAgent:
        """The agent itself, whose methods are awaited in the loop of its connection."""
        return self._inner

    @property
    def agent_id(self) -> str:
        """The agent's name, normalised."""
        return self._inner.agent_id

    @property
    def session(self) -> SessionOpened:
        """What the handshake answered."""
        return self._inner.session

    def request(
        self, intent: str, *, resource_type: ResourceType = "llm_tokens", wait: float = 0, **fields: Any
    ) -> Verdict:
        """As `GovernedAgent.request`."""
        return self._portal.run(self._inner.request(intent, resource_type=resource_type, wait=wait, **fields))

    @contextmanager
    def permit(
        self, intent: str, *, resource_type: ResourceType = "llm_tokens", **fields: Any
    ) -> Generator[SyncGrant, None, None]:
        """As `GovernedAgent.permit`."""
        with self._portal.hold(self._inner.permit(intent, resource_type=resource_type, **fields)) as grant:
            if grant.lease is not None:
                HELD.set((*HELD.get(), grant.lease))
            try:
                yield SyncGrant(self._portal, grant)
            finally:  # perhaps in another context than the one that entered
                HELD.set(tuple(held for held in HELD.get() if held is not grant.lease))

    def lock(self, resource: str, **wish: Any) -> SyncLockBlock:
        """As `GovernedAgent.lock`, for a plain ``with`` block."""
        return SyncLockBlock(self._portal, self._inner.lock(resource, **wish))

    def lock_all(self, *resources: str, **wish: Any) -> SyncLockBlock:
        """As `GovernedAgent.lock_all`, for a plain ``with`` block."""
        return SyncLockBlock(self._portal, self._inner.lock_all(*resources, **wish))

    def settle(
        self, grant_id: str, *, cost_usd: UsdLike | None = None, usage: Usage | None = None,
        escalation_usage: Usage | None = None, outcome: float | None = None,
    ) -> Receipt:  # fmt: skip
        """As `GovernedAgent.settle`."""
        return self._portal.run(
            self._inner.settle(
                grant_id, cost_usd=cost_usd, usage=usage, escalation_usage=escalation_usage, outcome=outcome
            )
        )

    def release(self, grant_id: str) -> Receipt:
        """As `GovernedAgent.release`."""
        return self._portal.run(self._inner.release(grant_id))

    def extend(self, grant_id: str, seconds: float = 600) -> Receipt:
        """As `GovernedAgent.extend`."""
        return self._portal.run(self._inner.extend(grant_id, seconds))

    def journal(
        self, act: JournalAct, key: str, *, runner: str | None = None, result: str | None = None
    ) -> JournalEntry:
        """As `GovernedAgent.journal`."""
        return self._portal.run(self._inner.journal(act, key, runner=runner, result=result))

    def budget(self) -> BudgetReport:
        """As `GovernedAgent.budget`."""
        return self._portal.run(self._inner.budget())


class SyncGrant:
    """`Grant` for plain code."""

    def __init__(self, portal: Portal, inner: Grant) -> None:
        self._portal, self._inner = portal, inner

    @property
    def verdict(self) -> Verdict:
        """The verdict that granted it."""
        return self._inner.verdict

    @property
    def grant_id(self) -> str:
        """The id under which the money is held."""
        return self._inner.grant_id

    @property
    def model(self) -> str | None:
        """The model to use."""
        return self._inner.model

    @property
    def lease(self) -> SyncLease | None:
        """The lock that came with the money, where it was asked for."""
        return None if self._inner.lease is None else SyncLease(self._portal, self._inner.lease)

    @property
    def fence(self) -> int:
        """As `Grant.fence`."""
        return self._inner.fence

    @property
    def receipt(self) -> Receipt | None:
        """What became of it, once the block has ended."""
        return self._inner.receipt

    def check(self, tool: str, arguments: object) -> None:
        """As `Grant.check`."""
        self._inner.check(tool, arguments)

    def settle(
        self, *, cost_usd: UsdLike | None = None, usage: Usage | None = None, escalation_usage: Usage | None = None,
        outcome: float | None = None,
    ) -> None:  # fmt: skip
        """As `Grant.settle`."""
        self._inner.settle(cost_usd=cost_usd, usage=usage, escalation_usage=escalation_usage, outcome=outcome)

    def release(self) -> None:
        """As `Grant.release`."""
        self._inner.release()

    def extend(self, seconds: float = 600) -> Receipt:
        """As `Grant.extend`."""
        return self._portal.run(self._inner.extend(seconds))


class SyncLockBlock:
    """`LockBlock` for a plain ``with`` block."""

    def __init__(self, portal: Portal, inner: LockBlock) -> None:
        self._portal, self._inner = portal, inner
        self._lease: Lease | None = None

    def __enter__(self) -> SyncLease:
        around = HELD.get()
        self._lease = lease = self._portal.run(self._inner.acquire(around))
        HELD.set((*around, lease))
        return SyncLease(self._portal, lease)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lease is not None:
            leave(self._lease)
        self._portal.run(self._inner.release(failed=error is not None))


class SyncLease:
    """`Lease` for plain code. `evicting` is a ``threading.Event``."""

    def __init__(self, portal: Portal, inner: Lease) -> None:
        self._portal, self._inner = portal, inner
        self.evicting = inner.thread_evicting = inner.thread_evicting or threading.Event()
        if inner.evicting.is_set():
            self.evicting.set()

    @property
    def resource(self) -> str:
        """The lock's name."""
        return self._inner.resource

    @property
    def token(self) -> str:
        """What proves the lease."""
        return self._inner.token

    @property
    def fence(self) -> int:
        """As `Lease.fence`."""
        return self._inner.fence

    @property
    def fences(self) -> dict[str, int]:
        """The fence of each lock that was taken."""
        return self._inner.fences

    @property
    def lost(self) -> bool:
        """As `Lease.lost`."""
        return self._inner.lost

    def check(self) -> None:
        """As `Lease.check`."""
        self._inner.check()

    def renew(self) -> None:
        """As `Lease.renew`."""
        self._portal.run(self._inner.renew())

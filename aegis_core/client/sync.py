"""The same interface for plain code. What only waits is bridged as it stands; see `portal`."""

from __future__ import annotations

import threading
from collections.abc import Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType

from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.client.grants import Grant
from aegis_core.client.leases import HELD, Lease
from aegis_core.client.lock_block import LockBlock, leave
from aegis_core.client.portal import Bridged, Portal, as_it_is
from aegis_core.client.sync_approvals import SyncApprovals, SyncWorkflows
from aegis_core.client.sync_grants import BridgedGrant
from aegis_core.client.sync_wallets import SyncWallet
from aegis_core.client.ties import End, tie_to_thread
from aegis_core.client.workflows import Flow, WorkflowBlock
from aegis_core.protocol.messages import Framework, Receipt, SessionOpened
from aegis_core.protocol.workflows import Workflow


class SyncLease(Bridged[Lease]):
    """`Lease` for plain code. `evicting` is a ``threading.Event``."""

    def __init__(self, portal: Portal, inner: Lease) -> None:
        super().__init__(portal, inner)
        self.evicting = inner.thread_evicting = inner.thread_evicting or threading.Event()
        if inner.evicting.is_set():
            self.evicting.set()

    check = Bridged.method(Lease.check, as_it_is)
    renew = Bridged.method(Lease.renew, Portal.run)

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
        """The fence of `resource`.

        Raises:
            LockLostError: the lease is no more.
        """
        return self._inner.fence

    @property
    def fences(self) -> dict[str, int]:
        """The fence of each lock that was taken."""
        return self._inner.fences

    @property
    def lost(self) -> bool:
        """True once the lease is no more."""
        return self._inner.lost


class SyncLockBlock(Bridged[LockBlock]):
    """`LockBlock` for a plain ``with`` block. One that is entered by hand ends with its thread."""

    _lease: Lease | None = None
    _untie: End | None = None

    def hand_over(self) -> None:
        """Let another thread leave this block; see `LockBlock.hand_over`."""
        if self._untie is not None:
            self._untie()
            self._untie = None
        if self._lease is not None:
            leave(self._lease)

    def __enter__(self) -> SyncLease:
        around = HELD.get()
        self._portal.settle()
        self._lease = lease = self._portal.run(self._inner.acquire(around))
        portal, inner = self._portal, self._inner
        self._untie = tie_to_thread(lambda: portal.post(inner.abandon))
        HELD.set((*around, lease))
        return SyncLease(self._portal, lease)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hand_over()
        if self._lease is not None and self._lease.inherited:
            return
        self._portal.run(self._inner.release(failed=error is not None))


class SyncGrant(BridgedGrant[Grant]):
    """`Grant` for plain code."""

    check = Bridged.method(Grant.check, as_it_is)
    settle = Bridged.method(Grant.settle, as_it_is)
    release = Bridged.method(Grant.release, as_it_is)
    extend = Bridged.method(Grant.extend, Portal.run)

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
        """The fence of its lock.

        Raises:
            LockLostError: the lease is no more, or there never was one.
        """
        return self._inner.fence

    @property
    def receipt(self) -> Receipt | None:
        """What became of it, once the block has ended."""
        return self._inner.receipt


@contextmanager
def _held(portal: Portal, permit: AbstractAsyncContextManager[Grant]) -> Generator[SyncGrant]:
    with portal.hold(permit) as grant:
        if grant.lease is not None:
            HELD.set((*HELD.get(), grant.lease))
        try:
            yield SyncGrant(portal, grant)
        finally:  # perhaps in another context than the one that entered
            HELD.set(tuple(held for held in HELD.get() if held is not grant.lease))


class SyncGovernedAgent(Bridged[GovernedAgent]):
    """`GovernedAgent` for plain code."""

    request = Bridged.method(GovernedAgent.request, Portal.run)
    permit = Bridged.method(GovernedAgent.permit, _held)
    lock = Bridged.method(GovernedAgent.lock, SyncLockBlock)
    lock_all = Bridged.method(GovernedAgent.lock_all, SyncLockBlock)
    settle = Bridged.method(GovernedAgent.settle, Portal.run)
    release = Bridged.method(GovernedAgent.release, Portal.run)
    extend = Bridged.method(GovernedAgent.extend, Portal.run)
    journal = Bridged.method(GovernedAgent.journal, Portal.run)
    budget = Bridged.method(GovernedAgent.budget, Portal.run)
    wallet = Bridged.method(GovernedAgent.wallet, SyncWallet)

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


def _agent(portal: Portal, work: Coroutine[object, object, GovernedAgent]) -> SyncGovernedAgent:
    return SyncGovernedAgent(portal, portal.run(work))


class SyncFlow(Bridged[Flow]):
    """`Flow` for plain code."""

    join = Bridged.method(Flow.join, _agent)
    invite = Bridged.method(Flow.invite, Portal.run)
    report = Bridged.method(Flow.report, Portal.run)
    end = Bridged.method(Flow.end, Portal.run)

    def __init__(self, portal: Portal, inner: Flow) -> None:
        super().__init__(portal, inner)
        self._members: dict[tuple[str, Framework], SyncGovernedAgent] = {}

    def member(self, agent_id: str, framework: Framework) -> SyncGovernedAgent:
        """The session of an agent, which joins on first use: for adapters, whose parts share it."""
        key = (agent_id, framework)
        if key not in self._members:
            self._members[key] = self.join(agent_id, framework=framework)
        return self._members[key]

    @property
    def workflow_id(self) -> str:
        """Its name for operators."""
        return self._inner.workflow_id

    @property
    def workflow(self) -> Workflow:
        """As it was approved; `report` reads it again."""
        return self._inner.workflow


@contextmanager
def _flowing(portal: Portal, block: WorkflowBlock) -> Generator[SyncFlow]:
    with portal.hold(block) as flow:
        yield SyncFlow(portal, flow)


class SyncGovernor(Bridged[Governor]):
    """`Governor` for plain code. Made by `aegis_core.connect_sync`."""

    handshake = Bridged.method(Governor.handshake, _agent)
    rejoin = Bridged.method(Governor.rejoin, _agent)
    workflow = Bridged.method(Governor.workflow, _flowing)
    join = Bridged.method(Governor.join, _agent)
    budget = Bridged.method(Governor.budget, Portal.run)
    set_budget = Bridged.method(Governor.set_budget, Portal.run)
    locks = Bridged.method(Governor.locks, Portal.run)
    agents = Bridged.method(Governor.agents, Portal.run)
    events = Bridged.method(Governor.events, Portal.run)
    find_events = Bridged.method(Governor.find_events, Portal.run)
    activity = Bridged.method(Governor.activity, Portal.run)
    kaizen_report = Bridged.method(Governor.kaizen_report, Portal.run)

    @property
    def tenant(self) -> str:
        """The tenant that this connection speaks for."""
        return self._inner.tenant

    @property
    def approvals(self) -> SyncApprovals:
        """Requests that wait for a person (operators)."""
        return SyncApprovals(self._portal, self._inner.connection)

    @property
    def workflows(self) -> SyncWorkflows:
        """All workflows of the tenant (operators)."""
        return SyncWorkflows(self._portal, self._inner.connection)

    @property
    def inner(self) -> Governor:
        """The governor itself, whose methods are awaited in the loop of its connection."""
        return self._inner

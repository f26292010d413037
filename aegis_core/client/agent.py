"""What programs and adapters hold: a connected governor, its agents, and their grants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from secrets import token_hex
from typing import Unpack

from aegis_core.client.answers import RecentSizes, Settlement, settled, settlement_of
from aegis_core.client.connection import Connection, Opening
from aegis_core.client.grants import Grant, OnError, check_on_error
from aegis_core.client.lock_block import LockBlock, block_of, held_of, in_background
from aegis_core.client.observing import Observing
from aegis_core.client.ports import ApprovalsPort, GovernorPort
from aegis_core.client.tracing import current_traceparent
from aegis_core.client.wallets import Wallet
from aegis_core.client.workflows import Joining
from aegis_core.protocol.arguments import bound_arguments
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError, InvalidRequestError, StoreError
from aegis_core.protocol.events import Event
from aegis_core.protocol.journal import JournalAct, JournalEntry, JournalRequest
from aegis_core.protocol.keywords import CallEvidence, LockFields, RequestFields, SettleFields
from aegis_core.protocol.locks import LockSummary
from aegis_core.protocol.messages import (
    LOCK_TYPES,
    AgentSummary,
    BudgetReport,
    BudgetState,
    ExtendRequest,
    Framework,
    Handshake,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    SessionOpened,
    TakenBackBy,
    Verdict,
)
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.parsing import parse

_APPROVAL_WAIT = 604_800.0
"""Seconds a permit waits for a human: longer than any approval may stay open, whose own deadline ends the wait."""


class Governor(Observing, Joining):
    """A connection to a governor, local or remote. Made by `aegis_core.connect`."""

    def __init__(self, port: GovernorPort, opening: Opening | None = None) -> None:
        self.connection = Connection(port, opening)

    @property
    def tenant(self) -> str:
        """The tenant that this connection speaks for."""
        return self.port.tenant

    async def handshake(
        self,
        agent_id: str,
        *,
        framework: Framework = "custom",
        capabilities: tuple[str, ...] | list[str] = (),
        max_priority: int = 5,
        session_budget_usd: UsdLike | None = None,
    ) -> GovernedAgent:
        """Register an agent, or find it again, and open a session for it.

        Raises:
            InvalidRequestError: a name, priority or amount that cannot be accepted.
            StoreError: the governor cannot be reached.
        """
        message = parse(
            Handshake, agent_id=agent_id, agent_framework=framework, capabilities=tuple(capabilities),
            max_priority=max_priority, session_budget_usd=session_budget_usd,
        )  # fmt: skip
        return GovernedAgent(self.connection, await self.port.handshake(message))

    @property
    def approvals(self) -> ApprovalsPort:
        """Requests that wait for a person (operators)."""
        return self.port.approvals

    async def rejoin(self, session: SessionOpened) -> GovernedAgent:
        """Speak again for a session that was opened before, perhaps by another process."""
        return GovernedAgent(self.connection, session)

    async def budget(self, agent_id: str) -> BudgetReport:
        """Every budget that bounds an agent now."""
        return await self.port.budget(agent_id)

    async def set_budget(
        self, scope: str, name: str, window: str, limit_usd: UsdLike, *, author: str = "operator"
    ) -> BudgetState:
        """Set one limit (operators). Scopes: agent, session, tenant, model, resource, label (``team=research``)."""
        return await self.port.set_budget(scope, name, window, limit_usd, author=author)

    async def label_agent(self, agent_id: str, labels: dict[str, str], *, author: str = "operator") -> None:
        """Replace an agent's labels (operators); the budgets of its labels apply from the next request."""
        await self.port.label_agent(agent_id, labels, author=author)

    async def agents(self, *, after: str | None = None, limit: int = 100) -> tuple[AgentSummary, ...]:
        """A page of registered agents, by name."""
        return await self.port.agents(after=after, limit=limit)

    async def locks(self, resource: str | None = None) -> tuple[LockSummary, ...]:
        """Every lock that is held or waited for, or the one of that name: who holds it, and who waits."""
        return await self.port.locks.overview(resource)

    def follow(self, *, after: str = "$") -> AsyncIterator[Event]:
        """Every event from now on."""
        return self.port.follow(after=after)


class GovernedAgent:
    """One session of one agent: everything an adapter needs."""

    def __init__(self, connection: Connection, session: SessionOpened) -> None:
        self.connection, self.session, self._sizes = connection, session, RecentSizes()

    @property
    def _port(self) -> GovernorPort:
        return self.connection.port

    @property
    def agent_id(self) -> str:
        """The agent's name, normalised."""
        return self.session.agent_id

    async def request(self, intent: str, *, wait: float = 0, **fields: Unpack[RequestFields]) -> Verdict:
        """Ask. A refusal is a verdict, not an error. The current span of OpenTelemetry, if a program has one, is named.

        Args:
            intent: what the agent wants to do, in its own words.
            wait: seconds to wait while the verdict is PENDING.
            **fields: what else is to be said, such as ``resource_type`` or ``estimated_cost_usd``; see
                `RequestFields`. ``arguments`` are kept, masked, only while a person is asked.

        Raises:
            InvalidRequestError: a field that cannot be accepted. Nothing was decided.
            StoreError: the governor cannot be reached. Nothing was decided.
        """
        if "arguments" in fields:
            fields["arguments_hash"], fields["arguments_json"] = bound_arguments(fields.pop("arguments"))
        if fields.setdefault("resource_type", "llm_tokens") in LOCK_TYPES and "within" not in fields:
            fields["within"] = held_of(self.session)
        if "traceparent" not in fields and (trace := current_traceparent()) is not None:
            fields["traceparent"] = trace
        request = parse(
            PermissionRequest, agent_id=self.session.agent_id, task_intent=intent,
            session_id=self.session.session_id, **fields,
        )  # fmt: skip
        verdict = await self._port.request_permission(request, token=self.session.session_token, wait=wait)
        self._sizes.keep(fields, verdict)
        return verdict

    @asynccontextmanager
    async def permit(
        self,
        intent: str,
        *,
        wait: float = _APPROVAL_WAIT,
        on_error: OnError = "charge",
        **fields: Unpack[RequestFields],
    ) -> AsyncGenerator[Grant]:
        """Ask, wait for an approval where one is needed, and hold the grant for the block.

        Leaving the block settles as `Grant.settle` said, or at the whole estimate when nothing was said. So does an
        exception, marked as estimated, because what failed may have been billed: a time-out, a cancellation, an answer
        that nobody could read. It gives the money back where certainly nothing was computed (a refused connection, a
        refused request, `AegisDenied`), and charges exactly where the error carries the usage. A lock
        (``resource_type="wallet_lock"``) is kept while the block runs; `Grant.fence` is its fence.

        Args:
            intent: what the agent wants to do, in its own words.
            wait: seconds to wait for an approval, or for the lock.
            on_error: ``release`` says of this block that an exception means that nothing was spent.
            **fields: as for `request`.

        Raises:
            InvalidRequestError: a field that cannot be accepted. Nothing was decided.
            AegisDenied: refused, or not approved (or the lock not had) within `wait` seconds.
            LockLostError: the lock was lost before the block ended, so others may have been in it, too.
        """
        check_on_error(on_error)
        abandoned = None
        if fields.get("resource_type") in LOCK_TYPES and fields.get("request_id") is None:
            fields["request_id"] = name = token_hex(16)
            abandoned = "gr_" + record_id(self.agent_id, name)
        try:
            verdict = await self.request(intent, wait=wait, **fields)
        except (asyncio.CancelledError, StoreError):
            if abandoned is not None:  # nobody can come back for it, and it must keep nobody else out
                with suppress(asyncio.CancelledError):  # it goes on by itself
                    await asyncio.shield(in_background(self._withdraw(abandoned)))
            raise
        if not verdict.granted:
            raise await self._denial(verdict)
        grant = Grant(self, verdict, fields)
        try:
            if verdict.lock_token is None:
                yield grant
            else:  # kept alive meanwhile; the end of the grant gives it back
                ttl = fields.get("lock_ttl_seconds", 30)
                block = self.lock(verdict.lock_resource or "", token=verdict.lock_token, ttl=ttl)
                block.tells_of_loss = False  # not before the money is accounted
                async with block as grant.lease:
                    yield grant
        except BaseException as error:
            await asyncio.shield(in_background(grant.fail(error, on_error)))  # a second cancellation must not stop it
            raise
        await grant.finish()
        lease, receipt = grant.lease, grant.receipt
        if lease is not None and (lease.lost_in_use or (receipt is not None and receipt.lock_lost)):
            raise lease.lost_error()

    async def _denial(self, verdict: Verdict) -> AegisDenied:
        """The error of a permit that cannot begin, whose question, if it still waits, is withdrawn."""
        if verdict.status == "GRANTED":
            return AegisDenied(f"Aegis refused: this grant is already {verdict.state}.", verdict=verdict)
        if verdict.grant_id and verdict.state in {"live", "pending"}:
            await self.release(verdict.grant_id, by="caller")
        return AegisDenied(f"Aegis refused: {verdict.reason}", verdict=verdict)

    async def _withdraw(self, grant_id: str) -> None:
        with suppress(AegisError):
            await self.release(grant_id, by="caller")

    async def settle(self, grant_id: str, **said: Unpack[SettleFields]) -> Receipt:
        """Report the real cost of a grant.

        Args:
            grant_id: the grant.
            **said: dollars, token usage, or a provider's answer; see `SettleFields`.

        Raises:
            InvalidRequestError: an amount that cannot be accepted. UnknownModelError: a usage without a known price.
        """
        return await self.settle_as(grant_id, settlement_of(said, sizes=self._sizes.of(grant_id)))

    async def settle_as(self, grant_id: str, settlement: Settlement) -> Receipt:
        """Send what was made of the arguments of `settle`."""
        whose = Settlement(settlement.message.model_copy(update={"agent_id": self.agent_id}), settlement.read)
        token = self.session.session_token
        return await settled(lambda message: self._port.settle(grant_id, message, token=token), whose)

    async def release(self, grant_id: str, *, by: TakenBackBy = "agent", **went: Unpack[CallEvidence]) -> Receipt:
        """Give a grant back unused, or take a PENDING request back: nobody is asked any more; an event says by whom,
        and how a call `went` that certainly cost nothing."""
        message = parse(ReleaseRequest, agent_id=self.agent_id, **went, **({} if by == "agent" else {"by": by}))
        return await self._port.release(grant_id, message, token=self.session.session_token)

    async def extend(self, grant_id: str, seconds: float = 600) -> Receipt:
        """Keep a long call's grant alive for so many seconds from now, up to the tenant's cap."""
        message = parse(ExtendRequest, agent_id=self.agent_id, seconds=seconds)
        return await self._port.extend(grant_id, message, token=self.session.session_token)

    def lock(
        self,
        resource: str,
        *,
        wait: float | str = 60,
        ttl: float | str = 30,
        token: str | None = None,
        **wish: Unpack[LockFields],
    ) -> LockBlock:
        """Hold a lock for a block, across all processes and frameworks of the tenant.

        The lease renews itself while the block runs. When it was lost meanwhile, leaving the block raises.

        Args:
            resource: the lock's name.
            wait: how long to wait for it: seconds, or a text such as ``5s``. 0 only tries.
            ttl: after how long a crashed holder loses it.
            token: the token of a lease that is held already, to enter it once more.
            **wish: ``priority``, ``permits``, ``weight``, ``mode``, ``preemption``, ``grace_seconds``; see
                `LockFields`.

        Raises:
            LockTimeoutError: not free in time.
            LockPreemptedError: waiting would close a cycle of waits; leave the outer blocks and begin again.
            LockLostError: with `token`: that lease is no more.
            ConflictError: it is held with other `permits`, or in another way another lock than this; or a block around
                the running code holds it, so it would wait for itself.
            InvalidRequestError: a field that cannot be accepted.
        """
        return block_of(self.connection, self.session, (resource,), wait, ttl, token, wish)

    def lock_all(
        self, *resources: str, wait: float | str = 60, ttl: float | str = 30, **wish: Unpack[LockFields]
    ) -> LockBlock:
        """Hold several locks at once, all or none. Waiting for them holds none of them. Arguments as for `lock`."""
        if not resources:
            raise InvalidRequestError("resources: name at least one lock", field="resources")
        return block_of(self.connection, self.session, resources, wait, ttl, None, wish)

    def wallet(self, chain: str, address: str) -> Wallet:
        """An account of a chain that this agent's profile lists, to send transactions of: see `Wallet.transact`."""
        return Wallet(self, chain, address)

    async def journal(
        self,
        act: JournalAct,
        key: str,
        *,
        runner: str | None = None,
        result: str | None = None,
        thread: str | None = None,
    ) -> JournalEntry:
        """Start, finish or look up a side effect that must not run twice; see `aegis_core.governor.journal`.

        With ``fail``, `thread` names the conversation that cannot go on because of it: an event tells operators.

        Raises:
            ConflictError: another attempt started it, or the journal is full of unknown outcomes.
        """
        asked = {"act": act, "key": key, "runner": runner, "result": result, "thread": thread}
        message = parse(JournalRequest, agent_id=self.agent_id, **asked)
        return await self._port.journal.write(message, token=self.session.session_token)

    async def budget(self) -> BudgetReport:
        """Every budget that bounds this agent now."""
        return await self._port.budget(self.agent_id)

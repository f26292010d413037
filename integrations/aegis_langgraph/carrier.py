"""Going on with one thread, under a lease: what its question was answered, or from where its process died."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from langgraph.types import Command, StateSnapshot

from aegis_core.adapting import Bridge
from aegis_core.client.agent import Governor
from aegis_core.protocol.approvals import Approval, Listing
from aegis_core.protocol.canonical import digest, storable
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError, ConflictError, StoreError
from aegis_core.protocol.journal import JournalEntry
from aegis_core.protocol.messages import ReleaseRequest
from aegis_core.protocol.parsing import parse
from aegis_langgraph.graph_threads import GraphThreads
from aegis_langgraph.moving_on import has_moved_on
from aegis_langgraph.pauses import decided, is_stalled, moment_of, questions_of
from aegis_langgraph.resume_lease import ResumeLease
from aegis_langgraph.resumed import Resumed

_log, _PAGE = logging.getLogger("aegis.langgraph"), 100


class OverError(Exception):
    """The thread has ended, or is another graph's."""


class Carrier:
    """Goes on with threads of a graph.

    Args:
        threads: of the graph.
        governor: the connection to Aegis, whose methods are awaited by `bridge`.
        bridge: to the agent under whose name the leases are held.
        lease_seconds: see `ApprovalResumer`. stalled_seconds: as well.
    """

    def __init__(
        self,
        threads: GraphThreads,
        governor: Governor,
        bridge: Bridge,
        *,
        lease_seconds: float,
        stalled_seconds: float,
    ) -> None:
        self._threads, self._governor, self._bridge = threads, governor, bridge
        self._lease, self._stalled = lease_seconds, timedelta(seconds=stalled_seconds)
        self._failed_at: dict[str, str] = {}

    async def carry_on(self, thread: str, *, dead: bool) -> Resumed | None:
        """Go on with a thread if it is decided, or if its process is `dead` or taken for it. None: not now.

        Raises:
            OverError: there is nothing to go on with.
        """
        state = await self._threads.state(thread)
        if not state.tasks:
            self._failed_at.pop(thread, None)
            raise OverError
        if state.interrupts:
            found = {key: await decided(question, self._get) for key, question in questions_of(state).items()}
            values = {key: value for key, value in found.items() if value is not None}
            return await self.claimed(thread, state, values) if values else None
        dead = dead or is_stalled(state, self._stalled) or self._failed_at.get(thread) == moment_of(state)
        return await self.claimed(thread, state, None) if dead else None

    async def claimed(self, thread: str, state: StateSnapshot, values: dict[str, Any] | None) -> Resumed | None:
        """Go on under a lease, unless another does or the thread has moved meanwhile."""
        moment = moment_of(state)
        claim = ResumeLease(self._write, thread, moment, self._lease)
        if not await claim.take():
            return None
        failed = True
        try:
            if moment_of(await self._threads.state(thread)) != moment:
                failed = False
                return None
            given = None if values is None else Command(resume=values)
            resumed = await self._kept(claim, self._threads.go_on(thread, given), thread)
            # A refusal that ends the run is its end: tried again, it would be refused again.
            failed = resumed.error is not None and AegisDenied.from_exception(resumed.error) is None
        finally:
            await claim.end(failed=failed)
        if failed:  # and nobody runs it now, so where it stands it is carried on without waiting until it has stalled
            with suppress(Exception):  # of the checkpointer, perhaps the same again
                self._failed_at[thread] = moment_of(await self._threads.state(thread))
        return resumed

    async def withdraw_left(self, thread: str, approvals: Iterable[Approval]) -> None:
        """Take back those questions that the thread went on without; their money is returned."""
        state = await self._threads.state(thread)
        for each in approvals:
            if await has_moved_on(self._threads, thread, state, each):
                _log.info("Thread %s went on without approval %s, which is withdrawn", thread, each.approval_id)
                await self._withdraw(each)

    async def tell(self, thread: str, error: Exception) -> None:
        """Let operators hear by an event that a thread cannot be carried on: once an hour of the same error."""
        text = storable(f"{type(error).__name__}: {error}")
        key = "failed_" + digest(thread, text, str(int(time.time() // 3_600)))
        runner = uuid4().hex
        try:
            if (await self._write("start", key, runner=runner)).state == "started":
                await self._write("fail", key, runner=runner, result=text[:1_000], thread=storable(thread)[:256])
        except AegisError as problem:
            _log.warning("That thread %s failed could not be told: %s", thread, problem)

    async def listed(self, listing: Listing) -> dict[str, list[Approval]]:
        """The approvals of this kind that belong to a thread, by thread."""
        found: dict[str, list[Approval]] = {}
        after: str | None = None
        while True:
            list_ = partial(self._governor.approvals.list, listing, after=after, limit=_PAGE)
            page = await self._bridge.await_(list_)
            for each in page:
                if each.metadata.get("thread"):
                    found.setdefault(str(each.metadata["thread"]), []).append(each)
            if len(page) < _PAGE:
                return found
            after = page[-1].approval_id

    async def newest_event(self) -> str:
        """The id of the newest event."""
        latest = await self._bridge.await_(lambda: self._governor.latest_events(1))
        return latest[-1].id if latest else "0"

    async def next_event(self, after: str, seconds: float) -> str:
        """Wait so long until something happens after an event; answers the id of what happened last."""
        events = await self._bridge.await_(partial(self._governor.events, after=after, limit=500, wait=seconds))
        return events[-1].id if events else after

    async def _withdraw(self, approval: Approval) -> None:
        message = parse(ReleaseRequest, agent_id=approval.agent_id, by="thread")
        try:
            await self._bridge.await_(lambda: self._governor.port.release(approval.grant_id, message))
        except ConflictError as error:  # it was decided meanwhile
            _log.info("Approval %s was not withdrawn: %s", approval.approval_id, error)

    async def _get(self, approval_id: str) -> Approval:
        return await self._bridge.await_(lambda: self._governor.approvals.get(approval_id))

    async def _write(self, act: Any, key: str, **fields: Any) -> JournalEntry:
        return await self._bridge.await_(lambda: self._bridge.agent.journal(act, key, **fields))

    async def _kept(self, claim: ResumeLease, work: Coroutine[object, object, object], thread: str) -> Resumed:
        """Carry the work out, keeping the lease meanwhile."""
        running = asyncio.ensure_future(work)
        while not (await asyncio.wait({running}, timeout=self._lease / 3))[0]:
            try:
                if await claim.renew():
                    continue
            except StoreError as error:
                _log.warning("The lease on thread %s could not be renewed: %s", thread, error)
                continue
            _log.warning("The lease on thread %s was lost while its graph ran", thread)
            break
        try:
            return Resumed(thread, await running)
        except Exception as error:  # noqa: BLE001 - the graph's own, which must not stop the other threads
            _log.warning("Thread %s could not be carried on: %s", thread, error)
            return Resumed(thread, error=error)

"""What resumes paused threads when an operator has decided: from any process, once."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command, StateSnapshot

from aegis_core.adapting import Bridge
from aegis_core.client.agent import Governor
from aegis_core.client.sync import SyncGovernor
from aegis_core.protocol.approvals import Approval, Listing
from aegis_core.protocol.errors import ConfigurationError, StoreError
from aegis_core.protocol.journal import JournalEntry
from aegis_langgraph.pauses import Decisions, answered, decided, is_stalled, moment_of, questions_of
from aegis_langgraph.resume_lease import ResumeLease
from aegis_langgraph.resumed import Resumed, raised

_T = TypeVar("_T")
_log, _PAGE = logging.getLogger("aegis.langgraph"), 100


class ApprovalResumer:
    """Carries on threads of a graph whose approvals are decided. Run one in as many processes as you like.

    With a `SyncGovernor` the graph's plain methods are called and `run_once` and `run` are yours; with a `Governor` its
    async methods, `arun_once` and `arun`. What operators decided is read from Aegis; the values that a thread is
    resumed with are checked before, because one of the wrong form would stay with the thread.

    Args:
        graph_or_factory: a compiled graph with a checkpointer that is shared by the processes, or a function (plain or
            async) that makes one.
        governor: the connection to Aegis, with the credential of an operator where keys are used.
        name: the agent under whose name the resumers of this graph hold their leases; the same for all of them.
        lease_seconds: how long a resumer may stay silent before another takes its thread over.
        stalled_seconds: when a thread with a decided approval has neither paused nor moved for so long, its process is
            taken for dead and it is carried on. Longer than the longest tool.
        config: further keys of the config that threads run with, such as ``callbacks``.

    Raises:
        ConfigurationError: the graph has no checkpointer, or `governor` is no connection to Aegis.
    """

    def __init__(
        self,
        graph_or_factory: Any,
        governor: SyncGovernor | Governor,
        *,
        name: str,
        lease_seconds: float = 30,
        stalled_seconds: float = 300,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(governor, SyncGovernor | Governor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"governor= takes what `connect` or `connect_sync` gives; this is of type {type(governor).__name__}."
            )
        self._made, self._governor, self._name = graph_or_factory, governor, name
        self._lease, self._stalled = lease_seconds, timedelta(seconds=stalled_seconds)
        self._config = dict(config or {})
        self._graph: object = _checked(graph_or_factory) if hasattr(graph_or_factory, "checkpointer") else None
        self._bridge: Bridge | None = None
        self._threads: dict[str, None] = {}
        self._scanned = False

    def run_once(self) -> list[Resumed]:
        """Carry on every thread that is decided now; answers those that this call carried on."""
        return self._here(self.arun_once)

    def run(self, *, until: Callable[[], bool] = lambda: False, interval: float = 1) -> None:
        """Go on doing so, looking at once when something happens and otherwise every `interval` seconds."""
        self._here(lambda: self.arun(until=until, interval=interval))

    def resume(self, thread: str) -> Resumed | None:
        """Carry on one thread if it is decided, or its process is known to be dead. None: not yet, or another does."""
        return self._here(lambda: self.aresume(thread))

    def answer(self, thread: str, decisions: Decisions) -> Resumed | None:
        """Resume one thread with a person's own decisions, as for a call whose outcome is unknown.

        Args:
            thread: its id.
            decisions: one for each action of the question; where the thread asks several questions at once, as an agent
                of `create_agent` does, such lists by the ids of their interrupts.

        Raises:
            InvalidRequestError: the thread is not paused, or other decisions are asked for; nothing was resumed.
        """
        return self._here(lambda: self.aanswer(thread, decisions))

    async def arun(self, *, until: Callable[[], bool] = lambda: False, interval: float = 1) -> None:
        """As `run`."""
        after: str | None = None
        while not until():
            try:
                after = await self._round(after, interval)
            except StoreError as error:
                _log.warning("Threads wait, because Aegis cannot be reached: %s", error)
                await asyncio.sleep(interval)

    async def _round(self, after: str | None, interval: float) -> str:
        """Carry on what is decided, then wait until something happens after that event, or for the interval."""
        bridge = await self._connected()
        if after is None:
            latest = await bridge.await_(lambda: self._inner.latest_events(1))
            after = latest[-1].id if latest else "0"
        await self.arun_once()
        events = await bridge.await_(partial(self._inner.events, after=after, limit=500, wait=interval))
        return events[-1].id if events else after

    async def arun_once(self) -> list[Resumed]:
        """As `run_once`."""
        waiting = await self._threads_of("open")
        if not self._scanned:
            self._threads |= await self._threads_of("ended")
            self._scanned = True
        self._threads |= waiting
        found = [await self._carry_on(thread, dead=False) for thread in list(self._threads) if thread not in waiting]
        return [each for each in found if each is not None]

    async def aresume(self, thread: str) -> Resumed | None:
        """As `resume`."""
        return raised(await self._carry_on(thread, dead=True))

    async def aanswer(self, thread: str, decisions: Decisions) -> Resumed | None:
        """As `answer`."""
        state = await self._state(thread)
        return raised(await self._claimed(thread, state, answered(questions_of(state), decisions)))

    async def _carry_on(self, thread: str, *, dead: bool) -> Resumed | None:
        state = await self._state(thread)
        if not state.next:
            self._threads.pop(thread, None)
            return None
        if state.interrupts:
            found = {key: await decided(question, self._get) for key, question in questions_of(state).items()}
            values = {key: value for key, value in found.items() if value is not None}
            return await self._claimed(thread, state, values) if values else None
        return await self._claimed(thread, state, None) if dead or is_stalled(state, self._stalled) else None

    async def _get(self, approval_id: str) -> Approval:
        return await (await self._connected()).await_(lambda: self._inner.approvals.get(approval_id))

    async def _claimed(self, thread: str, state: StateSnapshot, values: dict[str, Any] | None) -> Resumed | None:
        """Go on with a thread under a lease, unless another does or it has moved meanwhile."""
        bridge = await self._connected()
        moment = moment_of(state)

        async def write(act: Any, key: str, **fields: Any) -> JournalEntry:
            return await bridge.await_(lambda: bridge.agent.journal(act, key, **fields))

        claim = ResumeLease(write, thread, moment, self._lease)
        if not await claim.take():
            return None
        failed = True
        try:
            if moment_of(await self._state(thread)) != moment:
                failed = False
                return None
            given = None if values is None else Command(resume=values)
            resumed = await self._kept(
                claim, self._call("invoke", given, self._config_of(thread), durability="sync"), thread
            )
            failed = resumed.error is not None
        finally:
            await claim.end(failed=failed)
        return resumed

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

    async def _threads_of(self, listing: Listing) -> dict[str, None]:
        """The threads that approvals of this kind belong to."""
        bridge = await self._connected()
        found: dict[str, None] = {}
        after: str | None = None
        while True:
            page = await bridge.await_(partial(self._inner.approvals.list, listing, after=after, limit=_PAGE))
            found |= {str(each.metadata["thread"]): None for each in page if each.metadata.get("thread")}
            if len(page) < _PAGE:
                return found
            after = page[-1].approval_id

    async def _state(self, thread: str) -> StateSnapshot:
        return await self._call("get_state", self._config_of(thread))

    async def _call(self, method: str, *arguments: object, **options: object) -> Any:
        """One method of the graph: a plain one in a thread of its own, so that the lease can be renewed beside it."""
        if self._graph is None:
            made = self._made()
            self._graph = _checked(await made if inspect.isawaitable(made) else made)
        if isinstance(self._governor, SyncGovernor):
            return await asyncio.to_thread(getattr(self._graph, method), *arguments, **options)
        return await getattr(self._graph, f"a{method}")(*arguments, **options)

    async def _connected(self) -> Bridge:
        if self._bridge is None:
            if isinstance(self._governor, SyncGovernor):
                agent = await asyncio.to_thread(self._governor.handshake, self._name, framework="langgraph")
            else:
                agent = await self._governor.handshake(self._name, framework="langgraph")
            self._bridge = Bridge.of(agent)
        return self._bridge

    @property
    def _inner(self) -> Governor:
        return self._governor.inner if isinstance(self._governor, SyncGovernor) else self._governor

    def _config_of(self, thread: str) -> object:
        return {**self._config, "configurable": {**self._config.get("configurable", {}), "thread_id": thread}}

    def _here(self, work: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """Run to the end in plain code, also where an event loop runs in this thread."""
        if isinstance(self._governor, Governor):
            raise ConfigurationError("This resumer has an async connection; await arun, arun_once, aresume or aanswer.")
        with ThreadPoolExecutor(1, "aegis-resumer") as own:
            return own.submit(lambda: asyncio.run(work())).result()


def _checked(graph: object) -> object:
    if not isinstance(getattr(graph, "checkpointer", None), BaseCheckpointSaver):
        raise ConfigurationError(
            "ApprovalResumer needs a graph with a checkpointer, or there is nothing to resume: "
            "builder.compile(checkpointer=…), one that the processes share."
        )
    return graph

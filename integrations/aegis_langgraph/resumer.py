"""What resumes paused threads when an operator has decided: from any process, once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aegis_core.adapting import Bridge
from aegis_core.adapting.costs import checked_number
from aegis_core.client.agent import Governor
from aegis_core.client.sync import SyncGovernor
from aegis_core.protocol.errors import ConfigurationError, StoreError
from aegis_langgraph.carrier import Carrier
from aegis_langgraph.graph_threads import GraphThreads
from aegis_langgraph.pace import Crew
from aegis_langgraph.pauses import Decisions, answered, questions_of
from aegis_langgraph.resumed import Resumed, raised
from aegis_langgraph.rounds import Rounds

_T = TypeVar("_T")
_log = logging.getLogger("aegis.langgraph")


class ApprovalResumer:
    """Carries on threads of a graph whose approvals are decided. Run one in as many processes as you like.

    With a `SyncGovernor` the graph's plain methods are called and `run_once` and `run` are yours; with a `Governor` its
    async methods, `arun_once` and `arun`. What operators decided is read from Aegis; the values that a thread is
    resumed with are checked before, because one of the wrong form would stay with the thread. A thread that cannot be
    read or carried on stops no other one: it is tried again, after pauses that grow, and an event ``thread_failed``
    tells operators. A question that its thread went on without is withdrawn, and its money returned.

    Args:
        graph_or_factory: a compiled graph with a checkpointer that is shared by the processes, or a function (plain or
            async) that makes one.
        governor: the connection to Aegis, with the credential of an operator where keys are used.
        name: the agent under whose name the resumers of this graph hold their leases; the same for all of them.
        lease_seconds: how long a resumer may stay silent before another takes its thread over.
        stalled_seconds: when a thread with a decided approval has neither paused nor moved for so long, its process is
            taken for dead and it is carried on. Longer than the longest tool.
        at_once: how many threads are carried on at the same time.
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
        at_once: int = 8,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(governor, SyncGovernor | Governor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"governor= takes what `connect` or `connect_sync` gives; this is of type {type(governor).__name__}."
            )
        checked_number("at_once", at_once, 1)
        self._governor, self._name, self._at_once = governor, name, at_once
        self._lease, self._stalled = lease_seconds, stalled_seconds
        self._graph = GraphThreads(graph_or_factory, config or {}, plain=isinstance(governor, SyncGovernor))
        self._rounds: Rounds | None = None

    def run_once(self) -> list[Resumed]:
        """Carry on every thread that is decided now; answers those that this call carried on."""
        return self._here(self.arun_once)

    def run(self, *, until: Callable[[], bool] = lambda: False, interval: float = 1) -> None:
        """Go on doing so, looking at once when something happens and otherwise every `interval` seconds.

        Threads that are being carried on when `until` says so are carried on to their end or next pause.
        """
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
        with self._graph.workers(self._at_once):
            crew = Crew[Resumed | None](self._at_once)
            try:
                while not until():
                    try:
                        after = await self._round(crew, after, interval)
                    except StoreError as error:
                        _log.warning("Threads wait, because Aegis cannot be reached: %s", error)
                        await asyncio.sleep(interval)
            except BaseException:
                crew.cancel()
                raise
            finally:
                await crew.end()

    async def _round(self, crew: Crew[Resumed | None], after: str | None, interval: float) -> str:
        """Begin with what is decided, then wait until something happens after that event, or for the interval."""
        rounds = await self._ready()
        if after is None:
            after = await rounds.carrier.newest_event()
        await rounds.begin(crew)
        return await rounds.carrier.next_event(after, interval)

    async def arun_once(self) -> list[Resumed]:
        """As `run_once`."""
        with self._graph.workers(self._at_once):
            crew = Crew[Resumed | None](self._at_once)
            try:
                found = await asyncio.gather(*await (await self._ready()).begin(crew))
            except BaseException:
                crew.cancel()
                raise
        return [each for each in found if each is not None]

    async def aresume(self, thread: str) -> Resumed | None:
        """As `resume`."""
        with self._graph.workers(1):
            return raised(await (await self._ready()).carry_on(thread, dead=True))

    async def aanswer(self, thread: str, decisions: Decisions) -> Resumed | None:
        """As `answer`."""
        with self._graph.workers(1):
            carrier, state = (await self._ready()).carrier, await self._graph.state(thread)
            return raised(await carrier.claimed(thread, state, answered(questions_of(state), decisions)))

    async def _ready(self) -> Rounds:
        if self._rounds is None:
            await self._graph.ready()
            if isinstance(self._governor, SyncGovernor):
                governor = self._governor.inner
                agent = await asyncio.to_thread(self._governor.handshake, self._name, framework="langgraph")
            else:
                governor = self._governor
                agent = await governor.handshake(self._name, framework="langgraph")
            seconds = {"lease_seconds": self._lease, "stalled_seconds": self._stalled}
            self._rounds = Rounds(Carrier(self._graph, governor, Bridge.of(agent), **seconds))
        return self._rounds

    def _here(self, work: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """Run to the end in plain code, also where an event loop runs in this thread."""
        if isinstance(self._governor, Governor):
            raise ConfigurationError("This resumer has an async connection; await arun, arun_once, aresume or aanswer.")
        with ThreadPoolExecutor(1, "aegis-resumer") as own:
            return own.submit(lambda: asyncio.run(work())).result()

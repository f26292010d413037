"""The bridge from an adapter to its agent: usable from every thread, executor and event loop."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from functools import lru_cache, partial, wraps
from keyword import iskeyword
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar
from weakref import WeakValueDictionary

from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.client.pools import A_MOMENT, stepped_aside
from aegis_core.client.portal import look_plain
from aegis_core.client.sync import SyncFlow, SyncGovernedAgent, SyncGovernor
from aegis_core.client.workflows import Flow
from aegis_core.connect import connect_sync
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.messages import Framework, SessionOpened
from aegis_core.protocol.process import new_lock

_T = TypeVar("_T")
_P = ParamSpec("_P")
_open_bridges: WeakValueDictionary[str, Bridge] = WeakValueDictionary()
_lock = new_lock()


class Bridge:
    """A governed agent, and the event loop in which it is asked.

    An agent of `connect_sync` has a loop in a thread of its own and can be asked from anywhere. An agent of `connect`
    is asked in the loop that made it: by `await` there, from other threads and loops while that loop runs; never by
    plain code on that loop's own thread, which would wait for itself.

    In a forked child it connects anew by itself, whichever of the two made the agent, and speaks on for its session.

    It is copied by reference. Pickled, it keeps the session with its token; in another process it connects again, by
    that process's own ``AEGIS_`` environment, and speaks on for the same session.
    """

    def __init__(self, agent: GovernedAgent) -> None:
        self.agent, self._connection = agent, agent.connection
        _open_bridges[agent.session.session_id] = self

    @classmethod
    def of(cls, aegis: object, framework: Framework = "custom") -> Bridge:
        """The bridge of the value of a parameter ``aegis=``; one for each session. A workflow is joined by an agent
        that is called as the framework is.

        Raises:
            ConfigurationError: it is not an agent of Aegis.
        """
        if isinstance(aegis, Bridge):
            return aegis
        if isinstance(aegis, SyncFlow):
            aegis = aegis.member(framework, framework)
        if isinstance(aegis, SyncGovernedAgent):
            aegis = aegis.inner
        if isinstance(aegis, GovernedAgent):
            with _lock:
                known = _open_bridges.get(aegis.session.session_id)
                return known if known is not None and known.agent is aegis else cls(aegis)
        if isinstance(aegis, Governor | SyncGovernor):
            hint = 'this is a governor, so shake hands first: aegis=governor.handshake("my-agent")'
        elif isinstance(aegis, Flow):
            hint = 'this is a workflow of coroutines, so join it first: aegis=await flow.join("my-agent")'
        else:
            hint = f"this is {_shown(aegis)}"
        raise ConfigurationError(
            f"aegis= takes an agent of Aegis, which a governor's handshake answers; {hint}.", code="not_an_agent"
        )

    def run(self, work: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """Carry work out in the agent's loop and wait for its result, from plain code.

        Raises:
            ConfigurationError: the loop is this thread's own, or no longer runs.
        """
        loop = self._checked()
        if _running() is loop:
            raise ConfigurationError(
                "This call blocks the event loop in which its Aegis agent was made by `connect`, so it would wait for "
                "itself; make the agent with `aegis_core.connect_sync`, which works in every thread and loop.",
                code="blocked_loop",
            )
        crossing = _Crossing(work)
        loop.call_soon_threadsafe(crossing.start, loop)
        try:
            if not crossing.ended.acquire(timeout=A_MOMENT):
                with stepped_aside():
                    crossing.ended.acquire()
        except BaseException:
            loop.call_soon_threadsafe(crossing.cancel)
            raise
        return crossing.result()

    async def await_(self, work: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """The same from a coroutine of any loop. A cancelled caller cancels the work."""
        self._connection.here()
        if _running() is self._connection.loop:
            return await work()
        loop = self._checked()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._started(work), loop))

    def post(self, work: Callable[[], Coroutine[object, object, object]]) -> None:
        """Carry work out later, from any thread, and wait for nothing. Lost when the loop no longer runs."""
        self._connection.here()
        if not self._connection.loop.is_closed():
            self._connection.loop.call_soon_threadsafe(partial(_spawn, work))

    async def _started(self, work: Callable[[], Awaitable[_T]]) -> _T:
        return await work()

    def _checked(self) -> asyncio.AbstractEventLoop:
        self._connection.here()
        loop = self._connection.loop
        if not loop.is_running():
            raise ConfigurationError(
                "The connection of this Aegis agent is closed: the loop that made it no longer runs. Keep the block of "
                "`connect` or `connect_sync` open while the agent works.",
                code="closed_connection",
            )
        return loop

    def __copy__(self) -> Bridge:
        return self

    def __deepcopy__(self, memo: object) -> Bridge:
        return self

    def __reduce__(self) -> tuple[Callable[[SessionOpened], Bridge], tuple[SessionOpened]]:
        return (_rejoin, (self.agent.session,))


class OnBridge(Protocol):
    """What has a bridge to its agent."""

    @property
    def bridge(self) -> Bridge: ...


_On = TypeVar("_On", bound=OnBridge)


def both_ways(
    work: Callable[Concatenate[_On, _P], Coroutine[object, object, _T]],
) -> tuple[Callable[Concatenate[_On, _P], _T], Callable[Concatenate[_On, _P], Coroutine[object, object, _T]]]:
    """A method that works in the agent's loop, for callers from anywhere: from plain code, and from coroutines.

    ::

        async def _pay(self, amount: int) -> Receipt: ...

        pay, apay = both_ways(_pay)
    """

    @wraps(work)
    def plain(self: _On, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self.bridge.run(lambda: work(self, *args, **kwargs))

    @wraps(work)
    async def awaited(self: _On, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self.bridge.await_(lambda: work(self, *args, **kwargs))

    look_plain(plain)
    # A bound method is pickled by its name, which must not be that of the work in the loop.
    plain.__name__ = plain.__name__.removeprefix("_")
    name = f"a{plain.__name__}"
    awaited.__name__ = f"{name}_" if iskeyword(name) else name
    return plain, awaited


class _Crossing(Generic[_T]):
    """Work on its way through the agent's loop while a thread waits: asyncio's own futures for this take 15 µs more."""

    def __init__(self, work: Callable[[], Coroutine[object, object, _T]]) -> None:
        self.ended = threading.Lock()
        self.ended.acquire()
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._value: tuple[_T] | None = None
        self._error: BaseException | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, in the loop."""
        self._task = loop.create_task(self._carried_out())

    def cancel(self) -> None:
        """Nobody waits any more; in the loop."""
        if self._task is not None:
            self._task.cancel()

    def result(self) -> _T:
        """What came of it."""
        if self._value is None:
            assert self._error is not None
            try:
                raise self._error
            finally:
                self._error = None  # no cycle of error, traceback and this
        return self._value[0]

    async def _carried_out(self) -> None:
        try:
            self._value = (await self._work(),)
        except BaseException as error:  # noqa: BLE001 - it is the waiting thread's
            self._error = error
        finally:
            self.ended.release()


_tasks: set[asyncio.Task[object]] = set()


def _spawn(work: Callable[[], Coroutine[object, object, object]]) -> None:
    task = asyncio.create_task(work())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _rejoin(session: SessionOpened) -> Bridge:
    """The bridge of a session: this process's own, or a new one by its environment."""
    with _lock:
        if (known := _open_bridges.get(session.session_id)) is not None:
            return known
    return Bridge.of(_joined(session.tenant).rejoin(session))


@lru_cache(maxsize=64)
def _joined(tenant: str) -> SyncGovernor:
    """The connection of this process for agents that arrived pickled; open until it ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(connect_sync(tenant=tenant))


def _shown(value: object) -> str:
    kind = type(value)
    return "None" if value is None else f"of type {kind.__module__}.{kind.__qualname__}"

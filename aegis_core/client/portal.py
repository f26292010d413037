"""How plain code calls what lives in an event loop: the loop in its thread, and the one bridge to its objects."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import wraps
from types import FunctionType
from typing import Concatenate, Generic, ParamSpec, TypeVar

from aegis_core.client.pools import A_MOMENT, stepped_aside
from aegis_core.client.ties import for_another
from aegis_core.protocol.process import Process, check_process

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Answer = TypeVar("_Answer")
_Plain = TypeVar("_Plain")
_Inner = TypeVar("_Inner")
_Held = TypeVar("_Held")
_stopped: list[object] = []


class Portal:
    """An event loop in a thread of its own. Usable from any thread, also while another loop runs in the caller's.

    One that nobody closes is closed when the process ends, as long as its thread still runs.

    Attributes:
        loop: the event loop.
        settle: called before each use of what lives in the loop. In a forked child it sees to it that this lives again.
    """

    def __init__(self) -> None:
        self.settle: Callable[[], None] = _settled
        self._begin()

    def _begin(self) -> None:
        self._process, self._entered = Process.id, list[AbstractAsyncContextManager[object]]()
        self._posted: set[asyncio.Task[object]] = set()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="aegis", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def begin_anew(self) -> None:
        """Begin another loop in a forked child, where that of its parent stands still.

        That one is kept: finalised, it would tell the selector that both share to watch the parent's sockets no longer.
        """
        _stopped.append((self.loop, self._entered))
        self._begin()

    def run(self, work: Coroutine[object, object, _T]) -> _T:
        """Run a coroutine to its end and answer its result; an interrupted caller cancels it.

        Raises:
            ConfigurationError: this is a forked child, in which the loop does not run.
        """
        if self._process != Process.id:
            work.close()
            check_process(self._process)
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            with suppress(TimeoutError):
                future.exception(A_MOMENT)
            if not future.done():
                with stepped_aside():
                    return future.result()
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def post(self, work: Callable[[], Coroutine[object, object, object]]) -> None:
        """Run a coroutine later and wait for nothing. Lost where the loop no longer runs."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._start, work)

    def _start(self, work: Callable[[], Coroutine[object, object, object]]) -> None:
        task = self.loop.create_task(work())
        self._posted.add(task)
        task.add_done_callback(self._posted.discard)

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[_T]) -> Generator[_T, None, None]:
        """Enter an async context manager for a plain ``with`` block. A child forked in it does not leave it."""
        owner, value = Process.id, self.run(_enter(manager))
        try:
            yield value
        except BaseException as error:
            if owner != Process.id or self.loop.is_closed() or not self.run(_exit(manager, error)):
                raise
        else:
            if owner == Process.id:
                self.run(_exit(manager, None))

    def enter(self, manager: AbstractAsyncContextManager[_T]) -> _T:
        """Enter an async context manager, which is left when the portal is closed."""
        value = self.run(_enter(manager))
        self._entered.append(manager)
        return value

    def close(self) -> None:
        """Leave what was entered, and end the loop and its thread. In a forked child they may be its parent's."""
        if self._process != Process.id or self.loop.is_closed():
            return
        while self._entered:
            self.run(_exit(self._entered.pop(), None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        atexit.unregister(self.close)


class Bridged(Generic[_Inner]):
    """Base of what plain code holds in place of an object that lives in the loop of a portal."""

    def __init__(self, portal: Portal, inner: _Inner) -> None:
        self._portal, self._inner = portal, inner

    @staticmethod
    def method(
        original: Callable[Concatenate[_Held, _P], _Answer], turn: Callable[[Portal, _Answer], _Plain]
    ) -> Callable[Concatenate[Bridged[_Held], _P], _Plain]:
        """A method for plain code that takes the arguments of `original` and shows its documentation.

        Args:
            original: the method of the object in the loop. It is looked up by its name, so subclasses and other
                implementations of a protocol count.
            turn: makes of its answer what plain code gets: `Portal.run` awaits it, a class wraps it.
        """

        @wraps(original)
        def plain(self: Bridged[_Held], *args: _P.args, **kwargs: _P.kwargs) -> _Plain:
            self._portal.settle()
            return turn(self._portal, getattr(self._inner, name)(*args, **kwargs))

        name: str = plain.__name__
        look_plain(plain)
        return plain


def _settled() -> None:
    """Nothing lives in the loop that a fork could stop."""


def as_it_is(_: Portal, answer: _T) -> _T:
    """For methods that wait for nothing: a `turn` that changes nothing."""
    return answer


def look_plain(method: object) -> None:
    """Let tools that unwrap a method see a plain function: one that wraps a coroutine function is not awaited itself.

    What they find has the signature, the annotations and the globals of the wrapped function, and is never called.
    """
    inner = inspect.unwrap(method)  # pyright: ignore[reportArgumentType] - any function
    assert isinstance(inner, FunctionType)
    waits = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR
    code = inner.__code__.replace(co_flags=inner.__code__.co_flags & ~waits)
    shown = FunctionType(code, inner.__globals__, inner.__name__, inner.__defaults__, inner.__closure__)
    shown.__kwdefaults__, shown.__annotations__, shown.__doc__ = (
        inner.__kwdefaults__,
        inner.__annotations__,
        inner.__doc__,
    )
    method.__wrapped__ = shown  # pyright: ignore[reportAttributeAccessIssue] - set by `wraps`


async def _enter(manager: AbstractAsyncContextManager[_T]) -> _T:
    with for_another():  # this task ends when it is entered
        return await manager.__aenter__()


async def _exit(manager: AbstractAsyncContextManager[object], error: BaseException | None) -> bool | None:
    return await manager.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)

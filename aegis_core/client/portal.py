"""How plain code calls what lives in an event loop: the loop in its thread, and the one bridge to its objects."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import wraps
from types import FunctionType
from typing import Concatenate, Generic, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Answer = TypeVar("_Answer")
_Plain = TypeVar("_Plain")
_Inner = TypeVar("_Inner")
_Held = TypeVar("_Held")


class Portal:
    """An event loop in a thread of its own. Usable from any thread, also while another loop runs in the caller's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aegis", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[object, object, _T]) -> _T:
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
            return turn(self._portal, getattr(self._inner, name)(*args, **kwargs))

        name: str = plain.__name__
        look_plain(plain)
        return plain


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
    return await manager.__aenter__()


async def _exit(manager: AbstractAsyncContextManager[object], error: BaseException | None) -> bool | None:
    return await manager.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)

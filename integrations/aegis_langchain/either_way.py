"""Callbacks that are called in plain runs, and awaited in asynchronous ones.

LangChain runs a plain callback of an asynchronous run in a thread of the event loop's shared pool. There one that waits
for a person, or for a lock, keeps everybody else's calls waiting, and the very callback that would give the lock back.
A coroutine waits in no thread; but in a plain run LangChain swallows what it raises. So a callback must be either.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_Handler = TypeVar("_Handler")


class Act(NamedTuple):
    """What a callback does, once in each way."""

    plain: Callable[[], object]
    awaited: Callable[[], Coroutine[object, object, object]]


async def _done() -> None:
    """Nothing is left to do."""


NOTHING = Act(lambda: None, _done)


def in_either_way(method: Callable[Concatenate[_Handler, _P], Act]) -> Callable[Concatenate[_Handler, _P], Any]:
    """A callback of what its method says is to be done.

    Only where LangChain would await a callback does it ask whether that is a coroutine function; who has asked gets a
    coroutine, and who simply calls gets it done.
    """
    return cast("Callable[Concatenate[_Handler, _P], Any]", _EitherWay(method))


def _marks() -> dict[str, object]:
    """The attributes by which a callable says that it is a coroutine function."""
    if sys.version_info >= (3, 12):
        return vars(inspect.markcoroutinefunction(_marked_here()))
    # asyncio looks for a mark of its own; inspect for a flag of the code, as far as that is a function's.
    return {"_is_coroutine": vars(asyncio.coroutines)["_is_coroutine"], "__code__": _done.__code__}


def _marked_here() -> Callable[[], None]:
    def marked() -> None: ...

    return marked


_MARKS = _marks()


class _EitherWay:
    def __init__(self, method: Callable[..., Act]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, handler: object, owner: type | None = None) -> object:
        return self if handler is None else _Bound(self._method, handler)


class _Bound:
    """A callback of one handler, got for one call."""

    def __init__(self, method: Callable[..., Act], handler: object) -> None:
        self._method, self._handler, self._awaits = method, handler, False

    def __getattr__(self, name: str) -> object:
        if name in _MARKS:
            self._awaits = True
            return _MARKS[name]
        return getattr(self._method, name)

    def __call__(self, *args: object, **kwargs: object) -> object:
        act = self._method(self._handler, *args, **kwargs)
        return act.awaited() if self._awaits else act.plain()

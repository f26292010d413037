"""How often something is tried again, and that only so much is done at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Pace:
    """Pauses that double, for each name by itself.

    Args:
        first: seconds of the first pause.
        most: seconds of the longest one.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._pauses: dict[str, tuple[float, float]] = {}

    def is_due(self, name: str) -> bool:
        """Whether its pause is over, or it has none."""
        return name not in self._pauses or time.monotonic() >= self._pauses[name][1]

    def pause(self, name: str) -> bool:
        """Pause from now on, twice as long as last time. Answers whether it is the first time."""
        known = self._pauses.get(name)
        seconds = self._first if known is None else min(known[0] * 2, self._most)
        self._pauses[name] = seconds, time.monotonic() + seconds
        return known is None

    def forget(self, name: str) -> None:
        """The next pause is a first one."""
        self._pauses.pop(name, None)


class Crew(Generic[_T]):
    """Works on threads at the same time, on each of them once, and on at most so many at once."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._working: dict[str, asyncio.Task[_T]] = {}

    def works_on(self, thread: str) -> bool:
        """Whether a thread is worked on, or is next."""
        return thread in self._working

    def begin(self, thread: str, work: Callable[[], Coroutine[object, object, _T]]) -> asyncio.Task[_T]:
        """Begin with a thread, as soon as there is room."""
        task = asyncio.ensure_future(self._in_turn(work))
        self._working[thread] = task
        task.add_done_callback(lambda _: self._working.pop(thread, None))
        return task

    async def end(self) -> None:
        """Wait for what is being worked on."""
        if self._working:
            await asyncio.wait(list(self._working.values()))

    def cancel(self) -> None:
        """Give up what is being worked on."""
        for task in self._working.values():
            task.cancel()

    async def _in_turn(self, work: Callable[[], Coroutine[object, object, _T]]) -> _T:
        async with self._free:
            return await work()

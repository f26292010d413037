"""What is entered by hand ends with the task or thread that entered it: nobody else would ever leave it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

End = Callable[[], None]


_for_another: ContextVar[bool] = ContextVar("aegis_entered_for_another", default=False)


@contextmanager
def for_another() -> Generator[None]:
    """What the running task enters in this block belongs to somebody else: it ends without leaving it."""
    before = _for_another.set(True)
    try:
        yield
    finally:
        _for_another.reset(before)


def tie_to_task(end: End) -> End:
    """Call `end` when the running task has ended, unless what this answers was called before."""
    task = asyncio.current_task()
    if task is None or _for_another.get():
        return _nothing

    def ended(_: asyncio.Task[object]) -> None:
        end()

    task.add_done_callback(ended)

    def untie() -> None:
        task.remove_done_callback(ended)

    return untie


def tie_to_thread(end: End) -> End:
    """The same for the running thread. `end` is called by it, as the last that it does."""
    ties: _Ties | None = getattr(_of_thread, "ties", None)
    if ties is None:
        ties = _of_thread.ties = _Ties()
    key = object()
    ties.ends[key] = end
    ends = ties.ends  # without the object itself, whose end is the thread's

    def untie() -> None:
        ends.pop(key, None)

    return untie


class _Ties:
    """Lives as long as its thread, which drops it when it ends."""

    def __init__(self) -> None:
        self.ends: dict[object, End] = {}

    def __del__(self) -> None:
        for end in list(self.ends.values()):
            end()


_of_thread = threading.local()


def _nothing() -> None: ...

"""Threads of asyncio's shared pool that wait for a person or a lock: while one does, the pool has room for one more.

Frameworks run plain code of asynchronous runs there (``asyncio.to_thread``, ``run_in_executor``), and it is small. Were
it full of those who wait, others could not even begin, and who holds a lock could not give it back.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from weakref import ReferenceType

A_MOMENT = 0.1
"""Seconds after which a wait is one for a person or a lock; a decision takes a few milliseconds."""

_SHARED = "asyncio_"
"""How asyncio calls the threads of its own pool. Other pools may be small on purpose."""


@contextmanager
def stepped_aside() -> Generator[None]:
    """In this block the thread only waits."""
    pool = _pool_of(threading.current_thread())
    if pool is None:
        yield
        return
    _grow(pool, 1)
    try:
        yield
    finally:
        _grow(pool, -1)


def _pool_of(thread: threading.Thread) -> Any:
    """The shared pool of which this is a thread; None where it is none, or Python keeps that elsewhere."""
    arguments: Any = getattr(thread, "_args", ()) if thread.name.startswith(_SHARED) else ()
    pool = arguments[0]() if arguments and isinstance(arguments[0], ReferenceType) else None
    return pool if isinstance(pool, ThreadPoolExecutor) else None


def _grow(pool: Any, by: int) -> None:
    with suppress(AttributeError, RuntimeError), pool._shutdown_lock:  # noqa: SLF001 - nothing public makes room
        pool._max_workers += by  # noqa: SLF001
        if by > 0 and pool._work_queue.qsize():  # noqa: SLF001
            pool._adjust_thread_count()  # noqa: SLF001

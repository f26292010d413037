"""Work that takes long in pure Python: beside the event loop, and never so much of it that the loop stands still.

A thread of Python shares one lock with the loop. A few that always have work would leave it half of its time, so there
is one at a time, and it rests after each piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import thread_time
from typing import TypeVar
from weakref import WeakKeyDictionary

_T = TypeVar("_T")

SHARE = 0.2
"""Of the time of one processor that such work may have, over a while."""
_LONGEST_REST = 2.0
"""Seconds; no work that is bounded in bytes takes a fourth of that."""

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def in_turn(work: Callable[[], _T]) -> _T:
    """Do it in a thread, once what came before is done and the share of the time is kept. Raises what `work` raises."""
    loop = asyncio.get_running_loop()
    slot = _slots.setdefault(loop, asyncio.Semaphore(1))
    await slot.acquire()
    spent = 0.0

    def measured() -> _T:
        nonlocal spent
        began = thread_time()
        try:
            return work()
        finally:
            spent = thread_time() - began

    def rest(_: asyncio.Future[_T]) -> None:
        if not loop.is_closed():
            loop.call_later(min(spent * (1 / SHARE - 1), _LONGEST_REST), slot.release)

    doing = asyncio.ensure_future(asyncio.to_thread(measured))
    doing.add_done_callback(rest)
    return await asyncio.shield(doing)  # who gives up does not begin the next one's turn

"""Looks at something again and again beside what a process does. Nothing of it is on the way of a decision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aegis_core.protocol.errors import AegisError


@asynccontextmanager
async def watching(
    look: Callable[[], Awaitable[object]],
    every: float,
    failed: Callable[[str], object],
    *,
    at_once: bool = False,
    leave: Callable[[], Awaitable[None]] | None = None,
) -> AsyncGenerator[None]:
    """Have it looked at while the block runs.

    Args:
        look: does it once.
        every: seconds between two looks.
        failed: hears what an `AegisError` of a look says; the next look tries again.
        at_once: look before the first pause, too.
        leave: lets another process go on, once this one is done.
    """
    task = asyncio.create_task(_look_for_ever(look, every, failed, at_once=at_once))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if leave is not None:
            with suppress(AegisError):
                await leave()


async def _look_for_ever(
    look: Callable[[], Awaitable[object]], every: float, failed: Callable[[str], object], *, at_once: bool
) -> None:
    if not at_once:
        await asyncio.sleep(every)
    while True:
        try:
            await look()
        except AegisError as error:
            failed(error.message)
        await asyncio.sleep(every)

"""How long answers about the server itself wait for Redis, whatever a decision may: who watches asks often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aegis_core.protocol.errors import StoreError

PATIENCE = 0.8
"""Seconds, so that the whole answer comes within one."""


@asynccontextmanager
async def at_once(seconds: float = PATIENCE) -> AsyncGenerator[None]:
    """Bound what is asked of Redis in the block.

    Raises:
        StoreError: it was not answered in time.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StoreError(f"Redis did not answer within {seconds:g} s.", reason="slow") from None

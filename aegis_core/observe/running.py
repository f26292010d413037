"""Runs what observes a tenant, beside whatever else a process does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from aegis_core.observe.retention import Retention
from aegis_core.observe.rollups import RollupConsumer
from aegis_core.protocol.errors import AegisError

LOOK_SECONDS = 2.0
TRIM_SECONDS = 60.0

_log = logging.getLogger("aegis.observe")


async def observe(rollups: RollupConsumer, retention: Retention) -> None:
    """Count and trim for ever. What fails is logged once, and tried again."""
    trim_at, failing = 0.0, ""
    while True:
        try:
            mine = await rollups.look()
            if mine is not None and time.monotonic() >= trim_at:
                await retention.look()
                trim_at = time.monotonic() + TRIM_SECONDS
            failing = ""
        except AegisError as error:
            if error.message != failing:
                _log.warning("%s; events are neither counted nor trimmed until that is over", error.message)
            failing = error.message
        await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def observing(rollups: RollupConsumer, retention: Retention) -> AsyncGenerator[None]:
    """Observe while the block runs."""
    watching = asyncio.create_task(observe(rollups, retention))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        with suppress(AegisError):
            await rollups.leave()

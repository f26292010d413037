"""Runs what closes days, beside whatever else a process does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from aegis_core.kaizen.days import DayCloser
from aegis_core.protocol.errors import AegisError

LOOK_SECONDS = 60.0
SHARE_BESIDE_DECISIONS = 0.1
"""Of the time of a process that also decides. A day of 100,000 events then takes a minute or two to close."""

_log = logging.getLogger("aegis.kaizen")


async def close_days(closer: DayCloser) -> None:
    """Close days for ever. What fails is logged once, and tried again."""
    failing = ""
    while True:
        try:
            await closer.look()
            failing = ""
        except AegisError as error:
            if error.message != failing:
                _log.warning("%s; days are not closed until that is over", error.message)
            failing = error.message
        await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def closing_days(closer: DayCloser) -> AsyncGenerator[None]:
    """Close days while the block runs."""
    working = asyncio.create_task(close_days(closer))
    try:
        yield
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        with suppress(AegisError):
            await closer.leave()

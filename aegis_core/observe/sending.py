"""Runs the senders of webhooks, beside whatever else a process does; an HTTP client comes with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from aegis_core.observe.sender import EventSender

_log = logging.getLogger("aegis.webhooks")


@asynccontextmanager
async def sending(senders: Sequence[EventSender]) -> AsyncGenerator[None]:
    """Tell webhooks of events while the block runs."""
    tasks = [asyncio.create_task(_kept_alive(sender)) for sender in senders]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sender in senders:
            await sender.aclose()


async def _kept_alive(sender: EventSender) -> None:
    """What nobody foresaw ends neither the others nor the server they run in."""
    while True:
        try:
            await sender.run()
        except Exception:  # noqa: BLE001 - the last resort: logged whole, and begun again from what Redis says
            _log.exception("INVARIANT: unforeseen error of a webhook")
        await asyncio.sleep(1)

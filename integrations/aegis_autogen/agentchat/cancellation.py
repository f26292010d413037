"""Asking Aegis within AutoGen's way of cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from autogen_core import CancellationToken

from aegis_core.adapting import Reservation

_Begun = TypeVar("_Begun", bound=Reservation | str)


async def linked(begin: Coroutine[object, object, _Begun], token: CancellationToken | None) -> _Begun:
    """Await the beginning of a call, which AutoGen's token can cancel too. Cancelled, it leaves nothing held."""
    task = asyncio.ensure_future(begin)
    if token is not None:
        token.link_future(task)
    try:
        return await task
    except asyncio.CancelledError:
        if not task.cancel() and not task.cancelled() and task.exception() is None:  # it had just been granted
            found = task.result()
            if isinstance(found, Reservation):
                found.abandon(consumed=False)
        raise

"""Asking Aegis within AutoGen's way of cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from autogen_core import CancellationToken

_T = TypeVar("_T")


async def linked(work: Coroutine[Any, Any, _T], token: CancellationToken | None) -> _T:
    """Await work that AutoGen's token can cancel too."""
    task = asyncio.ensure_future(work)
    if token is not None:
        token.link_future(task)
    try:
        return await task
    except asyncio.CancelledError:
        task.cancel()
        raise

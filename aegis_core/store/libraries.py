"""The libraries of functions on a server: each version of Aegis loads its own, and those no longer in use go."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol

from aegis_core.protocol.errors import StoreError
from aegis_core.store.layout import LIBRARIES_KEY

UNUSED_MS = 30 * 86_400_000
"""A library that no process opened for so long is deleted. A process that still runs and calls it loads it again."""


class Commands(Protocol):
    """What of a store is needed here."""

    async def command(self, *parts: Any) -> Any:
        """One plain command."""


async def keep_library(store: Commands, library: str) -> None:
    """Note by the server's time that a library is in use, and delete those that are not.

    A user who may not delete functions leaves them: they cost some memory, and no decision.
    """
    clock: Any = await store.command("TIME")
    now = int(clock[0]) * 1_000 + int(clock[1]) // 1_000
    await store.command("ZADD", LIBRARIES_KEY, now, library)
    unused: Any = await store.command("ZRANGEBYSCORE", LIBRARIES_KEY, "-inf", now - UNUSED_MS)
    for each in unused:
        with suppress(StoreError):  # it is gone already, or this user may not
            await store.command("FUNCTION DELETE", each)
        await store.command("ZREM", LIBRARIES_KEY, each)

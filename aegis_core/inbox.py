"""One subscription per process that wakes whoever waits for a record. A lost message costs a re-check, not a wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from aegis_core.store import layout
from aegis_core.store.store import Store


class Inbox:
    """Wakes waiters of one tenant. The subscription opens with the first waiter."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store, self._channel = store, layout.key(tenant, "i")
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @asynccontextmanager
    async def waiting_for(self, record: str) -> AsyncGenerator[asyncio.Event]:
        """An event that is set when the record changed, or may have. Look at the record after entering, then wait."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        with suppress(TimeoutError):  # without a subscription the waiter still looks, and then learns what is wrong
            async with asyncio.timeout(self._store.timeout):
                await self._ready.wait()
        bell = asyncio.Event()
        self._waiters[record].add(bell)
        try:
            yield bell
        finally:
            self._waiters[record].discard(bell)
            if not self._waiters[record]:
                del self._waiters[record]

    async def _listen(self) -> None:
        async for _, record in self._store.listen(self._channel):
            self._ready.set()
            if record:
                bells = list(self._waiters.get(record, ()))
            else:  # (re)connected: anything may have happened meanwhile
                bells = [bell for group in self._waiters.values() for bell in group]
            for bell in bells:
                bell.set()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None

"""One subscription per process that wakes whoever waits for a record or a lock, and brings holders their notices.

A lost message costs a re-check, not a wait.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from aegis_core.lock_protocol import Ear, Notice
from aegis_core.store import layout
from aegis_core.store.store import Store


class Inbox:
    """Wakes waiters of one tenant. The subscription opens with the first waiter."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store, self._channel = store, layout.key(tenant, "i")
        # The tilde tells the scripts that they cannot count who listens.
        self.name = ("~" if store.clients.cluster is not None else "") + secrets.token_hex(8)
        self._own_channel = layout.key(tenant, f"i:{self.name}")
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._ears: dict[str, Ear] = {}
        self._listening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @asynccontextmanager
    async def waiting_for(self, record: str) -> AsyncGenerator[asyncio.Event]:
        """An event that is set when the record changed, or may have. Look at the record after entering, then wait."""
        await self.open()
        bell = asyncio.Event()
        self._waiters[record].add(bell)
        try:
            yield bell
        finally:
            self._waiters[record].discard(bell)
            if not self._waiters[record]:
                del self._waiters[record]

    async def open(self) -> None:
        """Subscribe, or wait until it is done. Without a subscription one still looks, and learns what is wrong."""
        if self._ready.is_set():
            return
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._store.timeout):
                await self._ready.wait()

    def hear(self, token: str, ear: Ear) -> None:
        """Bring notices about a lock token to `ear`, instead of whoever heard them before."""
        self._ears[token] = ear

    def forget(self, token: str, ear: Ear) -> None:
        """Bring it no more."""
        if self._ears.get(token) is ear:
            del self._ears[token]

    async def _listen(self) -> None:
        async for channel, text in self._store.listen(self._channel, self._own_channel):
            self._ready.set()
            if channel == self._own_channel:
                kind, token, resource, fence, at = text.split("\t")
                ear = self._ears.get(token)
                if ear is not None:
                    ear(Notice(kind, token, resource, int(fence), int(at)))
                continue
            if text:
                bells = list(self._waiters.get(text, ()))
            else:  # (re)connected: anything may have happened meanwhile
                bells = [bell for group in self._waiters.values() for bell in group]
                for ear in list(self._ears.values()):
                    ear(None)
            for bell in bells:
                bell.set()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None
            self._ready.clear()

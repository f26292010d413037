"""One subscription per process that wakes those who wait for a record or a lock, and brings holders their notices.

A lost message costs a re-check, not a wait.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from aegis_core.protocol.locks import LockNotice, NoticeListener
from aegis_core.store import layout
from aegis_core.store.store import Store


class Notifier:
    """Wakes waiters of one tenant. The subscription opens with the first waiter."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store, self._channel = store, layout.key(tenant, "i")
        # The tilde tells the scripts that they cannot count who listens.
        self.name = ("~" if store.clients.cluster is not None else "") + secrets.token_hex(8)
        self._own_channel = layout.key(tenant, f"i:{self.name}")
        self._waiting: dict[str, list[Subscription]] = {}
        self._ears: dict[str, NoticeListener] = {}
        self._listening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    def address(self) -> str | None:
        """Where messages reach this process, once it listens: a lock is not handed to one that hears nothing."""
        return self.name if self._ready.is_set() else None

    def waiting_for(self, record: str) -> Subscription:
        """Hears when the record changed, or may have. Look at the record after entering, then wait."""
        return Subscription(self, record)

    async def add(self, waiting: Subscription) -> None:
        """Wake a waiter from now on."""
        await self.open()
        self._waiting.setdefault(waiting.record, []).append(waiting)

    def remove(self, waiting: Subscription) -> None:
        """Wake it no longer."""
        others = self._waiting[waiting.record]
        others.remove(waiting)
        if not others:
            del self._waiting[waiting.record]

    async def open(self) -> None:
        """Subscribe, or wait until it is done. Without a subscription one still looks, and learns what is wrong."""
        if self._ready.is_set():
            return
        if self._listening is None:
            self._listening = asyncio.create_task(self._store.listen(self._hear, self._channel, self._own_channel))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._store.timeout):
                await self._ready.wait()

    def hear(self, token: str, ear: NoticeListener) -> None:
        """Bring notices about a lock token to `ear`, instead of the one who heard them before."""
        self._ears[token] = ear

    def lend(self, token: str, ear: NoticeListener) -> None:
        """The same, as long as nobody else hears them."""
        self._ears.setdefault(token, ear)

    def forget(self, token: str, ear: NoticeListener) -> None:
        """Bring it no more."""
        if self._ears.get(token) is ear:
            del self._ears[token]

    def _hear(self, channel: str, text: str) -> None:
        self._ready.set()
        if not channel:  # (re)connected: anything may have happened meanwhile
            for ear in list(self._ears.values()):
                ear(None)
            for waiting in [each for group in self._waiting.values() for each in group]:
                waiting.wake()
        elif channel == self._own_channel:
            kind, token, resource, fence, at = text.split("\t")
            ear = self._ears.get(token)
            if ear is not None:
                ear(LockNotice(kind, token, resource, int(fence), int(at)))
            self._ring(token.removeprefix("lk_"))  # of the record that wants the lock
        else:
            self._ring(text)

    def _ring(self, record: str) -> None:
        for waiting in self._waiting.get(record, ()):
            waiting.wake()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None


class Subscription:
    """Wakes one waiter. Small, because thousands may wait at once: no task, no lock, one future and one timer."""

    __slots__ = ("_future", "_notifier", "_woken", "record")

    def __init__(self, notifier: Notifier, record: str) -> None:
        self._notifier, self.record = notifier, record
        self._woken = False
        self._future: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Subscription:
        await self._notifier.add(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._notifier.remove(self)

    def clear(self) -> None:
        """Forget what it heard; what comes after counts."""
        self._woken = False

    def wake(self) -> None:
        """Wake its waiter, or spare it the next wait."""
        self._woken = True
        self._stop()

    async def wait(self, seconds: float) -> None:
        """Until it was woken since it was cleared, at most so many seconds."""
        if self._woken:
            return
        loop = asyncio.get_running_loop()
        self._future = loop.create_future()
        timer = loop.call_later(seconds, self._stop)
        try:
            await self._future
        finally:
            timer.cancel()
            self._future = None

    def _stop(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

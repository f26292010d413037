"""One subscription per process that wakes whoever waits for a record. A lost message costs a re-check, not a wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aegis_core.store import layout
from aegis_core.store.store import Store


class Inbox:
    """Wakes waiters of one tenant. The subscription opens with the first waiter."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store, self._channel = store, layout.key(tenant, "i")
        self._bells: dict[str, list[Bell]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    def waiting_for(self, record: str) -> Bell:
        """A bell that rings when the record changed, or may have. Look at the record after entering, then wait."""
        return Bell(self, record)

    async def hang(self, bell: Bell) -> None:
        """Ring a bell from now on."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        if not self._ready.is_set():
            with suppress(TimeoutError):  # without a subscription the waiter still looks, and learns what is wrong
                async with asyncio.timeout(self._store.timeout):
                    await self._ready.wait()
        self._bells.setdefault(bell.record, []).append(bell)

    def take_down(self, bell: Bell) -> None:
        """Ring it no longer."""
        hanging = self._bells[bell.record]
        hanging.remove(bell)
        if not hanging:
            del self._bells[bell.record]

    async def _listen(self) -> None:
        async for _, record in self._store.listen(self._channel):
            self._ready.set()
            if record:
                bells = self._bells.get(record, ())
            else:  # (re)connected: anything may have happened meanwhile
                bells = [bell for group in self._bells.values() for bell in group]
            for bell in bells:
                bell.ring()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None


class Bell:
    """Rings for one waiter. Small, because thousands may wait at once: no task, no lock, one future and one timer."""

    __slots__ = ("_future", "_inbox", "_rung", "record")

    def __init__(self, inbox: Inbox, record: str) -> None:
        self._inbox, self.record = inbox, record
        self._rung = False
        self._future: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Bell:
        await self._inbox.hang(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._inbox.take_down(self)

    def clear(self) -> None:
        """Forget what it rang for; what comes after counts."""
        self._rung = False

    def ring(self) -> None:
        """Wake its waiter, or spare it the next wait."""
        self._rung = True
        self._stop()

    async def wait(self, seconds: float) -> None:
        """Until it has rung since it was cleared, at most so many seconds."""
        if self._rung:
            return
        loop = asyncio.get_running_loop()
        self._future = loop.create_future()
        alarm = loop.call_later(seconds, self._stop)
        try:
            await self._future
        finally:
            alarm.cancel()
            self._future = None

    def _stop(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

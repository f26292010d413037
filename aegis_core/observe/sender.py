"""Posts the events of a tenant to one destination, in their order, each at least once: one process at a time.

Where it is lies in Redis, and moves only after the receiver took an event. So a process that dies, a receiver that is
down for hours and an operator who goes back cost repeats, never an event; a receiver knows repeats by their id. What
retention took before it could be sent is an event itself, as is what a receiver refuses for good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime

from aegis_core.observe.cloud_events import MEDIA_TYPE, message_id, written
from aegis_core.observe.destinations import Destination
from aegis_core.observe.pace import Pace
from aegis_core.observe.ports import DeliveryPort, NotSent, Sent
from aegis_core.observe.posting import Poster
from aegis_core.protocol.errors import AegisError, ChannelError, LeaseLostError
from aegis_core.protocol.events import Event

PAGE = 100

_log = logging.getLogger("aegis.webhooks")


class EventSender:
    """Serves one destination. Several processes may run one for the same; the holder of its lease is at work."""

    def __init__(self, destination: Destination, port: DeliveryPort, pace: Pace) -> None:
        self._destination, self._port, self._pace = destination, port, pace
        self._poster = Poster(destination.receiver, timeout=pace.send)
        self._fence, self._cursor, self._number = 0, "", 0
        self._committed, self._held_until = "", 0.0

    async def run(self) -> None:
        """Serve the destination whenever the lease is free, for ever."""
        failing = ""
        while True:
            try:
                if await self._take():
                    failing = ""
                    await self._serve()
                else:
                    await asyncio.sleep(self._pace.lease / 4)
            except LeaseLostError:
                continue
            except AegisError as error:
                if error.message != failing:
                    _log.warning("webhook %s waits: %s", self._destination.name, error.message)
                failing = error.message
                await asyncio.sleep(self._pace.retry(1))

    async def aclose(self) -> None:
        """Let another process go on at once."""
        with suppress(AegisError):
            await self._port.leave()
        await self._poster.aclose()

    async def _take(self) -> bool:
        asked = time.monotonic()
        lease = await self._port.hold(self._pace.lease)
        if lease is None:
            return False
        self._held_until = asked + self._pace.lease
        self._fence, self._cursor, self._number = lease
        self._committed = self._cursor
        return True

    async def _keep_hold(self, seconds: float) -> None:
        """Make sure that the lease lasts so much longer, and is the same one."""
        if self._held_until - time.monotonic() >= seconds:
            return
        asked = time.monotonic()
        lease = await self._port.hold(self._pace.lease)
        if lease is None or lease.fence != self._fence or lease.cursor != self._committed:
            raise self._lost()
        self._held_until = asked + self._pace.lease

    async def _serve(self) -> None:
        while True:
            await self._keep_hold(self._pace.lease / 2)
            for event in await self._port.page(self._cursor, PAGE, self._pace.lease / 4):
                await self._note_loss(event)
                if self._destination.wanted.matches(event):
                    await self._deliver(event)
                else:
                    self._cursor, self._number = event.id, event.number or self._number
            if self._cursor != self._committed:
                await self._commit(Sent(self._committed, self._cursor, self._number, 0))

    async def _note_loss(self, event: Event) -> None:
        """Say so where retention took what lies before an event; other numbers are missing where one was not used."""
        number = event.number or self._number + 1
        if number > self._number + 1 and await self._port.is_trimmed(self._cursor):
            lost = Sent(self._committed, self._cursor, number - 1, 0, self._number + 1, number - 1)
            await self._commit(lost)

    async def _deliver(self, event: Event) -> None:
        """Post one event until it is taken or put aside. The lease lasts for each attempt, and for each pause."""
        name, content = message_id(event), written(event)
        while True:
            await self._keep_hold(self._pace.send * 1.2)
            try:
                async with asyncio.timeout(self._pace.send):
                    await self._poster.post(name, content, MEDIA_TYPE)
            except TimeoutError:
                problem = f"{self._poster.host} gives no answer within {self._pace.send:g} s"
                failed = ChannelError(problem, answered=True)
            except ChannelError as error:
                failed = error
            else:
                await self._commit(Sent(self._committed, event.id, event.number or self._number, 1))
                return
            if await self._failed(event, failed):
                return

    async def _failed(self, event: Event, error: ChannelError) -> bool:
        """Count it, and pause; answers whether the event was put aside."""
        most = None if error.everything else self._pace.most_attempts
        patience = self._pace.give_up if error.answered else None
        failed = NotSent(self._committed, event, error.message, most, patience, down=error.everything)
        tried = await self._port.fail(self._fence, failed)
        if tried is None:
            raise self._lost()
        name = self._destination.name
        if tried.aside:
            _log.warning("webhook %s: event %s is put aside: %s", name, event.id, error.message)
            self._cursor = self._committed = event.id
            self._number = event.number or self._number
            return True
        if tried.attempts == 1:
            _log.warning("webhook %s: %s", name, error.message)
        until = time.monotonic() + max(error.retry_after, self._pace.retry(tried.attempts))
        while (left := until - time.monotonic()) > 0:
            await self._keep_hold(self._pace.lease / 2)
            await asyncio.sleep(min(left, self._pace.lease / 4))
        return False

    async def _commit(self, sent: Sent) -> None:
        if not await self._port.commit(self._fence, sent):
            raise self._lost()
        self._cursor = self._committed = sent.cursor
        self._number = sent.number

    def _lost(self) -> LeaseLostError:
        name = self._destination.name
        return LeaseLostError(f"Another process serves the webhook {name} now.", channel=name)


async def post_test(destination: Destination, tenant: str, pace: Pace | None = None) -> str:
    """Post one message that is no event; answers in a few words where it went.

    Raises:
        ChannelError: it was not taken.
    """
    poster = Poster(destination.receiver, timeout=(pace or Pace()).send)
    now = datetime.now(UTC)
    event = Event(f"test-{time.time_ns()}", now, "test", tenant, None, {"text": "A test message of Aegis."})
    try:
        await poster.post(message_id(event), written(event), MEDIA_TYPE)
    finally:
        await poster.aclose()
    return f"{poster.host} accepted a test message"

"""How one who wants a lock waits for it: woken by notices, and asking again where one may have been missed."""

from __future__ import annotations

import asyncio

from aegis_core.governor.notifier import Notifier
from aegis_core.protocol.locks import LockNotice, Told
from aegis_core.store.ledger import SessionProof
from aegis_core.store.locks import Found, LockClaim, LockStore
from aegis_core.store.records import Record

_HEARTBEAT = 5.0
"""Seconds after which a waiter shows that it is there; the store takes it for dead after three times that."""
_SPREAD_MS, _SPREAD_PLACES = 5, 50
"""Who waits asks again when a lease should have expired; the later its place, the later, and at most so much."""


class LockWait:
    """One claim on its way: asks, waits for its notice, and asks again when that may have been missed."""

    def __init__(self, book: LockStore, claim: LockClaim, caller: SessionProof, notifier: Notifier) -> None:
        self._book, self._claim, self._caller, self._notifier = book, claim, caller, notifier
        self._wake: asyncio.Future[None] | None = None
        self._granted: LockNotice | None = None
        self._evicted = 0
        self._wounded, self._given_up = False, 0

    def ear(self, notice: LockNotice | None) -> None:
        """What the notifier calls."""
        if notice is not None:
            if notice.kind == Told.GRANTED and notice.fence:
                self._granted = notice
            elif notice.kind == Told.MUST_GO:
                self._evicted = notice.at
            elif notice.kind == Told.WOUNDED:
                self._wounded = True
            elif notice.kind == Told.GIVEN_UP:
                self._given_up = notice.at
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def wait(self, seconds: float) -> tuple[Found, float]:
        """How it stands in the end, and until when (on the loop's clock) a lease is surely still held.

        The server took its time after it was asked, so its clock is at most `now - asked` ahead of the loop's: a lease
        that it says ends at E has ended here no earlier than that.
        """
        loop = asyncio.get_running_loop()
        until, began = loop.time() + seconds, 0
        while True:
            self._wake = loop.create_future()
            asked = loop.time()
            found = await self._book.acquire(self._claim, self._caller, self._notifier.name, queue=seconds > 0)
            began, left = began or found.now, until - loop.time()
            waits = found.state == "waiting" and left > 0
            if waits and not self._stopped(began):
                pause = pause_for(found.next_expiry - found.now, found.place, self._claim.ttl)
                timer = loop.call_later(min(left, pause), self.ear, None)
                try:
                    await self._wake
                finally:
                    timer.cancel()
            if why := self._stopped(began):
                return await self._stop(why), 0
            if not waits:
                if found.state == "held" and self._wake.done():  # what it heard may be newer than this answer
                    continue
                return found, asked + seconds_left(found, found.now)
            granted = self._granted
            if granted is not None:
                self._granted = None
                deadline = asked + (granted.at - found.now) / 1000
                if deadline > loop.time():
                    now = found.now + int((loop.time() - asked) * 1000)
                    found = Found(
                        "held", now, granted.at, (granted.fence,), 0, now, self._evicted, 0, self._claim.names
                    )
                    return found, deadline

    def _stopped(self, began: int) -> str:
        """How the claim stands after a notice that ended its wait. One from before it began was about another wait."""
        return "wounded" if self._wounded else "busy" if self._given_up > began else ""

    async def _stop(self, why: str) -> Found:
        """Its place is gone. An asking that was on its way then may have taken another, which nobody wants."""
        claim = self._claim
        await self._book.release(self._caller, claim.agent, claim.names[0], claim.token, None)
        return Found(why)


def pause_for(expires_in: int, place: int, ttl: int) -> float:
    """Seconds for which one who waits need not ask again, unless it hears something.

    Args:
        expires_in: ms until the next lease of the lock should expire.
        place: how many wait before it.
        ttl: ms for which it wants the lock.
    """
    pause = max(0, expires_in) + 2 + _SPREAD_MS * min(place, _SPREAD_PLACES)
    return min(_HEARTBEAT, max(1.0, ttl / 2000), pause / 1000)


def pause_of(record: Record, now: int) -> float:
    """The same for a record that waits for a person, or for its lock. The deadline is the server's, so a waiter
    asks again when it passes."""
    pause = (record.deadline - now) / 1000 + 0.005
    lease = record.lease
    stands = lease.standing if lease else None
    if lease is None or stands is None:
        return pause
    return min(pause, pause_for(stands.next_expiry - now, stands.place, lease.ttl))


def seconds_left(found: Found, now: int) -> float:
    """How long a lease that was found is held after `now` (ms of the server)."""
    return max(0, found.expires - now) / 1000

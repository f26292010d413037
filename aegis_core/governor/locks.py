"""StateLockManager: locks and semaphores on Redis. What is held, and by whom, is known there alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aegis_core.governor.budgets import at_ms
from aegis_core.governor.credentials import caller_of
from aegis_core.governor.notifier import Inbox
from aegis_core.protocol.errors import ConflictError, InvalidRequestError, LockLostError, LockPreemptedError
from aegis_core.protocol.locks import (
    AcquireLock,
    Ear,
    LockHolder,
    LockState,
    LockSummary,
    LockTaken,
    LockWaiter,
    Notice,
    ReleaseLock,
    RenewLock,
    Told,
    lock_name,
    new_lock_token,
)
from aegis_core.store.ledger import Caller, Ledger
from aegis_core.store.lock_records import Lien
from aegis_core.store.locks import Claim, Found, Lockbook
from aegis_core.store.records import Record

_HEARTBEAT = 5.0
"""Seconds after which a waiter shows that it is there; the store takes it for dead after three times that."""
_SPREAD_MS, _SPREAD_PLACES = 5, 50
"""Who waits asks again when a lease should have expired; the later its place, the later, and at most so much."""


class StateLockManager:
    """The locks of one tenant. Agents hold them through `agent.lock`; this is what that stands on."""

    def __init__(self, ledger: Ledger, inbox: Inbox) -> None:
        self._book, self._inbox = Lockbook(ledger), inbox
        self._pepper = ledger.store.pepper

    async def acquire(
        self, resource: str, message: AcquireLock, *, token: str | None = None, wait: float = 0
    ) -> LockState:
        """Take a lock, or several at once.

        Args:
            resource: the lock's name.
            message: what is wanted of it.
            token: the agent's session token; absent only where the caller is trusted.
            wait: seconds to wait in the queue. At 0 nothing is waited for. When they are over, the place in the
                queue stays for 15 s, for another call with the same `lock_token`; `release` gives it up at once.

        Raises:
            LockPreemptedError: waiting would close a cycle, and the caller must give way; it holds nothing new.
            LockLostError: a lease named in `within` is gone.
            ConflictError: the lock is another one than the message says, or there are too many; or a lease named in
                `within` keeps it from the caller himself.
            AuthError: the agent is blocked, or its priority above what it may ask for.
            StoreError: Redis could not be asked; what was asked for is found again by its token.
        """
        names = tuple(sorted({resource, *message.also}))
        lock_token = message.lock_token or new_lock_token()
        claim = _claim(message, names, lock_token)
        waiter = _Waiter(self._book, claim, caller_of(token, self._pepper), self._inbox)
        await self._inbox.open()
        self._inbox.hear(lock_token, waiter.ear)  # before asking, so that no grant is missed
        try:
            found, deadline = await waiter.wait(wait)
        finally:
            self._inbox.forget(lock_token, waiter.ear)
        if found.state == "wounded":
            raise _wounded(resource)
        if found.state == "itself":
            raise _waits_for_itself(resource)
        if found.state == "gone":
            raise _lost(resource)
        return _state_of(found, resource, message.agent_id, lock_token, deadline)

    async def renew(self, resource: str, message: RenewLock, *, token: str | None = None, wait: float = 0) -> LockState:
        """Keep a lease. One that was evicted is answered as ``evicting`` and keeps the end of its grace.

        Args:
            resource: the lock's name.
            message: the lease.
            token: the agent's session token.
            wait: seconds to stay for a notice, which is answered at once.

        Raises:
            LockLostError: it is gone: expired, evicted, given back, or never was.
        """
        heard = asyncio.Event()

        def ear(_: Notice | None) -> None:
            heard.set()

        if wait <= 0:
            self._inbox.lend(message.lock_token, ear)  # whoever enters it hears nothing before it has the answer
            try:
                state = await self._renew(resource, message, token, self._inbox.address())
                while heard.is_set():
                    heard.clear()
                    state = await self._renew(resource, message, token, self._inbox.address())
                return state
            finally:
                self._inbox.forget(message.lock_token, ear)
        await self._inbox.open()
        self._inbox.hear(message.lock_token, ear)
        try:
            state = await self._renew(resource, message, token, self._inbox.name)
            if state.state == "held":
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(wait, state.expires_in_seconds or 0)):
                        await heard.wait()
            return await self._renew(resource, message, token, None) if heard.is_set() else state
        finally:
            self._inbox.forget(message.lock_token, ear)

    async def _renew(self, resource: str, message: RenewLock, token: str | None, inbox: str | None) -> LockState:
        ttl = None if message.ttl_seconds is None else int(message.ttl_seconds * 1000)
        asked = asyncio.get_running_loop().time()
        caller = caller_of(token, self._pepper)
        found = await self._book.renew(
            caller, message.agent_id, resource, message.lock_token, message.fence, ttl, inbox
        )
        if found.state != "held":
            raise _lost(resource)
        deadline = asked + _left(found, found.now)
        return _state_of(found, resource, message.agent_id, message.lock_token, deadline)

    async def release(self, message: ReleaseLock, *, token: str | None = None) -> LockState:
        """Give a lease back (all that were taken together), or leave the queue, giving back what was granted meanwhile.

        Raises:
            LockLostError: the token holds nothing and waits for nothing.
        """
        caller = caller_of(token, self._pepper)
        ended = await self._book.release(caller, message.agent_id, message.resource, message.lock_token, message.fence)
        if ended.word == "gone":
            raise _lost(message.resource)
        state = LockState("released", message.resource, message.agent_id, message.lock_token)
        if ended.word == "released":
            state.held_seconds = ended.after / 1000
        else:
            state.waited_seconds = ended.after / 1000
        return state

    async def overview(self, resource: str | None = None) -> tuple[LockSummary, ...]:
        """Every lock that is held or waited for, by its next expiry; or the one of that name."""
        if resource is not None:
            resource = lock_name(resource)
        found: dict[str, LockSummary] = {}
        start: int | None = 0
        while start is not None:
            now, start, rows = await self._book.page(resource, start)
            found |= {row[0]: _summary(row, now) for row in rows}
        return tuple(found.values())

    async def force_release(
        self, resource: str, *, fence: int | None = None, author: str = "operator"
    ) -> tuple[LockTaken, ...]:
        """Take a lock from all its holders, or from the one with that fence, for operators.

        Raises:
            NotFoundError: nobody holds it.
        """
        taken = await self._book.force(lock_name(resource), fence, author)
        return tuple(LockTaken(agent, held) for agent, held in taken)

    def watch(self, resource: str, message: RenewLock, ear: Ear, *, token: str | None = None) -> Callable[[], None]:  # noqa: ARG002
        """Bring a holder's notices to `ear`, until what is answered is called."""
        self._inbox.hear(message.lock_token, ear)
        return lambda: self._inbox.forget(message.lock_token, ear)


class _Waiter:
    """One claim on its way: asks, waits for its notice, and asks again when that may have been missed."""

    def __init__(self, book: Lockbook, claim: Claim, caller: Caller, inbox: Inbox) -> None:
        self._book, self._claim, self._caller, self._inbox = book, claim, caller, inbox
        self._bell: asyncio.Future[None] | None = None
        self._granted: Notice | None = None
        self._evicted = 0
        self._wounded, self._given_up = False, 0

    def ear(self, notice: Notice | None) -> None:
        """What the inbox calls."""
        if notice is not None:
            if notice.kind == Told.GRANTED and notice.fence:
                self._granted = notice
            elif notice.kind == Told.MUST_GO:
                self._evicted = notice.at
            elif notice.kind == Told.WOUNDED:
                self._wounded = True
            elif notice.kind == Told.GIVEN_UP:
                self._given_up = notice.at
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def wait(self, seconds: float) -> tuple[Found, float]:
        """How it stands in the end, and until when (on the loop's clock) a lease is surely still held.

        The server took its time after it was asked, so its clock is at most `now - asked` ahead of the loop's: a lease
        that it says ends at E has ended here no earlier than that.
        """
        loop = asyncio.get_running_loop()
        until, began = loop.time() + seconds, 0
        while True:
            self._bell = loop.create_future()
            asked = loop.time()
            found = await self._book.acquire(self._claim, self._caller, self._inbox.name, queue=seconds > 0)
            began, left = began or found.now, until - loop.time()
            waits = found.state == "waiting" and left > 0
            if waits and not self._stopped(began):
                pause = pause_for(found.next_expiry - found.now, found.place, self._claim.ttl)
                timer = loop.call_later(min(left, pause), self.ear, None)
                try:
                    await self._bell
                finally:
                    timer.cancel()
            if why := self._stopped(began):
                return await self._stop(why), 0
            if not waits:
                if found.state == "held" and self._bell.done():  # what it heard may be newer than this answer
                    continue
                return found, asked + _left(found, found.now)
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
    """The same for a record that waits for a person, or for its lock. The deadline is the server's, so whoever waits
    asks again when it passes."""
    pause = (record.deadline - now) / 1000 + 0.005
    lease = record.lease
    stands = lease.standing if lease else None
    if lease is None or stands is None:
        return pause
    return min(pause, pause_for(stands.next_expiry - now, stands.place, lease.ttl))


def _left(found: Found, now: int) -> float:
    return max(0, found.expires - now) / 1000


def _claim(message: AcquireLock, names: tuple[str, ...], lock_token: str) -> Claim:
    if len(names) != 1 + len(message.also):
        raise InvalidRequestError("also: a lock is named twice", field="also", problem="a lock is named twice")
    within = tuple(Lien(held.resource, held.lock_token) for held in message.within)
    grace = None if message.grace_seconds is None else int(message.grace_seconds * 1000)
    return Claim(
        message.agent_id, names, lock_token, message.priority, int(message.ttl_seconds * 1000), message.permits,
        message.weight, message.mode, message.preemption, grace, within,
    )  # fmt: skip


def _state_of(found: Found, resource: str, agent: str, lock_token: str, deadline: float) -> LockState:
    state = LockState("busy", resource, agent, lock_token)
    if found.state == "held":
        state.state = "evicting" if found.evicted else "held"
        state.fences = dict(zip(found.names, found.fences, strict=True))
        state.fence = state.fences.get(resource)
        state.expires_at = at_ms(found.expires)
        state.expires_in_seconds = max(0.0, deadline - asyncio.get_running_loop().time())
    else:
        state.retry_after_seconds = max(0, found.next_expiry - found.now) / 1000
        if found.state == "waiting":
            state.state, state.queue_position = "waiting", found.place
    return state


def _summary(row: list[Any], now: int) -> LockSummary:
    name, permits, preemption, holders, waiters, queued = row
    return LockSummary(
        name,
        permits,
        preemption,
        tuple(
            LockHolder(
                agent, fence, priority, weight, mode, at_ms(since), max(0, now - since) / 1000, waited / 1000,
                at_ms(expires), evicted != 0,
            )
            for agent, fence, priority, weight, mode, since, expires, evicted, waited in holders
        ),
        tuple(
            LockWaiter(agent, priority, weight, mode, at_ms(since), max(0, now - since) / 1000, place)
            for agent, priority, weight, mode, since, place in waiters
        ),
        queued,
    )  # fmt: skip


def _lost(resource: str) -> ConflictError:
    return LockLostError(
        f"The token does not hold {resource}: the lease expired, was given back or taken, or never was.",
        resource=resource,
    )


def _waits_for_itself(resource: str) -> ConflictError:
    return ConflictError(
        f"A block around this one holds {resource}, so it would wait for itself. "
        "Enter it once more by its token: agent.lock(name, token=lease.token).",
        resource=resource,
        code="lock_deadlock",
    )


def _wounded(resource: str) -> LockPreemptedError:
    return LockPreemptedError(
        f"Waiting for {resource} would close a cycle of waits, and an earlier claim goes first. "
        "Give back what is held, and take all of it again.",
        resource=resource,
        reason="deadlock",
    )

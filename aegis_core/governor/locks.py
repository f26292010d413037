"""StateLockManager: locks and semaphores on Redis. What is held, and by whom, is known there alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aegis_core.governor.budgets import at_ms
from aegis_core.governor.credentials import caller_of
from aegis_core.governor.lock_wait import LockWait, seconds_left
from aegis_core.governor.notifier import Notifier
from aegis_core.protocol.errors import ConflictError, InvalidRequestError, LockLostError, LockPreemptedError
from aegis_core.protocol.locks import (
    AcquireLock,
    LockHolder,
    LockNotice,
    LockState,
    LockSummary,
    LockTaken,
    LockWaiter,
    NoticeListener,
    ReleaseLock,
    RenewLock,
    lock_name,
    new_lock_token,
)
from aegis_core.store.ledger import Ledger
from aegis_core.store.lock_records import Lien
from aegis_core.store.locks import Found, LockClaim, LockStore


class StateLockManager:
    """The locks of one tenant. Agents hold them through `agent.lock`; this is what that stands on."""

    def __init__(self, ledger: Ledger, notifier: Notifier) -> None:
        self._book, self._notifier = LockStore(ledger), notifier
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
        waiter = LockWait(self._book, claim, caller_of(token, self._pepper), self._notifier)
        await self._notifier.open()
        self._notifier.hear(lock_token, waiter.ear)  # before asking, so that no grant is missed
        try:
            found, deadline = await waiter.wait(wait)
        finally:
            self._notifier.forget(lock_token, waiter.ear)
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

        def ear(_: LockNotice | None) -> None:
            heard.set()

        if wait <= 0:
            self._notifier.lend(message.lock_token, ear)  # the one who enters it hears nothing before it has the answer
            try:
                state = await self._renew(resource, message, token, self._notifier.address())
                while heard.is_set():
                    heard.clear()
                    state = await self._renew(resource, message, token, self._notifier.address())
                return state
            finally:
                self._notifier.forget(message.lock_token, ear)
        await self._notifier.open()
        self._notifier.hear(message.lock_token, ear)
        try:
            state = await self._renew(resource, message, token, self._notifier.name)
            if state.state == "held":
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(wait, state.expires_in_seconds or 0)):
                        await heard.wait()
            return await self._renew(resource, message, token, None) if heard.is_set() else state
        finally:
            self._notifier.forget(message.lock_token, ear)

    async def _renew(self, resource: str, message: RenewLock, token: str | None, inbox: str | None) -> LockState:
        ttl = None if message.ttl_seconds is None else int(message.ttl_seconds * 1000)
        asked = asyncio.get_running_loop().time()
        caller = caller_of(token, self._pepper)
        found = await self._book.renew(
            caller, message.agent_id, resource, message.lock_token, message.fence, ttl, inbox
        )
        if found.state != "held":
            raise _lost(resource)
        deadline = asked + seconds_left(found, found.now)
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

    def watch(
        self,
        resource: str,  # noqa: ARG002 - the port's signature, of which a local governor needs less
        message: RenewLock,
        ear: NoticeListener,
        *,
        token: str | None = None,  # noqa: ARG002
    ) -> Callable[[], None]:
        """Bring a holder's notices to `ear`, until what is answered is called."""
        self._notifier.hear(message.lock_token, ear)
        return lambda: self._notifier.forget(message.lock_token, ear)


def _claim(message: AcquireLock, names: tuple[str, ...], lock_token: str) -> LockClaim:
    if len(names) != 1 + len(message.also):
        raise InvalidRequestError("also: a lock is named twice", field="also", problem="a lock is named twice")
    within = tuple(Lien(held.resource, held.lock_token) for held in message.within)
    grace = None if message.grace_seconds is None else int(message.grace_seconds * 1000)
    return LockClaim(
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
        # To the microsecond: the difference of two times may come out a trifle above what was asked.
        state.expires_in_seconds = round(max(0.0, deadline - asyncio.get_running_loop().time()), 6)
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

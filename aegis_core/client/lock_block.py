"""What ``async with agent.lock(…)`` enters."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Any

from aegis_core.client.connection import Connection
from aegis_core.client.leases import HELD, OPEN, Lease, seconds
from aegis_core.client.ports import LocksPort
from aegis_core.client.ties import End, tie_to_task
from aegis_core.protocol.errors import (
    AegisError,
    ConflictError,
    InvalidRequestError,
    LockLostError,
    LockTimeoutError,
    StoreError,
)
from aegis_core.protocol.keywords import LockFields
from aegis_core.protocol.locks import AcquireLock, ReleaseLock, RenewLock, lock_name, new_lock_token
from aegis_core.protocol.messages import HeldLock, SessionOpened
from aegis_core.protocol.parsing import parse

_LOCK_WAIT = 86_400.0
"""Seconds that may be waited for a lock at most: nobody waits for ever."""

_SAID_ELSEWHERE = {
    "ttl_seconds": "write ttl=", "lock_token": "write token=, to enter a lease that is held",
    "also": "take several with lock_all", "agent_id": "an agent takes locks for itself only",
}  # fmt: skip
"""Fields of `AcquireLock` that `lock` says itself, and how."""

_log = logging.getLogger("aegis.locks")

_GIVING_BACK: set[asyncio.Task[object]] = set()


def held_of(session: SessionOpened) -> tuple[HeldLock, ...]:
    """The leases of the blocks around the running code that are this agent's: what a further lock is taken within."""
    return _held_among(HELD.get(), session)


def _held_among(around: tuple[Lease, ...], session: SessionOpened) -> tuple[HeldLock, ...]:
    # A task that outlives the block in which it began still sees its lease, though it was given back.
    owner = (session.tenant, session.agent_id)
    mine = dict.fromkeys(held for held in around if held.owner == owner and held.kept)
    return tuple(HeldLock(resource=held.resource, lock_token=held.token) for held in list(mine)[:16])


def leave(lease: Lease) -> None:
    """The running code is no longer in the innermost block of this lease; others may have been entered since."""
    held = HELD.get()
    for at in reversed(range(len(held))):
        if held[at] is lease:
            HELD.set(held[:at] + held[at + 1 :])
            return


class LockBlock:
    """What ``async with agent.lock(…)`` enters: waits for the lease, and gives it back at the end.

    A cancellation while it waits gives back what was granted meanwhile. One block is entered by one task at a time. One
    that is entered by hand, and not left, ends with its task, unless it is handed over (`hand_over`).
    """

    def __init__(
        self,
        connection: Connection,
        session: SessionOpened,
        resource: str,
        message: AcquireLock,
        wait: float,
        *,
        join: bool,
    ) -> None:
        self._connection, self._session, self._resource = connection, session, resource
        self._message, self._wait, self._join = message, wait, join
        self._lease: Lease | None = None
        self._joined: Lease | None = None
        self._kept: Lease | None = None
        self._in_use, self._entered_before = False, False
        self._untie: End | None = None
        self.tells_of_loss = True
        """False where the one who leaves the block checks itself whether the lease was lost."""

    @property
    def _port(self) -> LocksPort:
        return self._connection.port.locks

    async def acquire(self, around: tuple[Lease, ...]) -> Lease:
        """Take the lease, within those `around`.

        Raises:
            LockTimeoutError: it was not free in time. LockPreemptedError: waiting would close a cycle.
            LockLostError: a lease around it is gone, or (with a token) the lease to enter is.
            ConflictError: this very block is entered already.
        """
        if self._in_use:  # by its token the second would be let in beside the first
            raise ConflictError(
                f"This block of {self._resource} is entered already; call agent.lock(…) again for each entry.",
                code="block_in_use", resource=self._resource,
            )  # fmt: skip
        self._in_use = True
        try:
            return await (self._entered() if self._join else self._taken(around))
        except BaseException:
            self._in_use = False
            raise

    async def _taken(self, around: tuple[Lease, ...]) -> Lease:
        if self._entered_before:  # what may still be on its way about the last entry must not touch this one
            self._message = self._message.model_copy(update={"lock_token": new_lock_token()})
        self._entered_before = True
        message = self._message
        if within := _held_among(around, self._session):
            message = message.model_copy(update={"within": within})
        try:
            state = await self._port.acquire(
                self._resource, message, token=self._session.session_token, wait=self._wait
            )
        except (asyncio.CancelledError, StoreError):
            await self._give_up()
            raise
        if state.state in {"busy", "waiting"}:
            if state.state == "waiting":
                await self._give_up()
            raise LockTimeoutError(
                f"{self._resource} was not free within {self._wait:g} s.",
                resource=self._resource,
                waited_seconds=self._wait,
                queue_position=state.queue_position,
            )
        self._lease = Lease(self._port, self._session, state, message.ttl_seconds)
        return self._lease

    async def release(self, *, failed: bool) -> None:
        """Give the lease back. Silent where it was lost and the block had `failed` anyway.

        A child that was forked in the block gives nothing back: the lease is its parent's.

        Raises:
            LockLostError: the lease had been lost before the block ended, so others may have been in it, too.
        """
        lease, self._lease, self._in_use = self._lease, None, False
        if lease is None:
            self._leave_joined(failed=failed)
            return
        if lease.inherited:
            return
        lease.close()
        message = self._release_of(lease)
        try:
            await self._port.release(message, token=self._session.session_token)
        except LockLostError:
            for other in lease.fences if len(lease.fences) > 1 else ():  # one of several was taken; the rest is here
                await self._quietly(message.model_copy(update={"resource": other}))
            if not failed:
                raise lease.lost_error() from None
        except asyncio.CancelledError:
            in_background(self._quietly(message))
            raise
        except StoreError:  # it ends by its expiry
            if not failed:
                raise

    def _leave_joined(self, *, failed: bool) -> None:
        """It was entered once more, so the one that took it gives it back."""
        joined, kept, self._joined, self._kept = self._joined, self._kept, None, None
        if joined is None or joined.inherited:
            return
        gone = not joined.kept
        if kept is not None:
            kept.close()
        if gone and not failed and self.tells_of_loss:
            raise joined.lost_error()

    async def _entered(self) -> Lease:
        assert self._message.lock_token is not None
        token = self._message.lock_token
        known = OPEN.get(token)
        owner = (self._session.tenant, self._session.agent_id)
        if known is not None and self._resource in known.fences and known.is_of(owner):
            await known.renew()
            self._joined = known
            return known
        ask = RenewLock(agent_id=self._session.agent_id, lock_token=token)
        state = await self._port.renew(self._resource, ask, token=self._session.session_token)
        self._joined = self._kept = Lease(self._port, self._session, state, self._message.ttl_seconds)
        return self._kept

    async def _give_up(self) -> None:
        assert self._message.lock_token is not None
        message = ReleaseLock(
            agent_id=self._session.agent_id, resource=self._resource, lock_token=self._message.lock_token
        )
        with suppress(asyncio.CancelledError):  # it goes on by itself
            await asyncio.shield(in_background(self._quietly(message)))

    async def _quietly(self, message: ReleaseLock) -> None:
        with suppress(AegisError):
            await self._port.release(message, token=self._session.session_token)

    def _release_of(self, lease: Lease) -> ReleaseLock:
        return ReleaseLock.model_construct(
            agent_id=lease.agent_id, resource=lease.resource, lock_token=lease.token, fence=None
        )

    def hand_over(self) -> None:
        """Let another task leave this block. It no longer ends with the one that entered it, whose further locks are
        no longer taken within it."""
        if self._untie is not None:
            self._untie()
            self._untie = None
        if (lease := self._lease or self._joined) is not None:
            leave(lease)

    async def abandon(self) -> None:
        """Give the lease back after its task or thread has ended without leaving the block."""
        lease, joined, self._lease, self._in_use = self._lease, self._joined, None, False
        if joined is not None:
            self._leave_joined(failed=True)
        if lease is not None:
            _log.warning(
                "%s was entered by hand and never left, so it was given back when that task or thread ended; "
                "block.hand_over() lets another one leave it.",
                lease.resource,
            )
            lease.close()
            await self._quietly(self._release_of(lease))

    def _leave_alone(self) -> None:
        in_background(self.abandon())

    async def __aenter__(self) -> Lease:
        around = HELD.get()
        lease = await self.acquire(around)
        self._untie = tie_to_task(self._leave_alone)
        HELD.set((*around, lease))
        return lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hand_over()
        await self.release(failed=error is not None)


def block_of(
    connection: Connection,
    session: SessionOpened,
    names: tuple[str, ...],
    wait: float | str,
    ttl: float | str,
    token: str | None,
    wish: LockFields,
) -> LockBlock:
    """The block of `GovernedAgent.lock` and `GovernedAgent.lock_all`, and what they raise at once.

    Raises:
        InvalidRequestError: a field that cannot be accepted.
    """
    for name in _SAID_ELSEWHERE.keys() & wish.keys():
        problem = _SAID_ELSEWHERE[name]
        raise InvalidRequestError(f"{name}: {problem}", field=name, problem=problem)
    longest = seconds(wait, "wait")
    if not 0 <= longest <= _LOCK_WAIT:
        problem = f"must be 0 to {_LOCK_WAIT:g} seconds"
        raise InvalidRequestError(f"wait: {problem}", field="wait", problem=problem)
    ask = parse(
        AcquireLock,
        agent_id=session.agent_id,
        ttl_seconds=seconds(ttl, "ttl"),
        also=names[1:],
        lock_token=token or new_lock_token(),
        **wish,
    )
    return LockBlock(connection, session, lock_name(names[0]), ask, longest, join=token is not None)


def in_background(work: Any) -> asyncio.Task[object]:
    """Go on with what gives something back, whatever becomes of who began it."""
    task = asyncio.ensure_future(work)
    _GIVING_BACK.add(task)
    task.add_done_callback(_GIVING_BACK.discard)
    return task

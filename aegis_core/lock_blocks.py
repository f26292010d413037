"""What ``async with agent.lock(…)`` enters."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any

from aegis_core.errors import AegisError, LockLostError, LockTimeoutError, StoreError
from aegis_core.leases import HELD, OPEN, Lease
from aegis_core.lock_protocol import AcquireLock, ReleaseLock, RenewLock
from aegis_core.ports import LocksPort
from aegis_core.protocol import HeldLock, SessionOpened

_GIVING_BACK: set[asyncio.Task[Any]] = set()


def held_of(session: SessionOpened) -> tuple[HeldLock, ...]:
    """The leases of the blocks around the running code that are this agent's: what a further lock is taken within."""
    owner = (session.tenant, session.agent_id)
    mine = [held for held in HELD.get() if held.owner == owner and not held.lost]
    return tuple(HeldLock(resource=held.resource, lock_token=held.token) for held in mine[:16])


class LockBlock:
    """What ``async with agent.lock(…)`` enters: waits for the lease, and gives it back at the end.

    A cancellation while it waits gives back what was granted meanwhile.
    """

    def __init__(
        self, port: LocksPort, session: SessionOpened, resource: str, message: AcquireLock, wait: float, *, join: bool
    ) -> None:
        self._port, self._session, self._resource = port, session, resource
        self._message, self._wait, self._join = message, wait, join
        self._lease: Lease | None = None
        self._kept: Lease | None = None

    async def acquire(self, around: tuple[Lease, ...]) -> Lease:
        """Take the lease, within those `around`.

        Raises:
            LockTimeoutError: it was not to be had in time. LockPreemptedError: waiting would close a cycle.
            LockLostError: a lease around it is gone, or (with a token) the lease to enter is.
        """
        if self._join:
            return await self._entered()
        owner = (self._session.tenant, self._session.agent_id)
        mine = tuple(held for held in around if held.owner == owner and not held.lost)
        message = self._message
        if mine:
            within = tuple(HeldLock(resource=held.resource, lock_token=held.token) for held in mine[:16])
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
                f"{self._resource} was not to be had within {self._wait:g} s.",
                resource=self._resource,
                waited_seconds=self._wait,
                queue_position=state.queue_position,
            )
        self._lease = Lease(self._port, self._session, state, message.ttl_seconds)
        return self._lease

    async def release(self, *, failed: bool) -> None:
        """Give the lease back. Silent where it was lost and the block had `failed` anyway.

        Raises:
            LockLostError: the lease had been lost before the block ended, so others may have been in it, too.
        """
        lease = self._lease
        if lease is None:
            if self._kept is not None:  # it was entered once more: whoever took it gives it back
                self._kept.close()
            return
        lease.close()
        message = self._release_of(lease)
        try:
            await self._port.release(message, token=self._session.session_token)
        except LockLostError:
            if not failed:
                raise lease.lost_error() from None
        except asyncio.CancelledError:
            in_background(self._quietly(message))
            raise
        except StoreError:  # it ends by its expiry
            if not failed:
                raise

    async def _entered(self) -> Lease:
        assert self._message.lock_token is not None
        token = self._message.lock_token
        known = OPEN.get(token)
        if known is not None and self._resource in known.fences:
            await known.renew()
            return known
        ask = RenewLock(agent_id=self._session.agent_id, lock_token=token)
        state = await self._port.renew(self._resource, ask, token=self._session.session_token)
        self._kept = Lease(self._port, self._session, state, self._message.ttl_seconds)
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

    async def __aenter__(self) -> Lease:
        around = HELD.get()
        lease = await self.acquire(around)
        HELD.set((*around, lease))
        return lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = HELD.get()
        if held:
            HELD.set(held[:-1])
        await self.release(failed=error is not None)


def in_background(work: Any) -> asyncio.Task[Any]:
    """Go on with what gives something back, whatever becomes of who began it."""
    task = asyncio.ensure_future(work)
    _GIVING_BACK.add(task)
    task.add_done_callback(_GIVING_BACK.discard)
    return task

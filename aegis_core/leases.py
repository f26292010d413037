"""What `agent.lock` gives: a lease that renews itself, hears when it must go, and refuses use once it is lost."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from aegis_core.errors import (
    AegisError,
    InvalidRequestError,
    LockLostError,
    LockPreemptedError,
    LockTimeoutError,
    StoreError,
)
from aegis_core.fields import identifier
from aegis_core.lock_protocol import AcquireLock, HeldLock, LockState, Notice, ReleaseLock, RenewLock
from aegis_core.ports import LocksPort
from aegis_core.protocol import SessionOpened

_DURATION = re.compile(r"(?P<count>\d{1,9}(?:\.\d{1,6})?)\s*(?P<unit>ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
_RETRY = 0.5
"""Seconds after which a renewal that found no store is tried again."""

HELD: ContextVar[tuple[Lease, ...]] = ContextVar("aegis_leases", default=())
"""The leases of the blocks around the running code, outermost first: what a further lock is taken within."""

_OPEN: WeakValueDictionary[str, Lease] = WeakValueDictionary()
_GIVING_BACK: set[asyncio.Task[Any]] = set()


def seconds(value: float | str, name: str) -> float:
    """Seconds from a number or a text such as ``30s``, ``500ms``, ``2m`` or ``1h``.

    Raises:
        InvalidRequestError: neither.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            problem = f"{value!r} is no duration; write 30s, 500ms, 2m or 1h"
            raise InvalidRequestError(f"{name}: {problem}", field=name, problem=problem)
        return float(match["count"]) * _UNITS[match["unit"]]
    return float(value)


def lock_name(name: str) -> str:
    """The name of a lock, normalised.

    Raises:
        InvalidRequestError: not a name.
    """
    try:
        return identifier(name)
    except ValueError as error:
        raise InvalidRequestError(f"resource: {error}", field="resource", problem=str(error)) from None


class Lease:
    """A held lock, or several that were taken together. It renews itself until it is given back or lost.

    Attributes:
        resource: the lock's name; of several the first that was named.
        fences: the fence of each lock: a number that grows with each lease of it. Let the resource refuse lower ones.
        token: what proves the lease. `agent.lock(resource, token=…)` enters it once more.
        evicting: set when somebody with a higher priority needs it (and when it is lost): finish, and leave the block.
    """

    def __init__(self, port: LocksPort, session: SessionOpened, state: LockState, ttl: float) -> None:
        assert state.fence is not None
        self._port, self._session, self._ttl = port, session, ttl
        self._loop = asyncio.get_running_loop()
        self.owner = (session.tenant, session.agent_id)
        self.agent_id, self.resource, self.token = state.agent_id, state.resource, state.lock_token
        self.fences = state.fences
        self.evicting = asyncio.Event()
        self.thread_evicting: threading.Event | None = None
        self._why: LockLostError | None = None
        self._fence = state.fence
        self._deadline, self._ends_at = 0.0, 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._closed = False
        self._take(state)
        message = RenewLock.model_construct(agent_id=self.agent_id, lock_token=self.token, fence=self._fence)
        self._ask = message
        self._unwatch: Callable[[], None] = port.watch(self.resource, message, self._ear, token=session.session_token)
        _OPEN[self.token] = self

    @property
    def fence(self) -> int:
        """The fence of `resource`.

        Raises:
            LockLostError: the lease is no more.
        """
        self._check_held()
        return self._fence

    @property
    def lost(self) -> bool:
        """True once the lease is no more."""
        return self._why is not None or self._loop.time() >= self._deadline

    def check(self) -> None:
        """Go on only while the lease is held and nobody with a higher priority needs it. Costs no call.

        Raises:
            LockPreemptedError: notice was given; at the end of the grace, or already now, it is gone.
            LockLostError: it expired, or an operator took it.
        """
        self._check_held()
        if self.evicting.is_set():
            raise self._preempted()

    async def renew(self) -> None:
        """Renew it now, and so make sure that the store still knows it.

        Raises:
            LockLostError: it does not. StoreError: it cannot be asked; the lease goes on until its expiry.
        """
        try:
            asked = self._loop.time()
            state = await self._port.renew(self.resource, self._ask, token=self._session.session_token)
            self._take(state, asked)
        except StoreError:
            raise
        except AegisError as error:
            self._lose(error)
            assert self._why is not None
            raise self._why from None

    def close(self) -> None:
        """Stop renewing and listening. Called at the end of the block."""
        self._closed = True
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
        if self._renewing is not None:
            self._renewing.cancel()

    def lost_error(self) -> LockLostError:
        """Why it is gone, in the words that fit what was heard."""
        if self._why is None:
            self._why = self._preempted() if self.evicting.is_set() else _lost(self.resource)
        return self._why

    def _check_held(self) -> None:
        if self.lost:
            raise self.lost_error()

    def _preempted(self) -> LockPreemptedError:
        return LockPreemptedError(
            f"{self.resource} is needed by somebody with a higher priority; finish and leave the block.",
            resource=self.resource,
            ends_in_seconds=round(max(0.0, self._deadline - self._loop.time()), 3),
        )

    def _take(self, state: LockState, asked: float | None = None) -> None:
        now = self._loop.time()
        assert state.expires_at is not None
        assert state.expires_in_seconds is not None
        # The way back of an answer counts as time gone by.
        self._deadline = (now if asked is None else asked) + state.expires_in_seconds
        self._ends_at = state.expires_at.timestamp()
        if state.state == "evicting":
            self._tell()
        self._plan(min(self._ttl, self._deadline - now) / 3)

    def _plan(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = self._loop.call_later(max(delay, 0.01), self._start)

    def _start(self) -> None:
        if self._loop.time() >= self._deadline:
            self._lose(None)
        elif not self._closed and (self._renewing is None or self._renewing.done()):
            self._renewing = self._loop.create_task(self._renew_in_time())

    async def _renew_in_time(self) -> None:
        try:
            await self.renew()
        except StoreError:
            self._plan(min(_RETRY, max(0.01, self._deadline - self._loop.time())))
        except LockLostError:
            pass

    def _ear(self, notice: Notice | None) -> None:
        if notice is None:  # the subscription was interrupted: ask
            self._plan(0)
        elif notice.kind == "P":
            if notice.at > 0:
                self._deadline = min(self._deadline, self._deadline - (self._ends_at - notice.at / 1000))
            self._tell()
        elif notice.kind == "L":
            self._lose(None)

    def _tell(self) -> None:
        self.evicting.set()
        if self.thread_evicting is not None:
            self.thread_evicting.set()

    def _lose(self, error: AegisError | None) -> None:
        if self._why is None:
            evicted = self.evicting.is_set()
            why = self._preempted() if evicted else error if isinstance(error, LockLostError) else _lost(self.resource)
            if error is not None and not isinstance(error, LockLostError):
                why.facts["cause"] = error.code
            self._why = why
        self._tell()
        self.close()


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
            return
        lease.close()
        message = self._release_of(lease)
        try:
            await self._port.release(message, token=self._session.session_token)
        except LockLostError:
            if not failed:
                raise lease.lost_error() from None
        except asyncio.CancelledError:
            _in_background(self._quietly(message))
            raise
        except StoreError:  # it ends by its expiry
            if not failed:
                raise

    async def _entered(self) -> Lease:
        assert self._message.lock_token is not None
        token = self._message.lock_token
        known = _OPEN.get(token)
        if known is not None and self._resource in known.fences:
            await known.renew()
            return known
        ask = RenewLock(agent_id=self._session.agent_id, lock_token=token)
        state = await self._port.renew(self._resource, ask, token=self._session.session_token)
        return Lease(self._port, self._session, state, self._message.ttl_seconds)

    async def _give_up(self) -> None:
        assert self._message.lock_token is not None
        message = ReleaseLock(
            agent_id=self._session.agent_id, resource=self._resource, lock_token=self._message.lock_token
        )
        with suppress(asyncio.CancelledError):  # it goes on by itself
            await asyncio.shield(_in_background(self._quietly(message)))

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


def _in_background(work: Any) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(work)
    _GIVING_BACK.add(task)
    task.add_done_callback(_GIVING_BACK.discard)
    return task


def _lost(resource: str) -> LockLostError:
    return LockLostError(f"The lease of {resource} is no more: it expired or was taken.", resource=resource)

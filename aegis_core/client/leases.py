"""What `agent.lock` gives: a lease that renews itself, hears when it must go, and refuses use once it is lost."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from contextvars import ContextVar
from weakref import WeakValueDictionary

from aegis_core.client.ports import LocksPort
from aegis_core.protocol.errors import (
    AegisError,
    InvalidRequestError,
    LockLostError,
    LockPreemptedError,
    StoreError,
)
from aegis_core.protocol.locks import LockNotice, LockState, RenewLock, Told
from aegis_core.protocol.messages import SessionOpened
from aegis_core.protocol.process import Process

_DURATION = re.compile(r"(?P<count>\d{1,9}(?:\.\d{1,6})?)\s*(?P<unit>ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
_RETRY = 0.5
"""Seconds after which a renewal that found no store is tried again."""

HELD: ContextVar[tuple[Lease, ...]] = ContextVar("aegis_leases", default=())
"""The leases of the blocks around the running code, outermost first: what a further lock is taken within."""

OPEN: WeakValueDictionary[str, Lease] = WeakValueDictionary()
"""The leases that this process keeps, by their tokens."""


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
    if isinstance(value, bool) or not isinstance(value, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
        problem = f"{value!r} is no duration; write seconds as a number, or a text such as 30s"
        raise InvalidRequestError(f"{name}: {problem}", field=name, problem=problem)
    return float(value)


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
        self._process = Process.id
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
        self.lost_in_use = False
        """True when it was lost before the block that held it ended."""
        self._take(state)
        message = RenewLock.model_construct(agent_id=self.agent_id, lock_token=self.token, fence=self._fence)
        self._ask = message
        self._unwatch: Callable[[], None] = port.watch(self.resource, message, self._ear, token=session.session_token)
        OPEN[self.token] = self

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

    @property
    def kept(self) -> bool:
        """True while it is neither lost nor given back. Never in a forked child, which would not hear of its loss."""
        return not self._closed and not self.lost and not self.inherited

    @property
    def inherited(self) -> bool:
        """True in a forked child of the process that took it."""
        return self._process != Process.id

    def is_of(self, owner: tuple[str, str]) -> bool:
        """True when it is this agent's, and lives in the loop that asks."""
        return self.owner == owner and self._loop is asyncio.get_running_loop()

    def check(self) -> None:
        """Go on only while the lease is held and nobody with a higher priority needs it. Costs no call.

        Raises:
            LockPreemptedError: notice was given; at the end of the grace, or already now, it is gone.
            LockLostError: it expired, or an operator took it, or it was given back.
        """
        self._check_held()
        if self.evicting.is_set():
            raise self._preempted()

    async def renew(self) -> None:
        """Renew it now, and so make sure that the store still knows it.

        Raises:
            LockLostError: it does not. StoreError: it cannot be asked; the lease goes on until its expiry.
        """
        self._check_process()
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
        if not self._closed:
            self._closed, self.lost_in_use = True, self.lost
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
        if self._renewing is not None:
            self._renewing.cancel()

    def lost_error(self) -> LockLostError:
        """Why it is gone, in the words that fit what was heard."""
        if self._why is None:
            self._why = self._preempted() if self.evicting.is_set() else lease_gone(self.resource)
        return self._why

    def _check_process(self) -> None:
        if self.inherited:
            raise LockLostError(
                f"The lease of {self.resource} is that of process {self._process}, of which this one was forked and "
                "where it would not hear of its loss; take the lock here, or enter it by agent.lock(…, token=…).",
                resource=self.resource,
            )

    def _check_held(self) -> None:
        self._check_process()
        if self.lost:
            raise self.lost_error()
        if self._closed:
            raise LockLostError(f"The lease of {self.resource} was given back.", resource=self.resource)

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

    def _ear(self, notice: LockNotice | None) -> None:
        if notice is None:  # the subscription was interrupted: ask
            self._plan(0)
        elif notice.kind == Told.MUST_GO:
            if notice.at > 0:
                self._deadline = min(self._deadline, self._deadline - (self._ends_at - notice.at / 1000))
            self._tell()
        elif notice.kind == Told.LOST:
            self._lose(None)

    def _tell(self) -> None:
        self.evicting.set()
        if self.thread_evicting is not None:
            self.thread_evicting.set()

    def _lose(self, error: AegisError | None) -> None:
        if self._why is None:
            evicted = self.evicting.is_set()
            why = (
                self._preempted()
                if evicted
                else error
                if isinstance(error, LockLostError)
                else lease_gone(self.resource)
            )
            if error is not None and not isinstance(error, LockLostError):
                why.facts["cause"] = error.code
            self._why = why
        self._tell()
        self.close()


def lease_gone(resource: str) -> LockLostError:
    return LockLostError(f"The lease of {resource} is no more: it expired or was taken.", resource=resource)

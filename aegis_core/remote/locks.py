"""Locks over HTTP. Where a lost answer is asked for again, the lock token finds what the first asking got."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from aegis_core.protocol.errors import AegisError, LockLostError, StoreError
from aegis_core.protocol.locks import (
    AcquireLock,
    ForceRelease,
    LockNotice,
    LockState,
    LockSummary,
    LockTaken,
    NoticeListener,
    ReleaseLock,
    RenewLock,
    Told,
    new_lock_token,
)
from aegis_core.remote.calls import Call

_POLL = 20.0
"""Seconds for which one call stays for a notice; it is answered at once when there is one."""


@dataclass(slots=True)
class _Locks:
    locks: tuple[LockSummary, ...]


@dataclass(slots=True)
class _Taken:
    taken: tuple[LockTaken, ...]


class RemoteLocks:
    """The same as `StateLockManager`, behind ``aegis serve``.

    Args:
        call: `RemoteGovernor`'s way to the server.
        token: the operator's credential.
    """

    def __init__(self, call: Call, token: str | None) -> None:
        self._call, self._token = call, token
        self._watching: set[asyncio.Task[None]] = set()

    async def acquire(
        self, resource: str, message: AcquireLock, *, token: str | None = None, wait: float = 0
    ) -> LockState:
        """As `StateLockManager.acquire`."""
        if message.lock_token is None:
            message = message.model_copy(update={"lock_token": new_lock_token()})
        until = time.monotonic() + wait
        left = wait
        while True:
            state: LockState = await self._call(
                "POST", _path(resource, "acquire"), LockState, body=message, token=token, wait=left, retry=True
            )
            left = until - time.monotonic()
            if state.state != "waiting" or left <= 0:
                break
        if state.state in {"held", "evicting"} and wait > 0:
            # How long that answer was under way is not known, so when the lease ends is asked again.
            ask = RenewLock(agent_id=message.agent_id, lock_token=state.lock_token)
            began = time.monotonic()
            fresh = await self.renew(resource, ask, token=token)
            fresh.expires_in_seconds = (fresh.expires_in_seconds or 0) - (time.monotonic() - began)
            return fresh
        return state

    async def renew(self, resource: str, message: RenewLock, *, token: str | None = None, wait: float = 0) -> LockState:
        """As `StateLockManager.renew`."""
        return await self._call(
            "POST", _path(resource, "renew"), LockState, body=message, token=token, wait=wait, retry=True
        )

    async def release(self, message: ReleaseLock, *, token: str | None = None) -> LockState:
        """As `StateLockManager.release`."""
        return await self._call("POST", "/release-lock", LockState, body=message, token=token)

    async def overview(self, resource: str | None = None) -> tuple[LockSummary, ...]:
        """As `StateLockManager.overview`."""
        query = {} if resource is None else {"resource": resource}
        page: _Locks = await self._call("GET", "/locks", _Locks, query=query, token=self._token, retry=True)
        return page.locks

    async def force_release(
        self,
        resource: str,
        *,
        fence: int | None = None,
        author: str = "operator",  # noqa: ARG002
    ) -> tuple[LockTaken, ...]:
        """As `StateLockManager.force_release`, except that the server decides who the author is."""
        body = ForceRelease(fence=fence)
        taken: _Taken = await self._call("POST", _path(resource, "force-release"), _Taken, body=body, token=self._token)
        return taken.taken

    def watch(
        self, resource: str, message: RenewLock, ear: NoticeListener, *, token: str | None = None
    ) -> Callable[[], None]:
        """As `StateLockManager.watch`, by a call that stays with the server until there is news."""
        task = asyncio.get_running_loop().create_task(self._watch(resource, message, ear, token))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return lambda: None if task is asyncio.current_task() else (task.cancel(), None)[1]

    async def _watch(self, resource: str, message: RenewLock, ear: NoticeListener, token: str | None) -> None:
        told = False
        while True:
            try:
                state = await self.renew(resource, message, token=token, wait=0 if told else _POLL)
            except LockLostError:
                return ear(LockNotice(Told.LOST, message.lock_token, resource, 0, 0))
            except StoreError:
                await asyncio.sleep(0.5)
            except AegisError:  # the credential does not hold any more; the lease's own renewals say so, too
                return None
            else:
                if state.state == "evicting" and state.expires_at is not None and not told:
                    told = True
                    ear(
                        LockNotice(
                            Told.MUST_GO, message.lock_token, resource, 0, int(state.expires_at.timestamp() * 1000)
                        )
                    )
                elif told:
                    await asyncio.sleep(1)

    async def aclose(self) -> None:
        """Stop watching."""
        for task in list(self._watching):
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)


def _path(resource: str, act: str) -> str:
    name = quote(resource, safe="") if resource.strip(".") else resource.replace(".", "%2E")
    return f"/locks/{name}/{act}"

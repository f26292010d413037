"""The lock scripts as typed functions for one tenant. Each may be sent again when its answer was lost."""

from __future__ import annotations

from typing import Any, NamedTuple

import hiredis

from aegis_core.store import layout
from aegis_core.store.ledger import Caller, Ledger
from aegis_core.store.packing import unpack
from aegis_core.store.scripts import Script
from aegis_core.store.wire import ConnectionLostError


class Claim(NamedTuple):
    """What is asked for. Times in ms; `names` are sorted, `within` is flat: name, token, …"""

    agent: str
    names: tuple[str, ...]
    token: str
    priority: int | None
    ttl: int
    permits: int | None
    weight: int
    mode: str
    preemption: str | None
    grace: int | None
    within: tuple[str, ...]


class Found(NamedTuple):
    """How a claim stands: ``held``, ``waiting``, ``busy``, ``gone``, ``wounded`` or ``itself`` (waits for itself).

    Times are in ms of the server. `evicted` is 0, the end of the grace, or -1 where notice was given without an end.
    """

    state: str
    now: int = 0
    expires: int = 0
    fences: tuple[int, ...] = ()
    place: int = 0
    since: int = 0
    evicted: int = 0
    next_expiry: int = 0
    names: tuple[str, ...] = ()


class Ended(NamedTuple):
    """What a release found: ``released`` or ``cancelled``, and after how many ms; or ``gone``."""

    word: str
    after: int = 0


class Lockbook:
    """Typed calls of the lock scripts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self._root = layout.root(ledger.tenant)
        self.store, self.tenant = ledger.store, ledger.tenant

    async def acquire(self, claim: Claim, caller: Caller, inbox: str | None, *, queue: bool) -> Found:
        """Take it, or a place in the queue; a repeat finds what is held, or shows that the waiter lives."""
        order = (
            claim.agent, caller.session, caller.token, claim.names, claim.token, claim.priority, claim.ttl,
            claim.permits, claim.weight, claim.mode, claim.preemption, claim.grace, queue, inbox, claim.within,
        )  # fmt: skip
        answer = await self._call(self._scripts.lock_acquire, order)
        return _found(answer)

    async def release(self, caller: Caller, agent: str, name: str, token: str, fence: int | None) -> Ended:
        """Give back or leave. A repeat whose first answer was lost finds nothing, which is what was wanted."""
        order = (agent, caller.session, caller.token, name, token, fence)
        try:
            answer = await self._once(self._scripts.lock_release, order)
        except ConnectionLostError:
            answer = await self._ledger.call(self._scripts.lock_release, order)
            if answer[1] == b"gone":
                return Ended("released")
        return Ended(answer[1].decode(), int(answer[2]) if len(answer) > 2 else 0)

    async def renew(
        self, caller: Caller, agent: str, name: str, token: str, fence: int | None, ttl: int | None, inbox: str | None
    ) -> Found:
        """Move the expiry, unless the lease is evicted or gone. `inbox`: where its notices go from now on."""
        order = (agent, caller.session, caller.token, name, token, fence, ttl, inbox)
        return _found(await self._call(self._scripts.lock_renew, order))

    async def force(self, name: str, fence: int | None, author: str) -> list[tuple[str, int]]:
        """End leases; answers whose, and their fences."""
        answer = await self._ledger.call(self._scripts.lock_force, (name, fence, author))
        return [(agent, fence) for agent, fence in unpack(answer[1])]

    async def page(self, one: str | None, start: int) -> tuple[int, int | None, list[list[Any]]]:
        """Server time, the next start (None: no more), and locks as rows."""
        now, more, rows = unpack((await self._ledger.call(self._scripts.lock_list, (one, start)))[1])
        return now, more or None, rows

    async def _once(self, script: Script, order: tuple[Any, ...]) -> Any:
        """The hot path; whatever the server refuses is asked again with care."""
        future = self.store.send(script, self._root, order)
        if future is not None:
            try:
                answer = await future
            except hiredis.ReplyError:
                pass
            else:
                if answer[0] == b"OK":
                    return answer
        return await self._ledger.call(script, order)

    async def _call(self, script: Script, order: tuple[Any, ...]) -> Any:
        try:
            return await self._once(script, order)
        except ConnectionLostError:
            return await self._ledger.call(script, order)


def _found(answer: Any) -> Found:
    if answer[1] == b"known":
        state, now, expires, fences, place, since, evicted, next_expiry, names = unpack(answer[2])
        return Found(state, now, expires, tuple(fences), place, since, evicted, next_expiry, tuple(names))
    return Found(answer[1].decode())

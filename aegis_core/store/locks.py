"""The lock scripts as typed functions for one tenant. Each may be sent again when its answer was lost."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import hiredis

from aegis_core.protocol.errors import AnswerLostError
from aegis_core.store import layout, verbs
from aegis_core.store.arguments import Found
from aegis_core.store.ledger import Ledger, SessionProof
from aegis_core.store.lock_records import Lien
from aegis_core.store.packing import Named, decode, row_list, unpack
from aegis_core.store.scripts import Script

_Arguments = TypeVar("_Arguments", bound=Named)


class LockClaim(NamedTuple):
    """What is asked for. Times in ms; `names` are sorted, `within` is what is held meanwhile."""

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
    within: tuple[Lien, ...]


class Ended(NamedTuple):
    """What a release found: ``released`` or ``cancelled``, and after how many ms; or ``gone``."""

    word: str
    after: int = 0


class LockStore:
    """Typed calls of the lock scripts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self._root = layout.root(ledger.tenant)
        self.store, self.tenant = ledger.store, ledger.tenant

    async def acquire(self, claim: LockClaim, caller: SessionProof, inbox: str | None, *, queue: bool) -> Found:
        """Take it, or a place in the queue; a repeat finds what is held, or shows that the waiter lives."""
        order = verbs.LockAcquire(
            agent=claim.agent, sid=caller.session, session_token=caller.token, names=claim.names, token=claim.token,
            priority=claim.priority, ttl=claim.ttl, permits=claim.permits, weight=claim.weight, mode=claim.mode,
            preemption=claim.preemption, grace=claim.grace, queue=queue, inbox=inbox,
            within=row_list(Lien, claim.within),
        )  # fmt: skip
        answer = await self._call(self._scripts.lock_acquire, order)
        return _found(answer)

    async def release(self, caller: SessionProof, agent: str, name: str, token: str, fence: int | None) -> Ended:
        """Give back or leave. A repeat whose first answer was lost finds nothing, which is what was wanted."""
        order = verbs.LockRelease(agent, caller.session, caller.token, name, token, fence)
        try:
            answer = await self._once(self._scripts.lock_release, order)
        except AnswerLostError as error:
            answer = await self._ledger.asked_again(self._scripts.lock_release, order, error)
            if answer[1] == b"gone":
                return Ended("released")
        return Ended(answer[1].decode(), int(answer[2]) if len(answer) > 2 else 0)

    async def renew(
        self,
        caller: SessionProof,
        agent: str,
        name: str,
        token: str,
        fence: int | None,
        ttl: int | None,
        inbox: str | None,
    ) -> Found:
        """Move the expiry, unless the lease is evicted or gone. `inbox`: where its notices go from now on."""
        order = verbs.LockRenew(agent, caller.session, caller.token, name, token, fence, ttl, inbox)
        return _found(await self._call(self._scripts.lock_renew, order))

    async def force(self, name: str, fence: int | None, author: str) -> list[tuple[str, int]]:
        """End leases; answers whose, and their fences."""
        answer = await self._ledger.call(self._scripts.lock_force, verbs.LockForce(name, fence, author))
        return [(agent, fence) for agent, fence in unpack(answer[1])]

    async def page(self, one: str | None, start: int) -> tuple[int, int | None, list[list[Any]]]:
        """Server time, the next start (None: no more), and locks as rows."""
        answer = await self._ledger.call(self._scripts.lock_list, verbs.LockList(one, start))
        now, more, rows = unpack(answer[1])
        return now, more or None, rows

    async def _once(self, script: Script[_Arguments], order: _Arguments) -> Any:
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

    async def _call(self, script: Script[_Arguments], order: _Arguments) -> Any:
        try:
            return await self._once(script, order)
        except AnswerLostError as error:
            return await self._ledger.asked_again(script, order, error)


def _found(answer: Any) -> Found:
    if answer[1] == b"known":
        found = decode(Found, unpack(answer[2]))
        return found._replace(fences=tuple(found.fences), names=tuple(found.names))
    return Found(answer[1].decode())

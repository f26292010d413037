"""Which threads are looked at in a round of a resumer, and what one that fails means for the others: nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial

from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.denial import AegisDenied
from aegis_langgraph.carrier import Carrier, OverError
from aegis_langgraph.pace import Crew, Pace
from aegis_langgraph.resumed import Resumed

_log = logging.getLogger("aegis.langgraph")
_Done = Resumed | None


class Rounds:
    """The threads that a resumer knows.

    Args:
        carrier: goes on with one of them.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self._threads: dict[str, None] = {}
        self._scanned = False
        self._asked: dict[str, set[str]] = {}
        self._failing, self._looks = Pace(0.5, 60), Pace(1, 60)

    async def begin(self, crew: Crew[_Done]) -> list[asyncio.Task[_Done]]:
        """Let the crew begin with every thread that may go on, or whose questions may be left, unless it is at it."""
        waiting = await self.carrier.listed("open")
        if not self._scanned:
            self._threads |= dict.fromkeys(await self.carrier.listed("ended"))
            self._scanned = True
        self._threads |= dict.fromkeys(waiting)
        begun: list[asyncio.Task[_Done]] = []
        for thread in [each for each in self._threads if not crew.works_on(each) and self._failing.is_due(each)]:
            if (asked := waiting.get(thread)) is None:
                work = partial(self.carry_on, thread, dead=False)
            elif self._may_be_left(thread, {each.approval_id for each in asked}):
                work = partial(self._withdraw_left, thread, asked)
            else:
                continue
            begun.append(crew.begin(thread, partial(self._isolated, thread, work)))
        return begun

    async def carry_on(self, thread: str, *, dead: bool) -> _Done:
        """Go on with a thread, see `Carrier.carry_on`; one that is over is forgotten."""
        try:
            return await self.carrier.carry_on(thread, dead=dead)
        except OverError:
            self._threads.pop(thread, None)
            self._asked.pop(thread, None)
            self._failing.forget(thread)
            self._looks.forget(thread)
            return None

    def _may_be_left(self, thread: str, asked: set[str]) -> bool:
        """Whether to look if a thread still needs its answers: when it asks something new, then ever more rarely."""
        if self._asked.get(thread) != asked:
            self._asked[thread] = asked
            self._looks.forget(thread)
        if due := self._looks.is_due(thread):
            self._looks.pause(thread)
        return due

    async def _withdraw_left(self, thread: str, asked: list[Approval]) -> None:
        await self.carrier.withdraw_left(thread, asked)
        self._failing.forget(thread)

    async def _isolated(self, thread: str, work: Callable[[], Coroutine[object, object, _Done]]) -> _Done:
        try:
            done = await work()
        except Exception as error:  # noqa: BLE001 - a checkpointer's, by whichever library it is
            _log.warning("Thread %s could not be looked at: %s", thread, error)
            done = Resumed(thread, error=error)
        if done is None:
            return None
        if done.error is None or AegisDenied.from_exception(done.error) is not None:
            self._failing.forget(thread)
        elif self._failing.pause(thread):
            await self.carrier.tell(thread, done.error)
        return done

"""A lease on one resumption, in the execution journal of Aegis, so that of many resumers one goes on with a thread.

A claim is a chain of entries. Who starts one holds it for the lease, by the server's clock; to hold it longer it starts
the next. When the newest is older than the lease, its holder is gone, and the next to start one takes over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import uuid4

from aegis_core.protocol.canonical import digest
from aegis_core.protocol.journal import JournalEntry

Write = Callable[..., Awaitable[JournalEntry]]
"""`GovernedAgent.journal`, awaitable from where the resumer runs."""

_MOST = 10_000
_TRIES = 10
"""Times that a thread is carried on from one moment although the graph raised each time."""
_PAUSE, _LONGEST = 0.5, 900.0
"""Seconds between the first two of them, and at most; each pause is three times the one before it."""
_RENEWED = "renewed"
"""The result of an entry after which its holder started the next."""


class ResumeLease:
    """The right to go on with a thread from one moment.

    Args:
        write: writes into the journal of the resumers' agent, which all of them share.
        thread: the thread's id.
        moment: where the thread stands and what it waits for; a later moment is another claim.
        seconds: how long the holder may stay silent.
    """

    def __init__(self, write: Write, thread: str, moment: str, seconds: float) -> None:
        self._write, self._lease = write, timedelta(seconds=seconds)
        self._name = "resume_" + digest(thread, moment)
        self._runner = uuid4().hex
        self._held: list[int] = []

    async def take(self) -> bool:
        """Take it if nobody holds it, and nobody has gone on from this moment."""
        failed = 0
        for place in range(_MOST):
            entry = await self._start(place)
            if entry.state == "started":
                self._held.append(place)
                return True
            if entry.state == "finished":
                return False
            rest = self._lease
            if entry.state == "failed":  # its holder said so, and has let go
                if entry.result == _RENEWED:
                    continue
                rest = timedelta(seconds=min(_PAUSE * 3**failed, _LONGEST))
                failed += 1
            if failed == _TRIES or await self._now() < entry.at + rest:
                return False
        return False

    async def renew(self) -> bool:
        """Hold it for another lease. False: it was lost."""
        entry = await self._start(self._held[-1] + 1)
        if entry.state != "started":
            return False
        self._held.append(self._held[-1] + 1)
        return True

    async def end(self, *, failed: bool) -> None:
        """Give it up: done, or, when the graph raised, to be tried again after a pause."""
        for place in self._held:
            act, result = "fail" if failed else "finish", "" if place == self._held[-1] else _RENEWED
            await self._write(act, self._key(place), runner=self._runner, result=result)

    async def _start(self, place: int) -> JournalEntry:
        return await self._write("start", self._key(place), runner=self._runner)

    async def _now(self) -> datetime:
        """The server's time: that of an entry which is not there."""
        return (await self._write("look", f"{self._name}_now")).at

    def _key(self, place: int) -> str:
        return f"{self._name}_{place}"

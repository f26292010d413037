"""How far each destination of events was told of them, who tells it, and what it did not take."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aegis_core.store import layout
from aegis_core.store import operator_verbs as acts
from aegis_core.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was put aside. It is named only: what it says lies with the events, for as long as they do.

    Attributes:
        entry: its place among those put aside.
    """

    entry: str
    at: datetime
    event_id: str
    number: int
    kind: str
    attempts: int
    problem: str


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """How a destination is served. Without a cursor it never was.

    Attributes:
        served: whether a process holds the lease.
        behind: events that it was not told of yet, wanted or not.
        problem: what is wrong with it now, since when.
        failing: the event that it does not take, and how often that was tried.
        dead: how many events were put aside.
    """

    cursor: str = ""
    served: bool = False
    number: int = 0
    behind: int = 0
    sent: int = 0
    sent_at: datetime | None = None
    problem: str = ""
    problem_since: datetime | None = None
    failing: str = ""
    attempts: int = 0
    dead: int = 0


class DeliveryStore:
    """One destination of one tenant, as one process sees it."""

    def __init__(self, ledger: Ledger, destination: str) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self._destination, self._holder = destination, secrets.token_hex(8)

    async def hold(self, seconds: float) -> tuple[int, str, int]:
        """Take or keep the lease: its fence (0: somebody else has it), and the id and number of the last event that
        was told. For no time it is given up."""
        order = acts.HoldDelivery(self._destination, self._holder, int(seconds * 1000))
        _, fence, cursor, number = await self._ledger.call(self._scripts.hold_delivery, order)
        return int(fence), cursor.decode(), int(number)

    async def commit(self, order: acts.CommitDelivery) -> bool:
        """Move the cursor; false where fence or cursor are others by now."""
        return bool((await self._ledger.call(self._scripts.commit_delivery, order))[1])

    async def fail(self, order: acts.FailDelivery) -> tuple[bool, int, bool]:
        """Count a failure: whether fence and cursor were the stored ones, the attempts, whether it was put aside."""
        _, ours, attempts, aside = await self._ledger.call(self._scripts.fail_delivery, order)
        return bool(ours), int(attempts), bool(aside)

    async def replay(self, order: acts.ReplayDelivery) -> bool:
        """Note that events are posted again; false where the destination was never served."""
        return bool((await self._ledger.call(self._scripts.replay_delivery, order))[1])

    async def state(self) -> DeliveryState:
        """How it is served now."""
        names = ("cursor", "until", "number", "sent", "sent_at", "problem", "problem_since", "failing", "attempts")
        command, now = self._ledger.store.command, await self._ledger.now()
        found: dict[str, bytes | None] = dict(zip(names, await command("HMGET", self._key("dv"), *names), strict=True))
        cursor = found["cursor"]
        if cursor is None:
            return DeliveryState()
        newest = int(await command("HGET", layout.key(self._ledger.tenant, "c"), "#") or 0)
        number = int(found["number"] or 0)
        return DeliveryState(
            cursor=cursor.decode(), served=int(found["until"] or 0) > now, number=number,
            behind=max(0, newest - number), sent=int(found["sent"] or 0), sent_at=_at(found["sent_at"]),
            problem=(found["problem"] or b"").decode(), problem_since=_at(found["problem_since"]),
            failing=(found["failing"] or b"").decode(), attempts=int(found["attempts"] or 0),
            dead=int(await command("XLEN", self._key("dl"))),
        )  # fmt: skip

    async def dead_letters(self) -> list[DeadLetter]:
        """What was put aside, in its order."""
        entries: Any = await self._ledger.store.command("XRANGE", self._key("dl"), "-", "+")
        return [_dead_letter(entry_id.decode(), dict(fields)) for entry_id, fields in entries]

    async def drop(self, entry: str) -> None:
        """One of them was taken after all."""
        await self._ledger.store.command("XDEL", self._key("dl"), entry)

    def _key(self, head: str) -> str:
        return layout.key(self._ledger.tenant, f"{head}:{self._destination}")


async def served_destinations(ledger: Ledger) -> list[str]:
    """The names of destinations that are served, or were within 30 days."""
    names: Any = await ledger.store.command("ZRANGE", layout.key(ledger.tenant, "dn"), 0, -1)
    return sorted(name.decode() for name in names)


def _dead_letter(entry: str, fields: dict[bytes, bytes]) -> DeadLetter:
    at = datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, UTC)
    event_id, kind, problem = (fields[name].decode() for name in (b"i", b"k", b"p"))
    return DeadLetter(entry, at, event_id, int(fields[b"n"]), kind, int(fields[b"a"]), problem)


def _at(milliseconds: bytes | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(int(milliseconds) / 1000, UTC)

"""The stream of a tenant's events as it lies in Redis: its ends, and parts of it by id, and so by time."""

from __future__ import annotations

from typing import Any

from aegis_core.store import layout
from aegis_core.store.store import Store

Entry = tuple[str, dict[bytes, bytes]]


def placed(entry_id: str) -> tuple[int, int]:
    """The place of an id or cursor, to compare it: Redis takes one without its second part for the first of that ms."""
    ms, _, number = entry_id.partition(".")[0].partition("-")
    return int(ms), int(number or 0)


def place(at: tuple[int, int]) -> str:
    """The id of a place."""
    return f"{at[0]}-{at[1]}"


def number_of(entry: Entry) -> int | None:
    """Which of the tenant's events it is."""
    number = entry[1].get(b"n")
    return None if number is None else int(number)


def cursor_at(entry: Entry) -> str:
    """The place right after an entry; as `cursor_of` has it."""
    number = number_of(entry)
    return entry[0] if number is None else f"{entry[0]}.{number}"


class EventStream:
    """Reads the stream; what is written there is written by scripts."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store, self._key = store, layout.key(tenant, "e")

    async def range(self, low: str, high: str, most: int, *, back: bool) -> list[Entry]:
        """Entries between two ids (``(`` leaves an end out), in their order or `back`."""
        ends = ("XREVRANGE", self._key, high, low) if back else ("XRANGE", self._key, low, high)
        entries: Any = await self._store.command(*ends, "COUNT", most)
        return [(entry_id.decode(), dict(fields)) for entry_id, fields in entries]

    async def last(self) -> str:
        """The id of the newest entry that there ever was; ``0-0`` before the first."""
        if not await self._store.command("EXISTS", self._key):
            return "0-0"
        facts: Any = await self._store.command("XINFO", "STREAM", self._key)
        pairs = facts if hasattr(facts, "items") else dict(zip(facts[::2], facts[1::2], strict=True))
        return pairs[b"last-generated-id"].decode()

    async def first(self) -> tuple[str, int | None] | None:
        """The id and the number of the oldest entry that is kept."""
        entries = await self.range("-", "+", 1, back=False)
        if not entries:
            return None
        return entries[0][0], number_of(entries[0])

    async def is_before_first(self, after: str, read: Entry | None) -> bool:
        """Whether something after this cursor was trimmed before that entry was `read`: the cursor lies before all that
        is kept, and neither the first of that nor what was read has the next number."""
        first = await self.first()
        if first is None or placed(after) >= placed(first[0]) or placed(after) == (0, 0) or first[1] == 1:
            return False
        _, _, number = after.partition(".")
        return not number or int(number) + 1 not in {first[1], read and number_of(read)}

    async def misnumbered(self, after: str) -> int | None:
        """The number of the event at a cursor, or of the last before it, where the cursor has another one; None: it is
        of this stream. What was deleted between two events leaves their numbers a gap, in which a cursor is right."""
        number = after.partition(".")[2]
        if not number:
            return None
        at = place(placed(after))
        before = await self.range("-", at, 1, back=True)
        behind = await self.range(f"({at}", "+", 1, back=False)
        held, following = (number_of(entries[0]) if entries else None for entries in (before, behind))
        if held is None or held <= int(number) < (following or int(number) + 1):
            return None
        return held

"""The stream of a tenant's events as it lies in Redis: its ends, and parts of it by id, and so by time."""

from __future__ import annotations

from typing import Any

from aegis_core.store import layout
from aegis_core.store.store import Store

Entry = tuple[str, dict[bytes, bytes]]


def placed(entry_id: str) -> tuple[int, int]:
    """The place of an id, to compare it: Redis takes one without its second part for the first of that ms."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def place(at: tuple[int, int]) -> str:
    """The id of a place."""
    return f"{at[0]}-{at[1]}"


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
        entry_id, fields = entries[0]
        return entry_id, int(fields[b"n"]) if b"n" in fields else None

    async def is_before_first(self, after: str) -> bool:
        """Whether what came after this id was trimmed: it lies before the oldest kept, which is not the first."""
        first = await self.first()
        return first is not None and placed(after) < placed(first[0]) and first[1] != 1 and placed(after) != (0, 0)

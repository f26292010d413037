"""The sums of events by the hour as they lie in Redis, who adds them up, and what is trimmed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from aegis_core.store import layout, verbs
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import unpack
from aegis_core.store.streams import Entry


class Progress(NamedTuple):
    """How far events are counted: the id and number of the last one, and how many were gone before."""

    cursor: str = "0"
    number: int = 0
    missed: int = 0


class RollupStore:
    """The sums of one tenant, as one process sees them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self._holder, self._after = secrets.token_hex(8), ""

    async def hold(self, seconds: float) -> tuple[int, str, int]:
        """Take or keep the lease: its fence (0: somebody else has it), and the id and number of the last event that
        was counted. For no time it is given up."""
        order = verbs.HoldRollups(days=False, holder=self._holder, milliseconds=int(seconds * 1000))
        _, fence, cursor, number, *_ = await self._ledger.call(self._scripts.hold_rollups, order)
        return int(fence), cursor.decode(), int(number)

    async def entries(self, after: str, most: int) -> list[Entry]:
        """Events after one, as they are stored."""
        return await self._ledger.events(after, most)

    async def commit(self, order: verbs.CommitRollups) -> bool:
        """Add sums and move the cursor in one step; false where fence or cursor are others by now."""
        return bool((await self._ledger.call(self._scripts.commit_rollups, order))[1])

    async def trim(self, agents: int) -> int:
        """Remove what is too old; answers how many events went. Agents take turns."""
        order = verbs.TrimEvents(self._after or None, agents)
        _, gone, after = await self._ledger.call(self._scripts.trim_events, order)
        self._after = after.decode()
        return int(gone)

    async def progress(self) -> Progress:
        """How far events are counted."""
        name = layout.key(self._ledger.tenant, "hc")
        cursor, number, missed = await self._ledger.store.command("HMGET", name, "cursor", "number", "missed")
        return Progress((cursor or b"0").decode(), int(number or 0), int(missed or 0))

    async def last_number(self) -> int:
        """The number of the newest event."""
        return int(await self._ledger.store.command("HGET", layout.key(self._ledger.tenant, "c"), "#") or 0)

    async def first_hour(self) -> int | None:
        """The oldest hour of which sums are kept."""
        found = await self._ledger.store.command("HGET", layout.key(self._ledger.tenant, "hc"), "first")
        return None if found is None else int(found)

    async def hour(self, hour: int) -> list[tuple[str, Sequence[int]]]:
        """The rows of one hour: names between tabs, and sums."""
        flat: Any = await self._ledger.store.command("HGETALL", layout.key(self._ledger.tenant, f"h:{hour}"))
        pairs: Any = flat.items() if hasattr(flat, "items") else zip(flat[::2], flat[1::2], strict=True)
        return [(name.decode(), unpack(sums)) for name, sums in pairs if not name.startswith(b"#")]

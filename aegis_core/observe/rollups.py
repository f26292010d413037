"""The consumer that sums events up hour by hour: one at a time, each event once, wherever it is killed."""

from __future__ import annotations

from aegis_core.observe.ports import Counted, Lease, RollupPort
from aegis_core.observe.sums import sums_of

PAGE = 500
"""Events that are counted in one step: what a server does for it takes a few ms."""
LEASE_SECONDS = 15.0


class RollupConsumer:
    """Counts the events of one tenant. Where it is, is stored with the sums, in the same step."""

    def __init__(self, port: RollupPort) -> None:
        self._port, self._held = port, False

    async def look(self) -> int | None:
        """Count everything that there is; answers how many events, None where another process counts.

        Raises:
            StoreError: Redis could not be asked; what was counted stays counted.
        """
        counted = 0
        while (lease := await self._port.hold(LEASE_SECONDS)) is not None:
            self._held = True
            read = await self._count(lease)
            if read is None:
                return None
            counted += read
            if read < PAGE:
                return counted
        return None

    async def leave(self) -> None:
        """Let another process go on at once."""
        if self._held:
            await self._port.leave()

    async def _count(self, lease: Lease) -> int | None:
        events = await self._port.page(lease.cursor, PAGE)
        if not events:
            return 0
        numbers = [event.number for event in events if event.number is not None]
        last = numbers[-1] if numbers else lease.number
        missed = max(0, last - lease.number - len(numbers)) if numbers else 0
        order = Counted(lease.cursor, events[-1].id, last, missed, sums_of(events))
        return len(events) if await self._port.commit(lease.fence, order) else None

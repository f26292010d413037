"""Removes what is older than it may be. The number of events is bounded where they are written; only here by time."""

from __future__ import annotations

from aegis_core.observe.ports import RetentionPort

AGENTS_AT_ONCE = 1_000


class Retention:
    """Trims the events of one tenant by time, and the words of those that are gone. Doing it twice does no harm."""

    def __init__(self, port: RetentionPort) -> None:
        self._port = port

    async def look(self) -> int:
        """Remove what is too old; answers how many events went. Raises StoreError: Redis could not be asked."""
        return await self._port.trim(AGENTS_AT_ONCE)

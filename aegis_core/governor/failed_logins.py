"""Credentials that did not hold, as events: told beside the answer, which never waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from aegis_core.governor.tenant import TenantStore
from aegis_core.protocol.errors import AegisError, AuthError

CODES = frozenset({"bad_token", "bad_key"})
"""Refusals of a credential that was shown and does not hold."""
_MOST = 1_024
_OTHERS = "*"


class FailedLogins:
    """Those at one door. While one look at Redis is on its way others are counted, and told with the next one."""

    def __init__(self, store: TenantStore) -> None:
        """`store`: of the tenant whose operators hear of it."""
        self._store = store
        self._untold: Counter[tuple[str, str]] = Counter()
        self._telling: asyncio.Task[None] | None = None

    def note(self, error: AegisError, address: str) -> None:
        """Take a refusal in; any but that of a credential is not one of these."""
        if not isinstance(error, AuthError) or error.code not in CODES:
            return
        place = (address, error.code)
        self._untold[place if place in self._untold or len(self._untold) < _MOST else (_OTHERS, error.code)] += 1
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def aclose(self) -> None:
        """Wait until all are told."""
        if self._telling is not None:
            await self._telling

    async def _tell(self) -> None:
        while self._untold:
            (address, why), times = self._untold.popitem()
            with suppress(AegisError):  # where nobody can be told, the refusal itself is what matters
                await self._store.note_login(address, why, times)

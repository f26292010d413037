"""For tests, also those of third parties: a governor on a throw-away server, and a clock that the test moves."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aegis_core.agent import Governor
from aegis_core.connect import open_governor
from aegis_core.settings import Settings
from aegis_core.store import layout
from aegis_core.store.store import Store, open_store

START = datetime(2026, 3, 29, 12, tzinfo=UTC)


class FakeClock:
    """The time that scripts of a virtual-time store read. It only moves when told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.now = START

    async def set(self, now: datetime) -> None:
        """Move to an instant."""
        self.now = now
        await self._store.command("SET", layout.CLOCK_KEY, int(now.timestamp() * 1000))

    async def advance(self, **by: float) -> None:
        """Move forward, e.g. ``advance(hours=1)``; the keywords of `timedelta`."""
        await self.set(self.now + timedelta(**by))


@asynccontextmanager
async def virtual_governor(
    settings: Settings | None = None, *, start: datetime = START
) -> AsyncGenerator[tuple[Governor, FakeClock, Store]]:
    """A governor whose time is the test's: on the server that the settings name, else on a private throw-away one."""
    settings = settings or private_settings()
    store = await open_store(settings, throwaway=settings.is_embedded, virtual_time=True)
    try:
        clock = FakeClock(store)
        await clock.set(start)
        governor = await open_governor(store, settings)
        try:
            yield Governor(governor), clock, store
        finally:
            await governor.aclose()
    finally:
        await store.aclose()


def private_settings(**values: Any) -> Settings:
    """Settings that read neither ``.env`` nor a rules file of the environment."""
    merged: dict[str, Any] = {"policy_file": None, "catalog_file": None, "_env_file": None, **values}
    return Settings(**merged)


def stay_within_a_day(seconds: float = 60) -> None:
    """Wait for midnight (UTC) if it is less than so many seconds away.

    A test on the real clock that goes on past it finds what it spent in the budget of the day before.
    """
    now = datetime.now(UTC)
    left = 86_400 - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    if left < seconds:
        time.sleep(left + 0.1)

"""For tests, also those of third parties: a governor on a throw-away server, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aegis_core.client.agent import Governor
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
    settings = settings or private_settings(timezone="UTC")
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


def private_settings(**values: object) -> Settings:
    """Settings that name no rules file, whatever the environment says."""
    merged: dict[str, Any] = {"policy_file": None, "catalog_file": None, **values}
    return Settings(**merged)


def quiet_zone(now: datetime | None = None) -> str:
    """A time zone in which neither a day nor an hour ends within half an hour of an instant, else of now.

    What a test spends on the real clock before a window turns is gone from the budget that it reads after it. Windows
    turn by the time zone of their tenant, so a tenant in this zone needs no waiting until they have turned. Hours turn
    at the full hour of a zone, which is half past in UTC for the zones of India and of the Marquesas; days, weeks and
    months turn at its midnight, which is hours away.
    """
    now = now or datetime.now(UTC)
    early, otherwise = ("UTC", "Etc/GMT-12") if now.minute < 30 else ("Asia/Kolkata", "Pacific/Marquesas")
    return early if 1 <= now.astimezone(ZoneInfo(early)).hour < 22 else otherwise

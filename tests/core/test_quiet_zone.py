"""Why no test waits for a full hour or for midnight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from aegis_core import Settings
from aegis_core.testing import private_settings, quiet_zone


def test_no_hour_and_no_day_ends_within_half_an_hour_whenever_it_is() -> None:
    for minute in range(24 * 60):
        now = datetime(2026, 12, 31, tzinfo=UTC) + timedelta(minutes=minute, seconds=59.9)
        local = now.astimezone(ZoneInfo(quiet_zone(now)))
        assert local.minute < 30
        assert 1 <= local.hour < 22


def test_the_tenants_of_tests_are_in_such_a_zone(settings: Settings) -> None:
    around = {quiet_zone(datetime.now(UTC) - timedelta(minutes=1)), quiet_zone()}  # half an hour may end meanwhile
    assert settings.timezone in around
    assert private_settings().timezone in around

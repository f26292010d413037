"""Channels are told what nobody has to decide: without buttons, and at most so often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import redis
from asking import asking, on_telegram
from botapi import BotApi, Sent

from aegis_core import Settings
from aegis_core.channels.alerts import alert_text, is_alert
from aegis_core.protocol.events import Event
from aegis_core.store import layout
from aegis_core.store.event_bodies import BODIES
from tests.kaizen.telling import DAY, tell

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]


def alerts(telegram: BotApi) -> list[Sent]:
    return [one for one in telegram.messages.values() if one.text.startswith("🔔")]


def test_people_are_told_of_marks_and_failures_only() -> None:
    told = {kind for kind in BODIES if is_alert(kind)}
    assert told == {
        "budget_crossed", "budget_reserved", "budget_forecast", "budget_ahead", "estimates_high", "overrun",
        "channel_failed", "channel_recovered", "thread_failed", "kaizen_finding",
        "kaizen_kept", "kaizen_rolled_back",
    }  # fmt: skip


def test_marks_of_budgets_are_told_so_many_times_an_hour(settings: Settings, telegram: BotApi) -> None:
    with asking(on_telegram(settings, telegram, alerts_per_hour=2, agent_day_usd=10)) as place:
        for name in ("worker", "other"):
            place.http.post(f"{place.url}/api/v1/handshake", json={"agent_id": name})
            for order, cost in enumerate((4.5, 4.5, 1)):
                wish = {"agent_id": name, "request_id": f"r{order}", "task_intent": "Read", "resource_type": "compute"}
                place.http.post(f"{place.url}/api/v1/request-permission", json=wish | {"estimated_cost_usd": cost})
        first, second = telegram.until(lambda: len(found := alerts(telegram)) == 2 and found)
        assert "agent day" in first.text
        assert "percent: 80" in first.text
        assert "last alert of this hour" not in first.text
        assert "last alert of this hour" in second.text
        assert first.buttons == second.buttons == {}
        counted = layout.key(place.settings.tenant, "ca:telegram")
        with redis.Redis.from_url(place.settings.url) as client:
            telegram.until(lambda: int(client.get(counted) or 0) >= 4)
            assert 0 < client.ttl(counted) <= 3_600
        assert alerts(telegram) == [first, second]


def test_without_the_setting_nobody_is_told(settings: Settings, telegram: BotApi) -> None:
    with asking(on_telegram(settings, telegram, agent_day_usd=10)) as place:
        place.http.post(f"{place.url}/api/v1/handshake", json={"agent_id": "worker"})
        for order, cost in enumerate((4.5, 4.5, 9)):
            wish = {"agent_id": "worker", "request_id": f"r{order}", "task_intent": "Read", "resource_type": "compute"}
            place.http.post(f"{place.url}/api/v1/request-permission", json=wish | {"estimated_cost_usd": cost})
        place.agent(name="another", estimated_cost_usd=6)
        telegram.press(telegram.announced(), "REJECT")
        assert alerts(telegram) == []


def test_what_kaizen_found_shares_messages(settings: Settings, telegram: BotApi) -> None:
    """Twenty findings at once are a few messages, so that they leave room for other alerts of the hour."""
    with asking(on_telegram(settings, telegram, alerts_per_hour=20, agent_day_usd=10)) as place:
        asyncio.run(tell(place.settings, DAY))
        telegram.until(lambda: sum(one.text.count("aegis kaizen explain 2025-12-01") for one in alerts(telegram)) == 20)
        assert len(alerts(telegram)) < 10
        assert all(one.buttons == {} for one in alerts(telegram))


def test_what_became_of_a_change_is_told_in_two_lines() -> None:
    said = {"proposal_id": "p-1a2b3c4d", "state": "rolled_back", "reason": "outcome is worse than without it"}
    event = Event("1-0", datetime(2026, 3, 27, tzinfo=UTC), "kaizen_rolled_back", "t", facts=said)
    assert alert_text(event).splitlines() == [
        "Kaizen took back p-1a2b3c4d: outcome is worse than without it", "aegis kaizen proposals show p-1a2b3c4d"
    ]  # fmt: skip

"""Every decision leaves one event and every charge a line of the bill; secrets leave neither."""

from __future__ import annotations

import asyncio
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from aegis_core import Governor, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.usage import total_by


async def test_one_event_for_each_act(governor: Governor) -> None:
    agent = await governor.handshake("a")
    granted = await agent.request("Work", estimated_cost_usd=1)
    await agent.request("drop database", estimated_cost_usd=1)
    await agent.settle(granted.grant_id or "", cost_usd=1)
    await governor.set_budget("agent", "a", "day", 20)
    kinds = [event.kind for event in await governor.events()]
    assert kinds == ["tenant_opened", "handshake", "granted", "rejected", "settled", "budget_set"]


async def test_an_event_says_who_what_why_and_how_much(governor: Governor) -> None:
    agent = await governor.handshake("a", max_priority=9)
    verdict = await agent.request("drop database", estimated_cost_usd="0.25", priority=8, target_resource="db/main")
    event = (await governor.events())[-1]
    assert (event.kind, event.agent_id, event.tenant) == ("rejected", "a", governor.tenant)
    assert event.facts["rule"] == verdict.rule
    assert event.facts["amount_usd"] == 0.25
    assert event.facts["request_id"] == verdict.request_id
    assert event.facts["request"]["intent"] == "drop database"
    assert (event.facts["request"]["priority"], event.facts["request"]["target_resource"]) == (8, "db/main")


@pytest.mark.leaves("grants")
async def test_secrets_are_masked_before_anything_is_stored(governor: Governor) -> None:
    agent = await governor.handshake("a")
    secrets = ["sk-proj-abcdefghijklmnopqrstuvwx", "hunter2secret", "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a" * 36]
    await agent.request(
        f"Log in with {secrets[0]} and password: {secrets[1]}, then {secrets[2]}",
        estimated_cost_usd=0,
        metadata={"api_key": "plain-but-named", "note": secrets[3], "safe": "kept"},
    )
    text = repr((await governor.events())[-1])
    for secret in [*secrets, "plain-but-named"]:
        assert secret not in text
    assert "kept" in text
    assert "Log in with [masked] and password: [masked], then [masked]" in text


@pytest.mark.concurrent
async def test_following_sees_what_happens_from_now_on(governor: Governor) -> None:
    agent = await governor.handshake("a")

    begun, kinds = asyncio.Event(), list[str]()

    async def first_two() -> list[str]:
        async for event in governor.follow():
            begun.set()
            if event.kind != "budget_set":
                kinds.append(event.kind)
            if len(kinds) == 2:
                break
        return kinds

    following = asyncio.create_task(first_two())
    while not begun.is_set():  # from when on it follows only shows in what it sees
        await governor.set_budget("agent", "a", "day", 10)
        await asyncio.sleep(0.02)
    verdict = await agent.request("Work", estimated_cost_usd=1)
    await agent.release(verdict.grant_id or "")
    assert await asyncio.wait_for(following, 60) == ["granted", "released"]


async def test_the_bill_adds_up_by_agent_model_and_label(governor: Governor, settings: Settings) -> None:
    one, two = await governor.handshake("one"), await governor.handshake("two")
    await governor.label_agent("one", {"team": "research"})
    for agent, model, cost in ((one, "gpt-4o", "0.30"), (one, "gpt-4o-mini", "0.02"), (two, "gpt-4o", "0.10")):
        async with agent.permit("Answer", model=model, estimated_cost_usd="0.50") as grant:
            grant.settle(cost_usd=cost)
    assert isinstance(governor.port, ResourceGovernor)
    rows = await governor.port.usage([datetime.now(ZoneInfo(settings.timezone)).date()])
    by = {
        name: [(total.name, total.calls, total.cost_usd) for total in total_by(rows, name)]
        for name in ("agent", "model", "team")
    }
    assert by["agent"] == [("one", 2, Decimal("0.32")), ("two", 1, Decimal("0.10"))]
    assert by["model"] == [("gpt-4o", 2, Decimal("0.40")), ("gpt-4o-mini", 1, Decimal("0.02"))]
    assert by["team"] == [("research", 2, Decimal("0.32")), ("(none)", 1, Decimal("0.10"))]

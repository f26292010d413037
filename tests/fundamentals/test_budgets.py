"""Limits in every scope hold together, and change while agents run."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

import aegis_core
from aegis_core import Governor, InvalidRequestError, Settings
from aegis_core.protocol.errors import NotFoundError, UnknownModelError

pytestmark = pytest.mark.leaves("grants", "questions")


async def test_one_scope_without_room_refuses_and_the_others_keep_theirs(governor: Governor) -> None:
    await governor.set_budget("resource", "gas_budget", "hour", "0.30")
    agent = await governor.handshake("a")
    assert (await agent.request("Pay gas", resource_type="gas_budget", estimated_cost_usd="0.20")).granted
    refused = await agent.request("Pay gas", resource_type="gas_budget", estimated_cost_usd="0.20")
    assert refused.code == "budget_exceeded"
    assert "resource gas_budget's hour budget has $0.10 of $0.30 left, and $0.20 was asked" in refused.reason
    assert refused.retry_after_seconds is not None
    assert 0 < refused.retry_after_seconds <= 3600
    assert (await agent.budget()).remaining_budget_usd == Decimal("9.80")
    assert (await agent.request("Call", resource_type="api_call", estimated_cost_usd="0.20")).granted


async def test_a_label_budget_is_shared_by_the_agents_that_carry_it(governor: Governor) -> None:
    one, two, other = [await governor.handshake(name) for name in ("one", "two", "other")]
    await governor.set_budget("label", "team=research", "month", 1)
    for agent in (one, two):
        await governor.label_agent(agent.agent_id, {"team": "research"})
    assert (await one.request("Work", estimated_cost_usd="0.70")).granted
    refused = await two.request("Work", estimated_cost_usd="0.70")
    assert refused.status == "REJECTED"
    assert [(line.name, line.tightest) for line in refused.budgets if line.scope == "label"] == [
        ("team=research", True)
    ]
    assert (await other.request("Work", estimated_cost_usd="0.70")).granted


async def test_when_a_models_budget_is_used_up_the_next_model_is_recommended(governor: Governor) -> None:
    agent = await governor.handshake("a")
    sizes = {"prompt_bytes": 2_000_000, "max_output_tokens": 100, "logic_density": 3}
    first = await agent.request("Summarise", **sizes)
    assert first.recommended_model is not None
    await governor.set_budget("model", first.recommended_model, "day", "0.0001")
    second = await agent.request("Summarise", **sizes)
    assert second.granted
    assert second.recommended_model != first.recommended_model


async def test_a_limit_can_change_while_agents_run_and_keeps_what_is_spent(governor: Governor) -> None:
    agent = await governor.handshake("a")
    assert (await agent.request("Work", estimated_cost_usd=4)).granted
    state = await governor.set_budget("agent", "a", "day", "4.50")
    assert (state.reserved_usd, state.remaining_usd) == (Decimal(4), Decimal("0.50"))
    assert (await agent.request("Work", estimated_cost_usd=1)).status == "REJECTED"
    await governor.set_budget("agent", "a", "day", 1)  # below what is reserved: nothing more is admitted
    assert (await agent.request("Work", estimated_cost_usd="0.01")).remaining_budget_usd == 0
    await governor.set_budget("agent", "a", "day", 5)
    assert (await agent.request("Work", estimated_cost_usd=1)).granted


@pytest.mark.parametrize(
    ("scope", "name", "window", "limit", "message"),
    [
        ("agnt", "a", "day", 5, "scope: must be one of agent, session"),
        ("agent", "a", "dya", 5, "window: must be hour, day, week, month, total"),
        ("agent", "a", "rolling:1s", 5, "window: must be hour"),
        ("agent", "a", "rolling:1m", 5, "window: a rolling window lasts 10 minutes"),
        ("agent", "a", "day", "", "limit_usd: '' is not an amount"),
        ("agent", "a", "day", None, "limit_usd: None is not an amount"),
        ("agent", "a", "day", -1, "limit_usd: -1 is negative"),
        ("agent", "a", "day", "inf", "limit_usd: 'inf' is not finite"),
        ("resource", "llm_token", "day", 5, "name: must be one of llm_tokens"),
        ("label", "research", "day", 5, "label: must be key=value"),
        ("agent", "a{b}", "day", 5, "name: must be 1 to 128 letters"),
    ],
)
async def test_a_budget_typo_is_an_error_and_never_no_cap(
    governor: Governor, scope: str, name: str, window: str, limit: object, message: str
) -> None:
    agent = await governor.handshake("a")
    with pytest.raises(InvalidRequestError, match=message):
        await governor.set_budget(scope, name, window, limit)  # type: ignore[arg-type]
    assert (await agent.budget()).remaining_budget_usd == Decimal(10)


async def test_a_limit_for_an_agent_nobody_knows_is_an_error(governor: Governor) -> None:
    with pytest.raises(NotFoundError, match="never shook hands"):
        await governor.set_budget("agent", "nobody", "day", 5)


async def test_reaching_80_and_100_percent_is_announced_once_each(governor: Governor) -> None:
    agent = await governor.handshake("a")
    for cost in ("7.90", "0.10", "0.10", "1.90"):
        assert (await agent.request("Work", estimated_cost_usd=cost)).status in {"GRANTED", "PENDING"}
    crossed = [event.facts for event in await governor.events() if event.kind == "budget_reserved"]
    assert [(facts["owner"], facts["percent"], facts["committed_usd"]) for facts in crossed] == [
        ("a", 80, 8.0),
        ("a", 100, 10.0),
    ]


async def test_tenants_are_worlds_apart(settings: Settings) -> None:
    other = settings.model_copy(update={"tenant": settings.tenant + "-other"})
    async with aegis_core.connect(settings=settings) as one, aegis_core.connect(settings=other) as two:
        here, there = await one.handshake("a"), await two.handshake("a")
        assert (await here.request("Work", estimated_cost_usd=4, request_id="same")).granted
        verdict = await there.request("Work", estimated_cost_usd=3, request_id="same")
        assert verdict.remaining_budget_usd == Decimal(7)
        with pytest.raises(NotFoundError, match="no such grant"):
            await there.settle((await here.request("Work", estimated_cost_usd=1)).grant_id or "", cost_usd=0)


async def test_many_at_once_never_get_more_than_there_is(governor: Governor) -> None:
    agent = await governor.handshake("a")
    verdicts = await asyncio.gather(*(agent.request("Work", estimated_cost_usd="0.50") for _ in range(200)))
    assert sum(verdict.granted for verdict in verdicts) == 20


@pytest.mark.parametrize("spelling", ["gpt-4o", "openai/gpt-4o", "openai:gpt-4o", "GPT-4o", "gpt-4o-2024-08-06"])
async def test_a_models_budget_holds_however_the_model_is_spelled(governor: Governor, spelling: str) -> None:
    await governor.set_budget("model", "openai/gpt-4o", "day", "0.10")
    agent = await governor.handshake("a")
    assert (await agent.request("Work", model="gpt-4o", estimated_cost_usd="0.09")).granted
    refused = await agent.request("Work", model=spelling, estimated_cost_usd="0.09")
    assert "model gpt-4o's day budget has $0.01 of $0.10 left" in refused.reason


async def test_a_budget_for_what_does_not_exist_is_an_error(governor: Governor) -> None:
    with pytest.raises(UnknownModelError, match=r"no price is known for the model 'gpt-4oo'.*nearest known are gpt-4o"):
        await governor.set_budget("model", "gpt-4oo", "day", 1)
    with pytest.raises(InvalidRequestError, match="name: this is the tenant t-"):
        await governor.set_budget("tenant", "another", "day", 1)
    with pytest.raises(InvalidRequestError, match="after: must be the id of an event"):
        await governor.events(after="foo")

"""Lua counts in doubles: up to the largest amount every nano-dollar must survive, and beyond it nothing may wrap."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from aegis_core import Governor, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.events import Event
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.money import MAX_USD

pytestmark = pytest.mark.leaves("grants")

MAX = Decimal(MAX_USD)
NANO = Decimal("0.000000001")

ODD = [
    Decimal("100000.000000001"),
    Decimal("123456.789012345"),
    Decimal("999999.999999999"),
    Decimal("4000000.000000003"),
    MAX - NANO,
]
"""From $100,000 a nano-dollar is lost when Lua writes a number as text in its usual way."""


async def _rich(governor: Governor, name: str = "a") -> GovernedAgent:
    agent = await governor.handshake(name, max_priority=10)
    for scope, whose in (("agent", name), ("tenant", "tenant")):
        await governor.set_budget(scope, whose, "day", MAX)
    await governor.set_budget("tenant", "tenant", "rolling:1d", MAX)
    return agent


async def _facts(governor: Governor) -> Event:
    return (await governor.events(limit=1_000))[-1]


def _api(cost: Decimal | int) -> dict[str, object]:
    return {"estimated_cost_usd": cost, "resource_type": "api_call"}


async def _settled(governor: Governor, agent: GovernedAgent, reserve: Decimal, cost: Decimal) -> None:
    """Hold and settle with the policy out of the way, which would ask a person about such sums."""
    await _allow_everything(governor)
    verdict = await agent.request("Buy", **_api(reserve))
    assert verdict.granted, verdict.reason
    assert verdict.grant_id
    await agent.settle(verdict.grant_id, cost_usd=cost)


async def _allow_everything(governor: Governor) -> None:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.policy.loading import load_policy

    assert isinstance(governor.port, ResourceGovernor)
    await governor.port.publish_policy(load_policy('{"schema": 1, "rules": []}'), author="test")


@pytest.mark.parametrize("amount", ODD)
async def test_every_nano_dollar_of_a_large_amount_survives(governor: Governor, amount: Decimal) -> None:
    agent = await _rich(governor)
    await _settled(governor, agent, amount, amount - NANO)
    for state in (await agent.budget()).budgets:
        assert (state.spent_usd, state.reserved_usd, state.remaining_usd) == (amount - NANO, 0, MAX - amount + NANO)


@pytest.mark.parametrize("amount", ODD)
async def test_the_bill_is_exact_too(governor: Governor, settings: Settings, amount: Decimal) -> None:
    from aegis_core.governor.governor import ResourceGovernor

    agent = await _rich(governor)
    await _settled(governor, agent, amount, amount)
    assert isinstance(governor.port, ResourceGovernor)
    rows = await governor.port.usage([datetime.now(ZoneInfo(settings.timezone)).date()])
    assert [(row.agent_id, row.calls, row.cost_usd) for row in rows] == [("a", 1, amount)]


async def test_a_single_nano_dollar_is_counted(governor: Governor) -> None:
    agent = await governor.handshake("a", session_budget_usd="0.000000003")
    verdicts = [await agent.request("Summarise", estimated_cost_usd="0.000000001") for _ in range(4)]
    assert [verdict.status for verdict in verdicts] == ["GRANTED"] * 3 + ["REJECTED"]
    assert verdicts[2].remaining_budget_usd == Decimal("9.999999997")


async def test_a_budget_can_be_used_up_to_the_last_nano_dollar_and_no_further(governor: Governor) -> None:
    await _allow_everything(governor)
    agent = await _rich(governor)
    assert (await agent.request("Buy", **_api(MAX - NANO))).granted
    assert (await agent.request("Buy", **_api(NANO * 2))).code == "budget_exceeded"
    assert (await agent.request("Buy", **_api(NANO))).remaining_budget_usd == 0
    assert (await agent.request("Buy", **_api(NANO))).code == "budget_exceeded"
    assert (await agent.request("Buy", **_api(0))).granted, "what costs nothing fits into an empty budget"


async def test_what_costs_nothing_fits_into_a_budget_of_nothing(governor: Governor) -> None:
    agent = await governor.handshake("a", session_budget_usd=0)
    assert (await agent.request("Summarise", estimated_cost_usd=0)).granted
    assert (await agent.request("Summarise", estimated_cost_usd="0.000000001")).code == "budget_exceeded"


async def test_nothing_fits_into_an_overdrawn_budget_not_even_what_costs_nothing(governor: Governor) -> None:
    agent = await governor.handshake("a", session_budget_usd=1)
    async with agent.permit("Summarise", estimated_cost_usd=1) as grant:
        grant.settle(cost_usd=2)
    assert (await agent.request("Summarise", estimated_cost_usd=0)).code == "budget_exceeded"


async def test_overruns_beyond_what_lua_can_count_never_wrap_into_money(governor: Governor) -> None:
    """Four settlements of $8,000,000 against a reservation of nothing: the sum passes 2**53 nano-dollars."""
    agent = await _rich(governor)
    await _allow_everything(governor)
    grants = [await agent.request("Buy", **_api(0)) for _ in range(4)]
    for verdict in grants:
        assert verdict.grant_id
        await agent.settle(verdict.grant_id, cost_usd=MAX)
    for state in (await agent.budget()).budgets:
        assert state.spent_usd > MAX
        assert state.remaining_usd == 0
    for cost in (MAX, Decimal(1), NANO, 0):
        assert (await agent.request("Buy", **_api(cost))).code == "budget_exceeded"


@pytest.mark.parametrize("amount", [MAX + NANO, MAX * 2, Decimal("9007199.254740993"), Decimal("1e30")])
async def test_amounts_beyond_the_largest_are_refused_by_name(governor: Governor, amount: Decimal) -> None:
    agent = await governor.handshake("a")
    with pytest.raises(InvalidRequestError, match="estimated_cost_usd: is beyond the largest amount, 8000000 USD"):
        await agent.request("Buy", **_api(amount))
    with pytest.raises(InvalidRequestError, match="beyond the largest amount"):
        await governor.set_budget("agent", "a", "day", amount)
    assert (await agent.budget()).budgets[0].limit_usd == 10


async def test_the_largest_session_budget_holds_beside_a_smaller_one(governor: Governor) -> None:
    agent = await governor.handshake("a", session_budget_usd=MAX)
    verdict = await agent.request("Summarise", estimated_cost_usd=1)
    assert {line.scope: line.remaining_usd for line in verdict.budgets} == {
        "agent": 9,
        "session": MAX - 1,
        "tenant": 99,
    }


async def test_thousands_of_odd_amounts_add_up_exactly(governor: Governor) -> None:
    agent = await _rich(governor)
    await _allow_everything(governor)
    total = Decimal(0)
    for number in range(400):
        cost = Decimal("12345.678901234") + number * NANO
        verdict = await agent.request("Buy", **_api(cost))
        assert verdict.grant_id
        await agent.settle(verdict.grant_id, cost_usd=cost)
        total += cost
    assert {state.spent_usd for state in (await agent.budget()).budgets} == {total}

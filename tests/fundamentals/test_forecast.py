"""With ``AEGIS_RESERVATION=forecast`` a call reserves what such calls have cost at most, not what they could."""

from __future__ import annotations

from decimal import Decimal

import pytest

import aegis_core
from aegis_core import GovernedAgent, Settings

pytestmark = pytest.mark.leaves("grants", "questions")

SIZES = {"model": "gpt-4o", "prompt_bytes": 2_000, "max_output_tokens": 1_000}
STRICT = Decimal("0.0125")  # 1,000 × $2.50 and 1,000 × $10 per million


async def spend(agent: GovernedAgent, cost: str, times: int) -> None:
    for _ in range(times):
        async with agent.permit("Answer", **SIZES) as grant:
            grant.settle(cost_usd=cost)


async def test_a_forecast_reserves_the_dearest_of_the_recent_calls(settings: Settings) -> None:
    settings = settings.model_copy(update={"reservation": "forecast"})
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("a")
        await spend(agent, "0.0020", 19)
        before = await agent.request("Answer", **SIZES)
        assert before.reserved_usd == STRICT  # nineteen calls are too few to forecast from
        await spend(agent, "0.0025", 1)
        after = await agent.request("Answer", **SIZES)
        assert Decimal("0.0025") <= after.reserved_usd <= Decimal("0.0026")
        assert "about 1 call in 21 may cost more, by at most $0.01." in after.reason


async def test_another_model_or_agent_learns_for_itself(settings: Settings) -> None:
    settings = settings.model_copy(update={"reservation": "forecast"})
    async with aegis_core.connect(settings=settings) as governor:
        await spend(await governor.handshake("a"), "0.0020", 20)
        other = await governor.handshake("b")
        assert (await other.request("Answer", **SIZES)).reserved_usd == STRICT


async def test_the_policy_judges_what_a_call_may_cost_at_most(settings: Settings) -> None:
    settings = settings.model_copy(update={"reservation": "forecast", "agent_day_usd": Decimal(1_000)})
    dear = {"model": "gpt-4o", "prompt_bytes": 2_000, "max_output_tokens": 1_000_000}  # up to $10.0025
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("a")
        await spend(agent, "0.0001", 20)
        assert (await agent.request("Answer", **dear)).status == "PENDING"


async def test_strict_is_the_default_and_never_forecasts(settings: Settings) -> None:
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("a")
        await spend(agent, "0.0020", 25)
        assert (await agent.request("Answer", **SIZES)).reserved_usd == STRICT

"""A permit reserves money before the work and settles what it really cost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

import aegis_core
from aegis_core import AegisDenied, Governor, Settings, Usage

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants")]


async def test_a_granted_request_says_what_is_left_and_which_model_to_use(governor: Governor) -> None:
    agent = await governor.handshake(
        "crew-researcher-01", framework="crewai", session_budget_usd="2.50", max_priority=7
    )
    verdict = await agent.request("Summarise Sui governance proposals", estimated_cost_usd="0.035", logic_density=3)
    assert verdict.status == "GRANTED"
    assert verdict.remaining_budget_usd == Decimal("9.965")
    assert "gemini" in (verdict.recommended_model or "")
    assert [(line.scope, line.remaining_usd, line.tightest) for line in verdict.budgets] == [
        ("agent", Decimal("9.965"), False),
        ("session", Decimal("2.465"), True),
        ("tenant", Decimal("99.965"), False),
    ]


async def test_settling_returns_the_difference(governor: Governor) -> None:
    agent = await governor.handshake("a")
    async with agent.permit("Summarise", estimated_cost_usd="0.035") as grant:
        assert (await agent.budget()).budgets[0].reserved_usd == Decimal("0.035")
        grant.settle(cost_usd="0.031")
    assert grant.receipt is not None
    assert (grant.receipt.charged_usd, grant.receipt.returned_usd) == (Decimal("0.031"), Decimal("0.004"))
    assert (await agent.budget()).remaining_budget_usd == Decimal("9.969")


async def test_token_usage_settles_at_the_models_price(governor: Governor) -> None:
    agent = await governor.handshake("a")
    async with agent.permit("Answer", model="gpt-4o", prompt_bytes=2_000, max_output_tokens=100) as grant:
        assert grant.verdict.reserved_usd == Decimal("0.0035")  # 1,000 × $2.50 and 100 × $10 per million
        grant.settle(usage=Usage(model="gpt-4o", input_tokens=400, output_tokens=50))
    assert (await agent.budget()).budgets[0].spent_usd == Decimal("0.0015")


async def test_an_exception_gives_the_money_back_where_the_block_says_so(governor: Governor) -> None:
    agent = await governor.handshake("a")
    with pytest.raises(RuntimeError, match="provider is down"):
        async with agent.permit("Summarise", on_error="release", estimated_cost_usd="0.5"):
            raise RuntimeError("provider is down")
    assert (await agent.budget()).remaining_budget_usd == Decimal(10)


async def test_a_block_that_says_nothing_is_charged_at_its_estimate(governor: Governor) -> None:
    agent = await governor.handshake("a")
    async with agent.permit("Summarise", estimated_cost_usd="0.5"):
        pass
    assert (await agent.budget()).budgets[0].spent_usd == Decimal("0.5")


async def test_a_refused_permit_raises_and_never_runs_the_block(governor: Governor) -> None:
    agent = await governor.handshake("a", session_budget_usd="0.10")
    with pytest.raises(AegisDenied, match=r"budget has \$0.10 of \$0.10 left, and \$0.50 was asked") as caught:
        async with agent.permit("Summarise", estimated_cost_usd="0.50"):
            pytest.fail("the block ran")
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == "budget_exceeded"
    assert caught.value.verdict.status == "REJECTED"


async def test_an_actual_cost_above_the_estimate_is_charged_and_announced(governor: Governor) -> None:
    agent = await governor.handshake("a")
    async with agent.permit("Summarise", estimated_cost_usd="0.10") as grant:
        grant.settle(cost_usd="0.25")
    assert grant.receipt is not None
    assert grant.receipt.overrun_usd == Decimal("0.15")
    assert (await agent.budget()).budgets[0].spent_usd == Decimal("0.25")
    assert [event.kind for event in await governor.events()][-1] == "overrun"


def test_plain_code_uses_the_same_interface(settings: Settings) -> None:
    with aegis_core.connect_sync(settings=settings) as governor:
        agent = governor.handshake("a", session_budget_usd=1)
        assert agent.request("Summarise", estimated_cost_usd=0.25).granted
        with agent.permit("Summarise", estimated_cost_usd="0.25") as grant:
            grant.settle(cost_usd="0.20")
        assert agent.budget().remaining_budget_usd == Decimal("9.55")
        with pytest.raises(AegisDenied), agent.permit("Summarise", estimated_cost_usd=2):
            pytest.fail("the block ran")


async def test_plain_code_works_inside_a_running_loop(settings: Settings) -> None:
    with aegis_core.connect_sync(settings=settings) as governor:
        assert governor.handshake("a").request("Summarise", estimated_cost_usd=0.25).granted


def test_many_threads_share_one_connection_and_never_overspend(settings: Settings) -> None:
    with aegis_core.connect_sync(settings=settings) as governor, ThreadPoolExecutor(16) as threads:
        agent = governor.handshake("a")
        verdicts = list(threads.map(lambda _: agent.request("Work", estimated_cost_usd="0.50"), range(64)))
    assert sum(verdict.granted for verdict in verdicts) == 20

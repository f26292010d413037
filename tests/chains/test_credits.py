"""What a chain gives back beside a transaction undoes no more of what persons approved than the transaction took."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.governor.transactions import _proven
from aegis_core.governor.verdicts import grant_key
from aegis_core.policy.engine import compile_policy
from aegis_core.protocol.approvals import EnvelopeRequest
from aegis_core.protocol.workflows import Step

ASKS = {"name": "ask", "type": "max_cost", "limit_usd": 0, "effect": "escalate"}
TOOL = "wallet.transact"


async def asked(agent: Any, usd: int) -> Any:
    return await agent.request("Tidy up", resource_type="api_call", tool=TOOL, estimated_cost_usd=usd, confidence=1)


async def gives_back(governor: Governor, verdict: Any, usd: int) -> None:
    """As the end of a transaction that freed more than it cost."""
    settlement = _proven(grant_key(verdict.grant_id), "settle", -usd * 10**9, "tx")
    await governor.port.transactions._ledger.settle(settlement)  # type: ignore[attr-defined]


@pytest.fixture
async def governor(settings: Settings) -> Any:
    async with aegis_core.connect(settings=settings) as made:
        rules = compile_policy({"schema": 1, "rules": [ASKS]})
        await made.port.publish_policy(rules, author="test")  # type: ignore[attr-defined]
        yield made


@pytest.mark.leaves("questions")
async def test_an_envelope_is_not_widened(governor: Governor) -> None:
    agent = await governor.handshake("trader")
    await governor.set_budget("agent", "trader", "day", 1_000)
    ahead = EnvelopeRequest(agent_id="trader", tool=TOOL, limit_usd=Decimal(5))
    await governor.approvals.approve_ahead(ahead, by="ada")
    for _ in range(3):
        await gives_back(governor, await asked(agent, 5), 5)
    (envelope,) = await governor.approvals.envelopes()
    assert envelope.used_usd == 0
    assert (await asked(agent, 20)).status == "PENDING"


@pytest.mark.leaves("questions", "grants")
async def test_nor_is_a_plan(governor: Governor) -> None:
    async def approve() -> None:
        while not (plans := [each for each in await governor.approvals.list() if each.plan]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await governor.approvals.decide(plans[0].approval_id, "approve", by="ada")

    approving = asyncio.create_task(approve())
    plan = (Step(tool=TOOL, upto_usd="5"),)
    async with governor.workflow("tidy", budget_usd=5, plan=plan, until="2h") as flow:
        await approving
        member = await flow.join("payer")
        for _ in range(3):
            await gives_back(governor, await asked(member, 4), 4)
        held = [await asked(member, 4) for _ in range(2)]
        assert [each.status for each in held] == ["GRANTED", "PENDING"]

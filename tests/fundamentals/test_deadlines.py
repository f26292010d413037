"""Grants and questions have deadlines, kept by the server's clock, whoever looks first."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from aegis_core import Governor
from aegis_core.protocol.errors import ConflictError
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = pytest.mark.concurrent

Virtual = tuple[Governor, FakeClock, Store]


async def test_an_unsettled_grant_is_charged_at_its_estimate(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await agent.request("Work", estimated_cost_usd=4)
    await clock.advance(minutes=10)
    state = (await agent.budget()).budgets[0]
    assert (state.spent_usd, state.reserved_usd) == (Decimal(4), Decimal(0))
    assert [event.kind for event in await governor.events()][-1] == "expired"


async def test_a_late_settlement_replaces_that_charge_once(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    verdict = await agent.request("Work", estimated_cost_usd=4)
    assert verdict.grant_id is not None
    await clock.advance(minutes=11)
    receipt = await agent.settle(verdict.grant_id, cost_usd="1.50")
    assert (receipt.late, receipt.charged_usd, receipt.returned_usd) == (True, Decimal("1.50"), Decimal("2.50"))
    assert (await agent.settle(verdict.grant_id, cost_usd="1.50")).repeated
    with pytest.raises(ConflictError, match="already settled with other content; nothing changed"):
        await agent.settle(verdict.grant_id, cost_usd="0.10")
    assert (await agent.budget()).budgets[0].spent_usd == Decimal("1.50")


async def test_a_release_after_the_deadline_gives_nothing_back(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    verdict = await agent.request("Work", estimated_cost_usd=4)
    await clock.advance(minutes=10)
    with pytest.raises(ConflictError, match="past its deadline and charged at its estimate; settle it to correct"):
        await agent.release(verdict.grant_id or "")
    assert (await agent.budget()).budgets[0].spent_usd == Decimal(4)


async def test_extending_keeps_a_long_call_alive_up_to_the_cap(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    verdict = await agent.request("Work", estimated_cost_usd=4)
    assert verdict.expires_at is not None
    await clock.advance(minutes=9)
    receipt = await agent.extend(verdict.grant_id or "", 1800)
    assert receipt.expires_at == verdict.expires_at + timedelta(minutes=29)
    await clock.advance(minutes=20)
    capped = await agent.extend(verdict.grant_id or "", 86_400)
    assert capped.expires_at == verdict.expires_at + timedelta(minutes=50)  # one hour from the grant
    await clock.advance(minutes=31)
    assert (await agent.budget()).budgets[0].spent_usd == Decimal(4)


@pytest.mark.leaves("grants")
async def test_a_question_holds_its_money_and_nobody_answering_gives_it_back(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    verdict = await agent.request("Work", estimated_cost_usd=6, request_id="big")
    assert (verdict.status, verdict.waiting_for) == ("PENDING", "human")
    assert verdict.escalation_id is not None
    assert verdict.remaining_budget_usd == Decimal(4)
    assert (await agent.request("Work", estimated_cost_usd=5)).code == "budget_exceeded"
    await clock.advance(minutes=10)
    again = await agent.request("Work", estimated_cost_usd=6, request_id="big")
    assert (again.status, again.code, again.state) == ("REJECTED", "approval_timed_out", "timed_out")
    assert (await agent.request("Work", estimated_cost_usd=5)).granted


async def test_settlement_goes_to_the_day_of_the_reservation(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await clock.advance(hours=11, minutes=55)  # 23:55
    verdict = await agent.request("Work", estimated_cost_usd=4)
    await clock.advance(minutes=8)  # the next day
    assert (await agent.budget()).remaining_budget_usd == Decimal(10)
    await agent.settle(verdict.grant_id or "", cost_usd="4.25")
    assert (await agent.budget()).budgets[0].spent_usd == Decimal("0.25")  # the overrun belongs to today


@pytest.mark.leaves("grants")
async def test_many_overdue_grants_never_refuse_a_newcomer(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    await governor.set_budget("tenant", "-", "day", 3_000)
    for number in range(15):
        asker = await governor.handshake(f"asker-{number}")
        await governor.set_budget("agent", asker.agent_id, "day", 3_000)
        for _ in range(20):
            assert (await asker.request("Ask", estimated_cost_usd=3, confidence=0.1)).status == "PENDING"
    agent = await governor.handshake("a")
    await governor.set_budget("tenant", "-", "day", 900)
    await clock.advance(minutes=10)
    verdict = await agent.request("Work", estimated_cost_usd=4)
    assert verdict.granted, "money that the dead still held refused the living"
    assert (await agent.budget()).budgets[0].reserved_usd == Decimal(4)

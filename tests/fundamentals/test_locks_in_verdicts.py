"""A lock in the money's own verdict: granted, waited for and given back together; local and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from serving import OPERATOR, serving

import aegis_core
from aegis_core import AegisDenied, Governor, Settings, Verdict
from aegis_core.agent import GovernedAgent
from aegis_core.errors import ConflictError, LockLostError
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"operator_secret": SecretStr(OPERATOR)})


@pytest.fixture(params=["local", "remote"])
def url(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    if request.param == "local":
        yield settings.url
    else:
        with serving(settings) as address:
            yield address


@pytest.fixture
async def governor(url: str, settings: Settings) -> AsyncIterator[Governor]:
    async with aegis_core.connect(url, token=OPERATOR, settings=settings) as connected:
        yield connected


@pytest.fixture
async def ann(governor: Governor) -> GovernedAgent:
    return await governor.handshake("ann", max_priority=9)


@pytest.fixture
async def bob(governor: Governor) -> GovernedAgent:
    return await governor.handshake("bob", max_priority=5)


async def sign(agent: GovernedAgent, usd: float = 1, **more: Any) -> Verdict:
    wish = {"resource_type": "wallet_lock", "target_resource": "wallet", "estimated_cost_usd": usd, **more}
    return await agent.request("Sign", **wish)


async def left(agent: GovernedAgent) -> Decimal:
    return (await agent.budget()).remaining_budget_usd


async def holders(governor: Governor) -> list[tuple[str, int]]:
    return [(one.agent_id, one.fence) for lock in await governor.locks() for one in lock.holders]


async def test_money_and_lock_come_in_one_verdict_and_go_with_the_grant(governor: Governor, ann: GovernedAgent) -> None:
    before = await left(ann)
    verdict = await sign(ann)
    assert verdict.granted
    assert verdict.lock_token is not None
    assert verdict.lock_token.startswith("lk_")
    assert verdict.fence is not None
    assert verdict.lock_expires_at is not None
    assert await holders(governor) == [("ann", verdict.fence)]
    assert before - await left(ann) == 1
    assert verdict.grant_id is not None
    await ann.settle(verdict.grant_id, cost_usd=1)
    assert await governor.locks() == ()
    assert before - await left(ann) == 1
    kinds = [event.kind for event in await governor.latest_events(4)]
    assert kinds == ["lock_acquired", "granted", "lock_released", "settled"]


async def test_who_comes_second_is_pending_with_its_place_and_holds_its_money(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    first = await sign(ann)
    before = await left(bob)
    second = await sign(bob)
    assert (second.status, second.waiting_for, second.queue_position) == ("PENDING", "lock", 0)
    assert second.fence is None
    assert "Waits for the lock wallet, as number 1" in second.reason
    assert before - await left(bob) == 1
    assert second.grant_id is not None
    assert first.grant_id is not None
    with pytest.raises(ConflictError, match="still waiting for its lock"):
        await bob.settle(second.grant_id, cost_usd=1)
    third = await sign(ann, request_id="again")
    assert third.queue_position == 1
    await ann.release(first.grant_id)
    got = await sign(bob, request_id=second.request_id)
    assert got.granted
    assert got.fence is not None
    assert first.fence is not None
    assert got.fence > first.fence
    receipt = await bob.settle(second.grant_id, cost_usd=1)
    assert receipt.charged_usd == 1
    assert [agent for agent, _ in await holders(governor)] == ["ann"]


async def test_permit_waits_for_the_lock_and_keeps_it(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    order: list[tuple[str, int]] = []
    inside = 0

    async def turn(agent: GovernedAgent) -> None:
        nonlocal inside
        wish = {"resource_type": "wallet_lock", "target_resource": "wallet", "estimated_cost_usd": 1}
        async with agent.permit("Sign", wait=20, lock_ttl_seconds=0.6, **wish) as grant:
            inside += 1
            assert inside == 1
            order.append((agent.agent_id, grant.fence))
            await asyncio.sleep(1 if len(order) == 1 else 0.01)  # longer than the lease, which renews itself
            inside -= 1
            grant.settle(cost_usd=1)

    spent = [await left(agent) for agent in (ann, bob)]
    await asyncio.gather(*(turn(agent) for agent in (ann, bob) * 3))
    assert [fence for _, fence in order] == sorted({fence for _, fence in order})
    assert len(order) == 6
    assert await governor.locks() == ()
    assert [one - await left(agent) for one, agent in zip(spent, (ann, bob), strict=True)] == [3, 3]


async def test_a_wait_that_is_given_up_takes_neither_money_nor_lock(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    before = await left(bob)
    async with ann.lock("wallet"):
        with pytest.raises(AegisDenied, match="Waits for the lock wallet"):
            async with bob.permit(
                "Sign", wait=0.2, resource_type="wallet_lock", target_resource="wallet", estimated_cost_usd=1
            ):
                pytest.fail("it was held by another")
        (lock,) = await governor.locks()
        assert lock.queued == 0
    assert await left(bob) == before
    assert await governor.locks() == ()


async def test_an_escalated_request_takes_no_lock_until_it_is_approved(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    asked = await sign(ann, 7)
    assert (asked.status, asked.waiting_for, asked.lock_token) == ("PENDING", "human", None)
    assert await governor.locks() == ()
    holding = await sign(bob)
    assert holding.granted
    assert asked.escalation_id is not None
    await governor.approvals.decide(asked.escalation_id, "approve", by="olga")
    waits = await sign(ann, 7, request_id=asked.request_id)
    assert (waits.status, waits.waiting_for, waits.queue_position) == ("PENDING", "lock", 0)
    waiting = asyncio.create_task(sign(ann, 7, request_id=asked.request_id, wait=20))
    await asyncio.sleep(0.1)
    assert holding.grant_id is not None
    await bob.release(holding.grant_id)
    got = await asyncio.wait_for(waiting, 10)
    assert got.granted
    assert got.code == "approved"
    assert got.grant_id is not None
    assert await holders(governor) == [("ann", got.fence)]
    await ann.settle(got.grant_id, cost_usd=7)
    assert await governor.locks() == ()


async def test_a_refusal_takes_no_lock(governor: Governor, ann: GovernedAgent) -> None:
    refused = await sign(ann, 1_000_000)
    assert (refused.status, refused.code, refused.lock_token) == ("REJECTED", "budget_exceeded", None)
    nameless = await ann.request("Sign", resource_type="file_lock", estimated_cost_usd=1)
    assert (nameless.status, nameless.code) == ("REJECTED", "target_needed")
    assert await governor.locks() == ()


async def test_a_lease_that_is_lost_says_so_and_the_money_stays_accounted(
    governor: Governor, ann: GovernedAgent
) -> None:
    before = await left(ann)
    with pytest.raises(LockLostError):  # noqa: PT012
        async with ann.permit(
            "Sign", resource_type="wallet_lock", target_resource="wallet", estimated_cost_usd=1
        ) as grant:
            fence = grant.fence
            await governor.port.locks.force_release("wallet", fence=fence)
            again = await sign(ann, request_id=grant.verdict.request_id)
            assert (again.status, again.code) == ("REJECTED", "lock_lost")
            grant.settle(cost_usd=1)
    assert before - await left(ann) == 1


async def test_opposite_orders_end_though_one_lock_came_with_money(ann: GovernedAgent, bob: GovernedAgent) -> None:
    meet = asyncio.Barrier(2)
    ended: list[str] = []

    async def both(agent: GovernedAgent, first: str, second: str) -> None:
        wish = {"resource_type": "wallet_lock", "estimated_cost_usd": 1, "wait": 30}
        try:
            async with agent.permit("Sign", target_resource=first, **wish):
                await meet.wait()
                async with agent.permit("Sign", target_resource=second, **wish):
                    ended.append("through")
        except (LockLostError, AegisDenied):
            ended.append("stopped")

    async with asyncio.timeout(10):
        await asyncio.gather(both(ann, "a", "b"), both(bob, "b", "a"))
    assert "through" in ended


async def test_a_wait_ends_with_its_grant(virtual: tuple[Governor, FakeClock, Store]) -> None:
    governor, clock, _ = virtual
    ann, bob = await governor.handshake("ann"), await governor.handshake("bob")
    await sign(ann, lock_ttl_seconds=3_600)
    before = await left(bob)
    waits = await sign(bob)
    await clock.advance(minutes=11)
    late = await sign(bob, request_id=waits.request_id)
    assert (late.status, late.code) == ("REJECTED", "lock_timed_out")
    assert await left(bob) == before
    assert (await sign(ann)).granted  # the first holder's grant is past its deadline, so its lease is over, too

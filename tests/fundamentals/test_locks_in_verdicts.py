"""A lock in the money's own verdict: granted, waited for and given back together; local and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import copy_context
from decimal import Decimal
from typing import Any

import pytest
from two_doors import ann, bob, governor, settings, until_someone_waits, url  # noqa: F401 - fixtures

import aegis_core
from aegis_core import AegisDenied, Governor, Settings, Verdict
from aegis_core.client.agent import GovernedAgent
from aegis_core.client.leases import Lease
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.operators import Operator
from aegis_core.protocol.approvals import Approval, ApprovalEdit
from aegis_core.protocol.errors import ConflictError, LockLostError, LockPreemptedError
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "leases")]


@pytest.fixture
async def operator(settings: Settings) -> AsyncIterator[Operator]:
    async with aegis_core.connect(settings=settings) as house:
        assert isinstance(house.port, ResourceGovernor)
        yield house.port.operator


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
        async with agent.permit("Sign", wait=20, lock_ttl_seconds=1.5, **wish) as grant:
            inside += 1
            assert inside == 1
            order.append((agent.agent_id, grant.fence))
            await asyncio.sleep(1.8 if len(order) == 1 else 0.01)  # longer than the lease, which renews itself
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
    got = await asyncio.wait_for(waiting, 15)
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


async def test_a_loss_that_nobody_heard_of_is_known_when_the_grant_ends(
    governor: Governor, ann: GovernedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lease, "_ear", lambda *_: None)
    wish = {"resource_type": "wallet_lock", "target_resource": "wallet", "estimated_cost_usd": 1}
    for finish in ("settle", "release"):
        with pytest.raises(LockLostError):  # noqa: PT012
            async with ann.permit("Sign", **wish) as grant:
                await governor.port.locks.force_release("wallet", fence=grant.fence)
                grant.settle(cost_usd=1) if finish == "settle" else grant.release()
        assert grant.receipt is not None
        assert grant.receipt.lock_lost
    kept = await sign(ann)
    assert kept.grant_id is not None
    assert not (await ann.settle(kept.grant_id, cost_usd=1)).lock_lost


@pytest.mark.parametrize(
    ("ttl", "later", "late"),
    [
        pytest.param(3_600, {"minutes": 11}, True, id="with its grant"),
        pytest.param(30, {"seconds": 31}, False, id="though nobody took the lock"),
    ],
)
async def test_who_settles_after_the_lease_ran_out_hears_that_the_lock_was_gone(
    virtual: tuple[Governor, FakeClock, Store], ttl: int, later: dict[str, int], late: bool
) -> None:
    governor, clock, _ = virtual
    ann = await governor.handshake("ann")
    held = await sign(ann, lock_ttl_seconds=ttl)
    await clock.advance(**later)
    assert held.grant_id is not None
    receipt = await ann.settle(held.grant_id, cost_usd=1)
    assert (receipt.late, receipt.lock_lost) == (late, True)
    again = await ann.settle(held.grant_id, cost_usd=1)
    assert (again.repeated, again.lock_lost) == (True, True)


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

    async with asyncio.timeout(25):
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


WISH: dict[str, Any] = {"resource_type": "wallet_lock", "target_resource": "wallet", "estimated_cost_usd": 1}


async def test_a_wait_that_is_cancelled_takes_neither_money_nor_lock(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    before = await left(bob)

    async def wait() -> None:
        async with bob.permit("Sign", wait=60, **WISH):
            pytest.fail("it was held by another")

    async with ann.lock("wallet"):
        waiting = asyncio.create_task(wait())
        await until_someone_waits(governor)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(30):
            while (await governor.locks())[0].queued:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert await left(bob) == before


async def test_an_escalated_request_made_inside_another_lock_gets_its_own(
    governor: Governor, ann: GovernedAgent
) -> None:
    async with ann.lock("outer"):
        asked = await sign(ann, 7)
        assert asked.waiting_for == "human"
        assert asked.escalation_id is not None
        await governor.approvals.decide(asked.escalation_id, "approve", by="olga")
        got = await sign(ann, 7, request_id=asked.request_id)
        assert got.granted
        assert got.fence is not None
    assert got.grant_id is not None
    await ann.settle(got.grant_id, cost_usd=7)


async def test_an_edit_of_the_target_moves_the_lock(governor: Governor, ann: GovernedAgent) -> None:
    async def run() -> str | None:
        async with ann.permit("Sign", wait=60, **WISH | {"estimated_cost_usd": 7}) as grant:
            assert grant.lease is not None
            assert [lock.resource for lock in await governor.locks()] == ["cold-wallet"]
            return grant.verdict.lock_resource

    running = asyncio.create_task(run())
    while not (asked := await governor.approvals.list()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    edit = ApprovalEdit(target_resource="cold-wallet")
    await governor.approvals.decide(asked[0].approval_id, "approve", by="olga", edit=edit)
    assert await running == "cold-wallet"


async def test_who_works_in_the_block_of_a_grant_that_ended_hears_so(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    with pytest.raises(ConflictError, match="already released"):  # noqa: PT012
        async with ann.permit("Sign", lock_ttl_seconds=60, **WISH) as grant:
            await ann.release(grant.grant_id)
            assert (await sign(bob)).granted
            assert grant.lease is not None
            await asyncio.wait_for(grant.lease.evicting.wait(), 15)
            assert grant.lease.lost


async def test_a_holder_that_did_not_wait_hears_that_it_must_go(ann: GovernedAgent, bob: GovernedAgent) -> None:
    async def urgent() -> int:
        async with ann.lock("wallet", priority=9, wait=20) as lease:
            return lease.fence

    async with bob.permit("Sign", wait=0, priority=1, lock_ttl_seconds=60, **WISH) as grant:
        assert grant.lease is not None
        taking = asyncio.create_task(urgent())
        await asyncio.wait_for(grant.lease.evicting.wait(), 15)  # it is renewed after twenty
        with pytest.raises(LockPreemptedError):
            grant.lease.check()
    assert await taking > 0


async def test_a_semaphore_is_no_wallet(ann: GovernedAgent, bob: GovernedAgent) -> None:
    async with bob.lock("wallet", permits=10):
        refused = await sign(ann)
        assert (refused.status, refused.code) == ("REJECTED", "lock_differs")


async def test_a_blocked_agent_gets_no_lock_that_it_waited_for(
    operator: Operator, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    first, before = await sign(ann), await left(bob)
    waits = await sign(bob)
    await operator.block("bob", author="olga")
    assert first.grant_id is not None
    await ann.release(first.grant_id)
    late = await sign(bob, request_id=waits.request_id)
    assert (late.status, late.code) == ("REJECTED", "agent_blocked")
    await operator.unblock("bob", author="olga")
    assert await left(bob) == before
    assert (await sign(ann)).granted


async def test_an_extension_while_waiting_keeps_the_place(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    first = await sign(ann)
    waiting = asyncio.create_task(sign(bob, request_id="mine", wait=20))
    await until_someone_waits(governor)
    asked = await sign(bob, request_id="mine")
    assert asked.grant_id is not None
    await bob.extend(asked.grant_id, 900)
    assert first.grant_id is not None
    await ann.release(first.grant_id)
    got = await asyncio.wait_for(waiting, 15)
    assert got.granted
    kinds = [event.kind for event in await governor.latest_events(20)]
    assert "lock_unclaimed" not in kinds, "it was not had at once, but when a hand-over had run out"


async def test_a_wait_ends_what_its_holder_has_outlived(settings: Settings) -> None:
    short = settings.model_copy(update={"grant_seconds": 1})
    async with aegis_core.connect(settings=short) as governor:
        ann, bob = await governor.handshake("ann"), await governor.handshake("bob")
        held = await sign(ann, lock_ttl_seconds=60)
        assert held.lock_expires_at is not None
        assert held.expires_at is not None
        assert held.lock_expires_at <= held.expires_at
        async with asyncio.timeout(20), bob.lock("wallet", wait=20) as lease:
            assert lease.fence > 0


def test_plain_code_holds_both_whatever_context_leaves_the_block(settings: Settings) -> None:
    with aegis_core.connect_sync(settings=settings) as governor:
        ann = governor.handshake("ann")
        block = ann.permit("Sign", **WISH)
        grant = copy_context().run(block.__enter__)
        assert grant.fence > 0
        assert grant.lease is not None
        grant.settle(cost_usd="0.25")
        copy_context().run(block.__exit__, None, None, None)
        assert grant.receipt is not None
        assert grant.receipt.charged_usd == Decimal("0.25")
        assert governor.locks() == ()


async def test_an_observed_tenant_still_has_one_holder(
    operator: Operator, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    await operator.set_mode("observe", author="olga")
    assert (await sign(bob, priority=9)).granted  # above its maximum, which is only observed
    assert (await sign(ann)).queue_position == 0


async def test_words_of_one_moment_are_each_whole(governor: Governor, ann: GovernedAgent) -> None:
    wish: dict[str, Any] = {"resource_type": "api_call", "estimated_cost_usd": 6, "request_id": "mine"}
    first = (await ann.request("Pay", **wish)).escalation_id
    assert first is not None
    unknown = "ap_" + "0" * 32
    said = await asyncio.gather(
        governor.approvals.decide(unknown, "approve", by="olga"),
        governor.approvals.decide(first, "approve", by="olga"),
        governor.approvals.decide(first, "reject", by="otto"),
        governor.approvals.decide(unknown, "reject", by="otto"),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in said) == ["Approval", "ConflictError", "NotFoundError", "NotFoundError"]
    assert (await ann.request("Pay", **wish)).granted is isinstance(said[1], Approval)

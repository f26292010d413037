"""Locks as agents hold them: one contract, on Redis and over HTTP. What holds for one holds for the other."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
from serving import OPERATOR
from two_doors import ann, bob, governor, settings, until_someone_waits, url  # noqa: F401 - fixtures

import aegis_core
from aegis_core import AegisError, Governor, InvalidRequestError, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.notifier import Notifier
from aegis_core.protocol.errors import (
    AuthError,
    ConflictError,
    LockLostError,
    LockPreemptedError,
    LockTimeoutError,
    NotFoundError,
)
from aegis_core.protocol.locks import AcquireLock, ReleaseLock, RenewLock
from aegis_core.store.locks import LockStore
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = pytest.mark.concurrent


async def test_one_at_a_time_and_fences_grow(ann: GovernedAgent, bob: GovernedAgent) -> None:
    inside, fences = 0, []

    async def turn(agent: GovernedAgent) -> None:
        nonlocal inside
        async with agent.lock("wallet") as lease:
            inside += 1
            assert inside == 1
            fences.append(lease.fence)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(turn(agent) for agent in (ann, bob) * 5))
    assert fences == sorted(set(fences))
    assert len(fences) == 10


async def test_a_lock_that_is_held_is_not_to_be_had_in_time(ann: GovernedAgent, bob: GovernedAgent) -> None:
    async with ann.lock("wallet"):
        for wait in (0, 0.2):
            began = time.monotonic()
            with pytest.raises(LockTimeoutError, match="was not free within") as caught:
                async with bob.lock("wallet", wait=wait):
                    pytest.fail("two holders")
            assert time.monotonic() - began >= wait
            assert caught.value.facts["resource"] == "wallet"
    async with bob.lock("wallet", wait=0):
        pass


async def test_permits_are_shared_by_weight_and_readers_among_themselves(
    ann: GovernedAgent, bob: GovernedAgent
) -> None:
    async with ann.lock("pool", permits=3, weight=2), bob.lock("pool", permits=3):
        with pytest.raises(LockTimeoutError):
            async with bob.lock("pool", wait=0):
                pytest.fail("a fourth permit")
        with pytest.raises(ConflictError, match="the lock pool has permits 3") as caught:
            async with bob.lock("pool", permits=5, wait=0):
                pytest.fail("the permits changed")
        assert caught.value.code == "lock_differs"
    async with ann.lock("file", mode="shared"), bob.lock("file", mode="shared"):
        with pytest.raises(LockTimeoutError):
            async with bob.lock("file", wait=0):
                pytest.fail("a writer among readers")


async def test_a_lease_renews_itself_while_the_block_runs(ann: GovernedAgent, bob: GovernedAgent) -> None:
    async with ann.lock("wallet", ttl="1.5s") as lease:
        await asyncio.sleep(1.8)
        lease.check()
        with pytest.raises(LockTimeoutError):
            async with bob.lock("wallet", wait=0):
                pytest.fail("it had expired")


async def test_a_lease_is_entered_once_more_by_its_token_only(ann: GovernedAgent) -> None:
    async with ann.lock("wallet") as lease:
        with pytest.raises(LockTimeoutError):
            async with ann.lock("wallet", wait=0):
                pytest.fail("reentered without the token")
        async with ann.lock("wallet", token=lease.token) as again:
            assert again.fence == lease.fence
        lease.check()
        await lease.renew()
    with pytest.raises(LockLostError):
        async with ann.lock("wallet", token=lease.token):
            pytest.fail("entered what was given back")


async def test_a_higher_priority_takes_over_with_notice(ann: GovernedAgent, bob: GovernedAgent) -> None:
    async def high() -> int:
        async with ann.lock("wallet", priority=9) as lease:
            return lease.fence

    async with bob.lock("wallet", priority=1) as lease:
        taking = asyncio.create_task(high())
        await asyncio.wait_for(lease.evicting.wait(), 9)
        with pytest.raises(LockPreemptedError, match="higher priority") as caught:
            lease.check()
        assert 0 < caught.value.facts["ends_in_seconds"] <= 5
        assert not lease.lost
        assert lease.fence > 0
    assert await taking > 0


async def test_who_does_not_go_loses_the_lock_after_the_grace(ann: GovernedAgent, bob: GovernedAgent) -> None:
    with pytest.raises(LockPreemptedError):  # noqa: PT012
        async with bob.lock("wallet", priority=1, grace_seconds=2) as lease:
            fence = lease.fence
            async with ann.lock("wallet", priority=9, wait=30) as taken:
                assert taken.fence > fence
                await asyncio.wait_for(lease.evicting.wait(), 30)  # its notice may come later than the lock
                assert lease.lost
                with pytest.raises(LockPreemptedError):
                    lease.fence  # noqa: B018 - to read it is the use that is refused


@pytest.mark.parametrize("preemption", ["never", "cooperative"])
async def test_locks_say_how_their_holders_may_be_moved(
    ann: GovernedAgent, bob: GovernedAgent, preemption: str
) -> None:
    async with bob.lock("wallet", priority=1, preemption=preemption, grace_seconds=0.05) as lease:
        with pytest.raises(LockTimeoutError):
            async with ann.lock("wallet", priority=9, wait=0.4):
                pytest.fail("taken")
        if preemption == "cooperative":
            await asyncio.wait_for(lease.evicting.wait(), 9)  # heard of, not asked for: it is renewed after ten
        await lease.renew()
        assert lease.evicting.is_set() == (preemption == "cooperative")
        assert not lease.lost


async def test_several_are_taken_together_or_not_at_all(ann: GovernedAgent, bob: GovernedAgent) -> None:
    async with bob.lock("b"):
        with pytest.raises(LockTimeoutError):
            async with ann.lock_all("a", "b", "c", wait=0.2):
                pytest.fail("b was held")
        async with ann.lock("a", wait=0):
            pass
    async with ann.lock_all("c", "a", "b") as lease:
        assert set(lease.fences) == {"a", "b", "c"}
        assert lease.fence == lease.fences["c"]


async def test_opposite_orders_end_in_milliseconds(ann: GovernedAgent, bob: GovernedAgent) -> None:
    meet = asyncio.Barrier(2)

    async def both(agent: GovernedAgent, first: str, second: str) -> str:
        try:
            async with agent.lock(first):
                await meet.wait()
                async with agent.lock(second, wait=20):
                    return "both"
        except LockPreemptedError:
            return "gave way"

    began = time.monotonic()
    found = await asyncio.gather(both(ann, "a", "b"), both(bob, "b", "a"))
    assert sorted(found) == ["both", "gave way"]
    assert time.monotonic() - began < 15, "it was waited for what cannot come"


async def test_a_cancelled_wait_leaves_nothing_behind(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis_core.governor.lock_wait._HEARTBEAT", 0.05)

    async def wait() -> None:
        async with bob.lock("wallet"):
            pytest.fail("held twice")

    async with ann.lock("wallet"):
        waiting = asyncio.create_task(wait())
        await until_someone_waits(governor)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.5)  # a call that still waited for it would ask again and again
        async with asyncio.timeout(30):
            while (await governor.locks("wallet"))[0].queued:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert await governor.locks() == ()
    kinds = [event.kind for event in await governor.latest_events(20)]
    assert kinds.count("lock_waiting") == kinds.count("lock_cancelled")


async def test_a_wait_that_timed_out_may_begin_again_at_once(ann: GovernedAgent, bob: GovernedAgent) -> None:
    again = bob.lock("wallet", wait=0.02)  # with the token that was given up a moment ago
    async with ann.lock("wallet"):
        for _ in range(20):
            with pytest.raises(LockTimeoutError):
                async with again:
                    pytest.fail("two holders")
    async with again as lease:
        assert lease.fence > 0


@pytest.mark.parametrize("way", ["acquire", "renew"])
async def test_what_happens_while_an_answer_is_under_way_is_heard(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    heard, inbox_hear, asked = asyncio.Event(), Notifier._hear, getattr(LockStore, way)

    def hear(inbox: Notifier, channel: str, text: str) -> None:
        inbox_hear(inbox, channel, text)
        if text.startswith("L"):
            heard.set()

    monkeypatch.setattr(Notifier, "_hear", hear)
    async with aegis_core.connect(settings=settings) as governor, aegis_core.connect(settings=settings) as elsewhere:
        ann = await governor.handshake("ann")

        async def ask(book: LockStore, *order: Any, **more: Any) -> Any:
            answer = await asked(book, *order, **more)
            if not heard.is_set():
                await elsewhere.port.locks.force_release("wallet")
                await asyncio.wait_for(heard.wait(), 30)
            return answer

        async with ann.lock("wallet") as lease:
            before = lease.fence
        monkeypatch.setattr(LockStore, way, ask)
        if way == "acquire":  # had once more: it was taken before it was known to be had
            async with ann.lock("wallet") as again:
                assert again.fence > before + 1
                assert not again.lost
        else:
            with pytest.raises(LockLostError):
                async with ann.permit(
                    "Sign", resource_type="wallet_lock", target_resource="wallet", estimated_cost_usd=1
                ):
                    pytest.fail("the block ran on a lease that had been taken")


async def test_operators_see_and_take(governor: Governor, ann: GovernedAgent, bob: GovernedAgent) -> None:
    async def wait() -> int:
        async with bob.lock("wallet", wait=20) as lease:
            return lease.fence

    with pytest.raises(LockLostError):  # noqa: PT012
        async with ann.lock("wallet", priority=7) as lease:
            waiting = asyncio.create_task(wait())
            await until_someone_waits(governor)
            (lock,) = await governor.locks()
            assert [(h.agent_id, h.fence, h.priority) for h in lock.holders] == [("ann", lease.fence, 7)]
            assert [(w.agent_id, w.queue_position) for w in lock.waiters] == [("bob", 0)]
            assert lock.holders[0].held_seconds >= 0
            with pytest.raises(NotFoundError):
                await governor.port.locks.force_release("wallet", fence=lease.fence + 1)
            fence = lease.fence
            taken = await governor.port.locks.force_release("wallet", fence=fence)
            assert [(one.agent_id, one.fence) for one in taken] == [("ann", fence)]
            assert await waiting > fence
            await asyncio.wait_for(lease.evicting.wait(), 9)
            assert lease.lost
    kinds = [event.kind for event in await governor.latest_events(20) if event.kind.startswith("lock_")]
    assert kinds == ["lock_acquired", "lock_waiting", "lock_forced", "lock_acquired", "lock_released"]
    forced = next(event for event in await governor.latest_events(20) if event.kind == "lock_forced")
    assert (forced.agent_id, forced.facts["resource"]) == ("ann", "wallet")
    assert forced.facts["held_seconds"] >= 0


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"ttl": 0}, "ttl_seconds"), ({"ttl": 31_536_000}, "ttl_seconds"), ({"ttl": "soon"}, "ttl"),
        ({"wait": -1}, "wait"), ({"permits": 0}, "permits"), ({"priority": 11}, "priority"),
        ({"mode": "both"}, "mode"), ({"colour": "red"}, "colour"), ({"wait": None}, "wait"), ({"ttl": True}, "ttl"),
        ({"ttl_seconds": 5}, "ttl_seconds"), ({"lock_token": "lk_"}, "lock_token"),
    ],
)  # fmt: skip
async def test_a_wish_that_cannot_be_accepted_is_refused(
    ann: GovernedAgent, wish: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        async with ann.lock("wallet", **wish):
            pytest.fail("held")
    assert caught.value.field == field


@pytest.mark.parametrize("name", ["x" * 10_000, "wallet}", "{other}:t", "a b", "", "a\nb"])
async def test_a_name_that_is_none_is_refused(governor: Governor, ann: GovernedAgent, name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        async with ann.lock(name):
            pytest.fail("held")
    assert caught.value.field == "resource"
    assert await governor.locks() == ()


async def test_tokens_prove_their_own_lease_only(governor: Governor, ann: GovernedAgent, bob: GovernedAgent) -> None:
    port = governor.port.locks
    stranger = "lk_" + "0" * 32
    async with ann.lock("wallet") as lease:
        for agent, token, error in (
            (ann, stranger, LockLostError), (bob, lease.token, AuthError), (bob, stranger, LockLostError),
        ):  # fmt: skip
            with pytest.raises(error):
                await port.renew(
                    "wallet", RenewLock(agent_id=agent.agent_id, lock_token=token), token=agent.session.session_token
                )
            with pytest.raises(error):
                await port.release(
                    ReleaseLock(agent_id=agent.agent_id, resource="wallet", lock_token=token),
                    token=agent.session.session_token,
                )
        with pytest.raises(AegisError, match="belongs to another agent"):  # bob in ann's name
            await port.release(
                ReleaseLock(agent_id="ann", resource="wallet", lock_token=lease.token), token=bob.session.session_token
            )
        await lease.renew()
    with pytest.raises(LockLostError):
        await port.release(
            ReleaseLock(agent_id="ann", resource="wallet", lock_token=lease.token), token=ann.session.session_token
        )


@pytest.mark.leaves("grants")
async def test_a_request_with_a_fence_is_refused_once_the_lease_is_gone(ann: GovernedAgent, bob: GovernedAgent) -> None:
    wish = {"resource_type": "gas_budget", "estimated_cost_usd": "0.10", "target_resource": "wallet"}
    async with ann.lock("wallet") as lease:
        fence = lease.fence
        assert (await ann.request("Pay", fence=fence, **wish)).granted
        for agent, wrong in ((ann, fence + 1), (bob, fence)):
            refused = await agent.request("Pay", fence=wrong, **wish)
            assert (refused.status, refused.code, refused.grant_id) == ("REJECTED", "stale_fence", None)
        elsewhere = await ann.request("Pay", fence=fence, **wish | {"target_resource": "other"})
        assert elsewhere.code == "stale_fence"
    async with bob.lock("wallet"):
        late = await ann.request("Pay", fence=fence, **wish)
        assert (late.status, late.code) == ("REJECTED", "stale_fence")
    assert (await ann.budget()).budgets[0].reserved_usd == Decimal("0.1")


@pytest.mark.leaves("grants", "leases")
async def test_a_lease_that_expired_is_no_fence_any_more(
    virtual: tuple[Governor, FakeClock, Store],
) -> None:
    governor, clock, _ = virtual
    ann = await governor.handshake("ann")
    state = await governor.port.locks.acquire(
        "wallet", AcquireLock(agent_id="ann", ttl_seconds=10), token=ann.session.session_token
    )
    wish = {"resource_type": "gas_budget", "estimated_cost_usd": "0.10", "target_resource": "wallet"}
    await clock.advance(seconds=9.999)
    assert (await ann.request("Pay", fence=state.fence, **wish)).granted
    await clock.advance(seconds=0.001)
    assert (await ann.request("Pay", fence=state.fence, **wish)).code == "stale_fence"


async def test_a_priority_above_the_session_is_refused(bob: GovernedAgent) -> None:
    with pytest.raises(AuthError, match="above 5") as caught:
        async with bob.lock("wallet", priority=6):
            pytest.fail("held")
    assert caught.value.code == "priority_above_maximum"


async def test_another_tenant_has_locks_of_its_own(settings: Settings, governor: Governor, ann: GovernedAgent) -> None:
    other = settings.model_copy(update={"tenant": settings.tenant + "-b"})
    async with aegis_core.connect(settings=other) as elsewhere, ann.lock("wallet"):
        stranger = await elsewhere.handshake("ann")
        async with stranger.lock("wallet", wait=0) as lease:
            assert lease.fence == 1
        assert len(await governor.locks()) == 1


async def test_a_blocked_agent_keeps_no_lock(settings: Settings, ann: GovernedAgent) -> None:
    from aegis_core.connect import open_governor
    from aegis_core.store.store import open_store

    store = await open_store(settings)
    other = await open_governor(store, settings)
    with pytest.raises(LockLostError):  # noqa: PT012
        async with ann.lock("wallet", ttl=0.5) as lease:
            await other.operator.block("ann", author="tests")
            with pytest.raises(LockLostError):
                await lease.renew()
            await asyncio.sleep(0.6)
    with pytest.raises(AuthError, match="blocked"):
        async with ann.lock("wallet"):
            pytest.fail("held")
    await other.aclose()
    await store.aclose()


def test_plain_code_holds_locks_too(url: str, settings: Settings) -> None:
    with aegis_core.connect_sync(url, token=OPERATOR, settings=settings) as governor:
        agent, other = governor.handshake("a", max_priority=9), governor.handshake("b")
        with agent.lock("wallet") as lease:
            lease.check()
            assert lease.fence >= 1
            assert not lease.evicting.is_set()
            with pytest.raises(LockTimeoutError), other.lock("wallet", wait=0):
                pytest.fail("two holders")
            with agent.lock("second") as inner:
                assert inner.fence > lease.fence
        with other.lock_all("x", "y") as both:
            assert set(both.fences) == {"x", "y"}
        assert governor.locks() == ()

"""Who gets a lock that many want: urgency from any place in the queue, and nobody who may not act. By either door."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from two_doors import ann, bob, governor, settings, until_someone_waits, url  # noqa: F401 - fixtures

from aegis_core import Governor, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.connect import open_governor
from aegis_core.protocol.errors import AuthError, ConflictError, InvalidRequestError, LockLostError, LockTimeoutError
from aegis_core.protocol.locks import AcquireLock
from aegis_core.store.ledger import SessionProof
from aegis_core.store.locks import Found, LockClaim, LockStore
from aegis_core.store.store import Store, open_store
from aegis_core.testing import FakeClock

pytestmark = pytest.mark.concurrent


@pytest.mark.leaves("leases")
async def test_urgency_counts_behind_one_who_has_waited_for_longer(
    virtual: tuple[Governor, FakeClock, Store],
) -> None:
    """An old waiter of low priority is first, and moves nobody. The holder goes all the same, and then the waiter."""
    governor, clock, _ = virtual
    book = LockStore(governor.port._ledger)  # type: ignore[attr-defined]
    for agent in ("low", "old", "risk"):
        await governor.handshake(agent, max_priority=9)

    async def ask(number: int, agent: str, priority: int) -> Found:
        token = f"lk_{number:032x}"
        claim = LockClaim(agent, ("wallet",), token, priority, 3_600_000, None, 1, "exclusive", None, 2_000, ())
        return await book.acquire(claim, SessionProof(), "~nobody", queue=True)

    assert (await ask(1, "low", 1)).state == "held"
    assert (await ask(2, "old", 1)).state == "waiting"
    assert not (await ask(1, "low", 1)).evicted
    await clock.advance(seconds=20 - 8)
    assert (await ask(2, "old", 1)).state == "waiting"
    await clock.advance(seconds=8)
    asked = await ask(3, "risk", 9)
    assert (asked.state, asked.place) == ("waiting", 1), "it may not overtake who came so long before"
    assert (await ask(1, "low", 1)).evicted, "who holds it must go"
    await clock.advance(seconds=2)
    assert (await ask(2, "old", 1)).state == "held"
    assert (await ask(3, "risk", 9)).state == "waiting"
    await clock.advance(seconds=2)
    assert (await ask(3, "risk", 9)).state == "held"


async def test_equals_move_nobody_from_any_place(governor: Governor, ann: GovernedAgent, bob: GovernedAgent) -> None:
    async def wait() -> None:
        async with bob.lock("wallet", wait=20):
            pass

    async with ann.lock("wallet", priority=5) as lease:
        waits = [asyncio.create_task(wait()) for _ in range(3)]
        for _ in range(500):
            if (await governor.locks("wallet"))[0].queued == 3:
                break
            await asyncio.sleep(0.01)
        assert (await governor.locks("wallet"))[0].queued == 3
        lease.check()
    await asyncio.gather(*waits)


async def test_whoever_is_blocked_while_it_waits_gets_nothing(
    settings: Settings, governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    store = await open_store(settings)
    other = await open_governor(store, settings)

    async def wait() -> None:
        async with bob.lock("wallet", wait=20):
            pytest.fail("a blocked agent holds the wallet")

    try:
        async with ann.lock("wallet"):
            waiting = asyncio.create_task(wait())
            await until_someone_waits(governor)
            await other.operator.block("bob", author="tests")
        with pytest.raises(AuthError) as caught:
            await asyncio.wait_for(waiting, 15)
        assert caught.value.code == "agent_blocked"
        assert await governor.locks() == ()
        assert "bob" not in {e.agent_id for e in await governor.latest_events(20) if e.kind == "lock_acquired"}
    finally:
        await other.aclose()
        await store.aclose()


@pytest.mark.leaves("leases")
async def test_nothing_is_handed_over_while_the_tenant_is_halted(
    virtual: tuple[Governor, FakeClock, Store],
) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("ann")
    token = agent.session.session_token
    locks = governor.port.locks
    held = await locks.acquire("wallet", AcquireLock(agent_id="ann", ttl_seconds=10), token=token)
    ask = AcquireLock(agent_id="ann", lock_token="lk_" + "5" * 32)
    assert (await locks.acquire("wallet", ask, token=token, wait=0.01)).state == "waiting"
    await governor.port.operator.halt(author="tests")  # type: ignore[attr-defined]
    await clock.advance(seconds=10)
    (lock,) = await governor.locks()
    assert (lock.holders, lock.queued) == ((), 1)
    with pytest.raises(AuthError, match="halted"):
        await locks.acquire("wallet", ask, token=token, wait=0.01)
    await governor.port.operator.resume(author="tests")  # type: ignore[attr-defined]
    assert await governor.locks() == ()
    fresh = await locks.acquire("wallet", AcquireLock(agent_id="ann"), token=token)
    assert held.fence is not None
    assert fresh.fence == held.fence + 1


@pytest.mark.parametrize(
    ("first", "second", "field", "value"),
    [
        ({"grace_seconds": 0.2}, {"grace_seconds": 60}, "grace_seconds", 0.2),
        ({}, {"grace_seconds": 60}, "grace_seconds", 5.0),
        ({"preemption": "never"}, {"preemption": "cooperative"}, "preemption", "never"),
        ({"permits": 2}, {"permits": 3}, "permits", 2),
        ({"permits": 2}, {"weight": 3}, "weight", 2),
    ],
)
async def test_what_a_lock_is_the_first_one_says(
    ann: GovernedAgent,
    bob: GovernedAgent,
    first: dict[str, object],
    second: dict[str, object],
    field: str,
    value: object,
) -> None:
    async with ann.lock("wallet", **first):
        with pytest.raises(ConflictError) as caught:
            async with bob.lock("wallet", wait=0, **second):
                pytest.fail("it changed")
    assert (caught.value.code, caught.value.facts["field"]) == ("lock_differs", field)
    assert caught.value.facts["in_force"] == value


async def test_nobody_waits_for_itself(ann: GovernedAgent, bob: GovernedAgent) -> None:
    async def refused(**wish: Any) -> None:
        began = time.monotonic()
        with pytest.raises(ConflictError, match="it would wait for itself") as caught:
            async with ann.lock("wallet", wait=30, **wish):
                pytest.fail("held twice")
        assert caught.value.code == "lock_deadlock"
        assert time.monotonic() - began < 10

    async with ann.lock_all("first", "wallet"), ann.lock("other"):
        await refused()
        await refused(mode="shared")
        with pytest.raises(ConflictError, match="it would wait for itself"):
            async with ann.lock_all("free", "wallet", wait=30):
                pytest.fail("held twice")
    async with ann.lock("wallet", mode="shared"):
        async with ann.lock("wallet", mode="shared", wait=30):
            pass
        await refused()  # a reader that would write keeps itself out
    async with ann.lock("wallet", permits=2), ann.lock("wallet", wait=30):
        await refused()
    async with ann.lock("wallet", permits=2):
        async with bob.lock("wallet"):
            with pytest.raises(LockTimeoutError):  # that one goes when it is done
                async with ann.lock("wallet", wait=0.2):
                    pytest.fail("three of two")
        async with ann.lock("wallet", wait=0):
            pass


async def test_one_name_however_it_is_written(governor: Governor, ann: GovernedAgent) -> None:
    with pytest.raises(LockLostError):  # noqa: PT012
        async with ann.lock("\uff37allet") as lease:  # a full-width W
            assert lease.resource == "Wallet"
            assert [lock.resource for lock in await governor.locks("\uff37allet")] == ["Wallet"]
            assert len(await governor.port.locks.force_release("\uff37allet")) == 1
    long = "is longer than 512 bytes; it must be 1 to 128"
    for name, problem in (("wallet}", "must be 1 to 128"), ("x" * 1_000, long)):
        with pytest.raises(InvalidRequestError, match=f"^resource: {problem}"):
            await governor.locks(name)
        with pytest.raises(InvalidRequestError, match=f"^resource: {problem}"):
            await governor.port.locks.force_release(name)


async def test_more_than_there_is_of_a_free_lock_is_explained(ann: GovernedAgent) -> None:
    with pytest.raises(ConflictError, match=r"^weight: is above the permits of pool, 1;"):
        async with ann.lock("pool", weight=2):
            pytest.fail("two of one")
    async with ann.lock("pool", weight=2, permits=2):
        pass


async def test_a_name_that_is_too_long_even_for_a_path_is_a_wrong_name(governor: Governor) -> None:
    with pytest.raises(InvalidRequestError):
        await governor.locks("x" * 10_000)

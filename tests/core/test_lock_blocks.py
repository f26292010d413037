"""Blocks of locks used as people use locks of other libraries: kept, shared, overlapping, begun in one and outlived."""

from __future__ import annotations

import asyncio
import threading

import pytest
from serving import OPERATOR
from two_doors import ann, bob, governor, settings, until_someone_waits, url  # noqa: F401 - fixtures

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.protocol.errors import AuthError, ConflictError, LockLostError, LockTimeoutError
from aegis_core.protocol.locks import AcquireLock

pytestmark = pytest.mark.concurrent


async def test_one_block_lets_in_one_at_a_time(ann: GovernedAgent) -> None:
    block, inside = ann.lock("wallet"), 0

    async def turn() -> None:
        nonlocal inside
        async with block as lease:
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.2)
            lease.check()
            inside -= 1

    found = await asyncio.gather(*(turn() for _ in range(3)), return_exceptions=True)
    refused = [error for error in found if error is not None]
    assert [(type(error), getattr(error, "code", "")) for error in refused] == [(ConflictError, "block_in_use")] * 2


async def test_one_block_may_be_entered_again_and_again(ann: GovernedAgent, bob: GovernedAgent) -> None:
    block, fences, tokens = ann.lock("wallet", wait="200ms"), list[int](), set[str]()
    for _ in range(3):
        async with block as lease:
            fences.append(lease.fence)
            tokens.add(lease.token)
        async with bob.lock("wallet", wait=0):
            with pytest.raises(LockTimeoutError):
                async with block:
                    pytest.fail("two holders")
    assert fences == sorted(set(fences))
    assert len(tokens) == 3, "what is on its way about one entry must not touch the next"


async def test_a_task_that_outlives_its_block_may_take_locks(ann: GovernedAgent) -> None:
    left = asyncio.Event()

    async def later() -> int:
        await left.wait()
        async with ann.lock("other", wait=5) as lease:
            return lease.fence

    async with ann.lock("wallet"):
        task = asyncio.create_task(later())
    left.set()
    assert await task > 0


async def test_blocks_may_be_left_in_the_order_in_which_they_were_entered(
    governor: Governor, ann: GovernedAgent, bob: GovernedAgent
) -> None:
    first, second = ann.lock("a"), ann.lock("wallet")
    await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)

    async def crossing() -> str:
        async with bob.lock("c"):
            try:
                async with bob.lock("wallet", wait=20):
                    return "both"
            except LockLostError:
                return "gave way"

    crosses = asyncio.create_task(crossing())
    await until_someone_waits(governor)
    async with ann.lock("c", wait=20) as lease:  # the wallet is still known to be held, so the cycle is seen
        lease.check()
    await second.__aexit__(None, None, None)
    assert await crosses == "gave way"


async def test_what_is_left_of_several_is_given_back_with_the_block(governor: Governor, ann: GovernedAgent) -> None:
    with pytest.raises(LockLostError):
        async with ann.lock_all("a", "b", "c", ttl=600):
            await governor.port.locks.force_release("a")
    assert await governor.locks() == ()


async def test_a_lease_that_was_given_back_is_no_more(ann: GovernedAgent) -> None:
    async with ann.lock("wallet") as lease:
        pass
    with pytest.raises(LockLostError, match="given back"):
        lease.check()
    with pytest.raises(LockLostError, match="given back"):
        lease.fence  # noqa: B018 - to read it is the use that is refused


async def test_a_token_opens_the_lease_to_its_own_agent_only(ann: GovernedAgent, bob: GovernedAgent) -> None:
    async with ann.lock("wallet") as lease:
        with pytest.raises(AuthError, match="belongs to another agent"):
            async with bob.lock("wallet", token=lease.token):
                pytest.fail("two holders")
        lease.check()


async def test_who_entered_by_a_token_hears_that_the_lease_was_lost(governor: Governor, ann: GovernedAgent) -> None:
    state = await governor.port.locks.acquire("wallet", AcquireLock(agent_id="ann"), token=ann.session.session_token)
    with pytest.raises(LockLostError):  # noqa: PT012
        async with ann.lock("wallet", token=state.lock_token) as lease:
            await governor.port.locks.force_release("wallet")
            await asyncio.wait_for(lease.evicting.wait(), 9)
    with pytest.raises(LockLostError):  # noqa: PT012
        async with ann.lock("wallet") as lease, ann.lock("wallet", token=lease.token):
            await governor.port.locks.force_release("wallet")
            await asyncio.wait_for(lease.evicting.wait(), 9)


def test_threads_that_share_a_block_are_not_in_it_together(url: str, settings: Settings) -> None:
    with aegis_core.connect_sync(url, token=OPERATOR, settings=settings) as governor:
        block, refused = governor.handshake("a").lock("wallet"), list[str]()

        def turn() -> None:
            try:
                with block:
                    pytest.fail("two holders")
            except ConflictError as error:
                refused.append(error.code)

        with block:
            thread = threading.Thread(target=turn)
            thread.start()
            thread.join()
        assert refused == ["block_in_use"]
        with block as lease:
            assert lease.fence > 1


async def test_a_lease_of_another_loop_is_entered_by_its_token(url: str, settings: Settings) -> None:
    def elsewhere(ready: threading.Event, done: threading.Event, tokens: list[str]) -> None:
        with (
            aegis_core.connect_sync(url, token=OPERATOR, settings=settings) as other,
            other.handshake("cy").lock("wallet") as lease,
        ):
            tokens.append(lease.token)
            ready.set()
            done.wait(20)

    ready, done, tokens = threading.Event(), threading.Event(), list[str]()
    thread = threading.Thread(target=elsewhere, args=(ready, done, tokens))
    thread.start()
    try:
        assert await asyncio.to_thread(ready.wait, 20)
        async with aegis_core.connect(url, token=OPERATOR, settings=settings) as here:
            session = await here.handshake("cy")
            async with session.lock("wallet", token=tokens[0]) as lease:
                await lease.renew()
                lease.check()
    finally:
        done.set()
        await asyncio.to_thread(thread.join)

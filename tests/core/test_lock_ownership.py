"""What users of other locks rely on: who owns a lease, when it times out, how long one blocks, what renewing does.

The same questions that redis-py asks of its own lock, put to ours, by either door.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from two_doors import ann, bob, governor, settings, url  # noqa: F401 - fixtures

from aegis_core import Governor
from aegis_core.client.agent import GovernedAgent
from aegis_core.protocol.errors import AuthError, LockLostError, LockTimeoutError
from aegis_core.protocol.locks import AcquireLock, LockState, ReleaseLock, RenewLock

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("leases")]


class Hand:
    """One agent's plain calls: a lease that nothing renews, as a crashed process leaves it."""

    def __init__(self, agent: GovernedAgent) -> None:
        self.agent, self.port, self.token = agent, agent._port.locks, agent.session.session_token

    async def take(self, wait: float = 0, **wish: Any) -> LockState:
        message = AcquireLock(agent_id=self.agent.agent_id, **wish)
        return await self.port.acquire("wallet", message, token=self.token, wait=wait)

    async def renew(self, token: str, **wish: Any) -> LockState:
        message = RenewLock(agent_id=self.agent.agent_id, lock_token=token, **wish)
        return await self.port.renew("wallet", message, token=self.token)

    async def release(self, token: str, **wish: Any) -> LockState:
        message = ReleaseLock(agent_id=self.agent.agent_id, resource="wallet", lock_token=token, **wish)
        return await self.port.release(message, token=self.token)


@pytest.fixture
def mine(ann: GovernedAgent) -> Hand:
    return Hand(ann)


@pytest.fixture
def theirs(bob: GovernedAgent) -> Hand:
    return Hand(bob)


async def _lapsed(hand: Hand) -> LockState:
    state = await hand.take(ttl_seconds=0.2)
    assert state.state == "held"
    await asyncio.sleep(0.25)
    return state


async def test_a_lease_is_owned_by_its_token_and_no_other(mine: Hand, theirs: Hand) -> None:
    first = await mine.take()
    assert (await mine.take()).state == "busy", "the same agent owns nothing by its name"
    assert (await theirs.take()).state == "busy"
    assert (await mine.take(lock_token=first.lock_token)).fence == first.fence
    assert (await mine.release(first.lock_token)).state == "released"
    assert (await theirs.take()).state == "held"


async def test_who_lost_a_lease_to_another_neither_renews_nor_releases(mine: Hand, theirs: Hand) -> None:
    late = await _lapsed(mine)
    now = await theirs.take()
    acts: list[Callable[[], Awaitable[LockState]]] = [
        lambda: mine.renew(late.lock_token), lambda: mine.release(late.lock_token),
        lambda: mine.release(late.lock_token, fence=late.fence),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(LockLostError):
            await act()
    with pytest.raises(AuthError):
        await mine.release(now.lock_token)
    assert (await theirs.renew(now.lock_token)).fence == now.fence, "the other's lease is unharmed"


async def test_what_was_never_taken_or_is_given_back_cannot_be_used(mine: Hand) -> None:
    stranger = "lk_" + "9" * 32
    state = await mine.take()
    await mine.release(state.lock_token)
    for token in (stranger, state.lock_token):
        with pytest.raises(LockLostError):
            await mine.renew(token)
        with pytest.raises(LockLostError):
            await mine.release(token)


async def test_a_lease_times_out_and_not_before(mine: Hand, theirs: Hand) -> None:
    began = time.monotonic()
    first = await mine.take(ttl_seconds=0.5)
    assert first.expires_in_seconds is not None
    assert 0 < first.expires_in_seconds <= 0.5
    assert (await theirs.take()).state == "busy"
    second = await theirs.take(wait=5)
    assert second.state == "held"
    assert second.fence is not None
    assert first.fence is not None
    assert second.fence > first.fence
    assert time.monotonic() - began >= 0.499, "the server counts whole milliseconds"


async def test_to_block_is_to_wait_as_long_as_was_said(
    mine: Hand,
    ann: GovernedAgent,
    bob: GovernedAgent,
) -> None:
    state = await mine.take(ttl_seconds=600)
    for wait in (0, 0.1, 0.35):  # also where the next look would come later
        began = time.monotonic()
        with pytest.raises(LockTimeoutError) as caught:
            async with bob.lock("wallet", wait=wait):
                pytest.fail("two holders")
        assert wait <= time.monotonic() - began
        assert caught.value.facts["waited_seconds"] == wait

    async def blocked() -> float:
        async with bob.lock("wallet", wait=30):
            return time.monotonic()

    waiting = asyncio.create_task(blocked())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    freed = time.monotonic()
    await mine.release(state.lock_token)
    assert await asyncio.wait_for(waiting, 25) >= freed


async def test_to_renew_is_to_begin_the_time_anew(mine: Hand) -> None:
    state = await mine.take(ttl_seconds=20)
    await asyncio.sleep(0.3)
    again = await mine.renew(state.lock_token)
    assert again.expires_at is not None
    assert state.expires_at is not None
    assert 0.25 <= (again.expires_at - state.expires_at).total_seconds() < 10
    longer = await mine.renew(state.lock_token, ttl_seconds=100)
    shorter = await mine.renew(state.lock_token, ttl_seconds=15)
    assert longer.expires_in_seconds is not None
    assert shorter.expires_in_seconds is not None
    assert 90 < longer.expires_in_seconds <= 100
    assert 0 < shorter.expires_in_seconds <= 15
    assert again.fence == longer.fence == shorter.fence == state.fence


async def test_what_timed_out_is_not_renewed_though_nobody_took_it(mine: Hand, governor: Governor) -> None:
    late = await _lapsed(mine)
    with pytest.raises(LockLostError):
        await mine.renew(late.lock_token)
    with pytest.raises(LockLostError):
        await mine.release(late.lock_token)
    assert await governor.locks() == ()


async def test_a_block_says_at_its_end_that_it_was_not_alone(
    governor: Governor,
    ann: GovernedAgent,
) -> None:
    with pytest.raises(LockLostError):
        async with ann.lock("wallet"):
            await governor.port.locks.force_release("wallet")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - what went wrong inside matters more
        async with ann.lock("wallet"):
            await governor.port.locks.force_release("wallet")
            raise ZeroDivisionError

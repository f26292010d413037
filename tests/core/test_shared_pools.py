"""Who waits in a thread of asyncio's shared pool keeps nobody out of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import aegis_core
from aegis_core import Settings
from aegis_core.adapting import CallGovernor, ToolCall, ToolLock
from aegis_core.client.sync import SyncGovernor

pytestmark = pytest.mark.concurrent

PATIENCE = 60.0
THREADS = 2


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    with aegis_core.connect_sync(settings=settings) as connected:
        yield connected


async def within(pool: ThreadPoolExecutor, work: Any) -> None:
    asyncio.get_running_loop().set_default_executor(pool)
    async with asyncio.timeout(PATIENCE):
        await work


async def until(done: Callable[[], object]) -> None:
    for _ in range(3_000):
        if done():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not come to that")


@pytest.mark.parametrize("by", ["an adapter", "the agent"])
def test_those_who_wait_for_a_person_keep_nobody_out(governor: SyncGovernor, by: str) -> None:
    """More than the pool has threads; another agent's call is made before anybody decides."""
    agent, other = governor.handshake("asks"), governor.handshake("harmless")
    governor.set_budget("agent", "asks", "day", 100)
    calls = CallGovernor(agent, framework="custom", costs={"pay": 7})

    def asks(number: int) -> bool:
        if by == "an adapter":
            return calls.begin(ToolCall("pay", {"to": number})).settle() is not None
        with agent.permit(f"Pay {number}", resource_type="api_call", estimated_cost_usd=7) as grant:
            return grant.verdict.granted

    async def work() -> None:
        waiting = [asyncio.create_task(asyncio.to_thread(asks, number)) for number in range(THREADS + 2)]
        looked = await asyncio.to_thread(other.request, "Look", resource_type="compute", estimated_cost_usd="0.01")
        other.release(looked.grant_id or "")
        await until(lambda: len(governor.approvals.list()) == len(waiting))
        for each in governor.approvals.list():
            governor.approvals.decide(each.approval_id, "approve", by="ada")
        assert await asyncio.gather(*waiting) == [True] * len(waiting)

    pool = ThreadPoolExecutor(THREADS, "asyncio")
    asyncio.run(within(pool, work()))
    assert pool._max_workers == THREADS


def test_those_who_wait_for_a_lock_let_its_holder_end(governor: SyncGovernor) -> None:
    """Whose end needs a thread of the same pool."""
    calls = CallGovernor(
        governor.handshake("pays"), framework="custom", locks={"pay": ToolLock("wallet", wait=PATIENCE)}
    )

    async def pay(number: int) -> None:
        held = await asyncio.to_thread(calls.begin, ToolCall("pay", {"to": number}))
        await asyncio.to_thread(held.settle)

    async def work() -> None:
        await asyncio.gather(*(pay(number) for number in range(THREADS + 4)))

    asyncio.run(within(ThreadPoolExecutor(THREADS, "asyncio"), work()))
    assert governor.locks("wallet") == ()


def test_a_pool_of_the_programs_own_stays_as_small_as_it_is(governor: SyncGovernor) -> None:
    """It may be small on purpose."""
    governor.handshake("asks")
    governor.set_budget("agent", "asks", "day", 100)
    calls = CallGovernor(governor.handshake("asks"), framework="custom", costs={"pay": 7})
    with ThreadPoolExecutor(THREADS, "few") as pool:
        waiting = [pool.submit(calls.begin, ToolCall("pay", {"to": number})) for number in range(THREADS)]
        third = threading.Event()
        ran = pool.submit(third.set)
        asyncio.run(until(lambda: len(governor.approvals.list()) == THREADS))
        assert (third.is_set(), pool._max_workers) == (False, THREADS)
        for each in governor.approvals.list():
            governor.approvals.decide(each.approval_id, "approve", by="ada")
        for each in waiting:
            each.result(PATIENCE).settle()
        ran.result(PATIENCE)

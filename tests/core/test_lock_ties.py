"""A lock that is entered by hand ends with the task or thread that entered it, unless it is handed over."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from two_doors import ann, bob, governor, settings, url  # noqa: F401 - fixtures

import aegis_core
from aegis_core import Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.client.leases import HELD
from aegis_core.client.ties import _of_thread
from aegis_core.protocol.errors import LockLostError, LockTimeoutError

pytestmark = pytest.mark.concurrent


async def test_it_ends_with_its_task(ann: GovernedAgent, bob: GovernedAgent, heard: pytest.LogCaptureFixture) -> None:
    leases: list[Any] = []

    async def forgets() -> None:
        leases.append(await ann.lock("wallet", ttl=300).__aenter__())

    await asyncio.create_task(forgets())
    async with bob.lock("wallet", wait=30) as lease:
        assert lease.fence > leases[0].fences["wallet"]
    with pytest.raises(LockLostError, match="given back"):
        leases[0].check()
    assert "wallet was entered by hand and never left" in heard.text


async def test_it_ends_with_a_task_that_fails_or_is_cancelled(ann: GovernedAgent, bob: GovernedAgent) -> None:
    entered = asyncio.Event()

    async def fails() -> None:
        await ann.lock("wallet", ttl=300).__aenter__()
        entered.set()
        await asyncio.sleep(600)

    task = asyncio.create_task(fails())
    await entered.wait()
    with pytest.raises(LockTimeoutError):
        await bob.lock("wallet", wait=0).__aenter__()
    task.cancel()
    async with bob.lock("wallet", wait=30) as lease:
        lease.check()


async def test_handed_over_it_outlives_its_task(ann: GovernedAgent, bob: GovernedAgent) -> None:
    """Another task leaves it; and what the first one does from then on is not within it."""
    block = ann.lock("wallet", ttl=300)

    async def enters() -> Any:
        lease = await block.__aenter__()
        block.hand_over()
        assert HELD.get() == ()
        return lease

    lease = await asyncio.create_task(enters())
    await asyncio.sleep(0.05)
    lease.check()
    with pytest.raises(LockTimeoutError):
        await bob.lock("wallet", wait=0).__aenter__()
    await block.__aexit__(None, None, None)
    async with bob.lock("wallet", wait=0):
        pass


async def test_a_task_that_left_its_blocks_is_bound_by_nothing(ann: GovernedAgent) -> None:
    task: Any = asyncio.current_task()
    before = len(task._callbacks or ())
    for _ in range(20):
        async with ann.lock("wallet"):
            pass
    assert len(task._callbacks or ()) == before


def test_plain_code_loses_it_with_its_thread(settings: Settings, heard: pytest.LogCaptureFixture) -> None:
    with aegis_core.connect_sync(settings=settings) as plain:
        ann, bob = plain.handshake("ann"), plain.handshake("bob")
        leases: list[Any] = []
        thread = threading.Thread(target=lambda: leases.append(ann.lock("report.csv", ttl=300).__enter__()))
        thread.start()
        thread.join()
        with bob.lock("report.csv", wait=30) as lease:
            assert lease.fence > leases[0].fences["report.csv"]
    assert "report.csv was entered by hand and never left" in heard.text


def test_plain_code_hands_it_over(settings: Settings) -> None:
    with aegis_core.connect_sync(settings=settings) as plain:
        ann, bob = plain.handshake("ann"), plain.handshake("bob")
        block = ann.lock("report.csv", ttl=300)

        def enters() -> None:
            block.__enter__()
            block.hand_over()

        thread = threading.Thread(target=enters)
        thread.start()
        thread.join()
        with pytest.raises(LockTimeoutError):
            bob.lock("report.csv", wait=0).__enter__()
        block.__exit__(None, None, None)
        with bob.lock("report.csv", wait=0), ann.lock("other"):
            assert len(_of_thread.ties.ends) == 2
        assert _of_thread.ties.ends == {}


@pytest.mark.leaves("leases")
def test_a_thread_that_ends_after_its_connection_is_left_in_peace(settings: Settings) -> None:
    closed, entered = threading.Event(), threading.Event()
    with aegis_core.connect_sync(settings=settings) as plain:
        ann = plain.handshake("ann")

        def enters() -> None:
            ann.lock("report.csv", ttl="1s").__enter__()
            entered.set()
            closed.wait(60)

        thread = threading.Thread(target=enters)
        thread.start()
        assert entered.wait(60)
    closed.set()
    thread.join()


def test_the_lock_of_a_plain_permit_is_held_to_its_end(settings: Settings) -> None:
    """The task of the loop that entered it ends at once."""
    wish: Any = {"resource_type": "wallet_lock", "target_resource": "wallet", "estimated_cost_usd": 1}
    with aegis_core.connect_sync(settings=settings) as plain:
        ann, bob = plain.handshake("ann"), plain.handshake("bob")
        with ann.permit("Sign", **wish) as grant:
            for _ in range(5):
                plain.budget("ann")  # the loop has done what was to be done
            assert grant.fence > 0
            with pytest.raises(LockTimeoutError):
                bob.lock("wallet", wait=0).__enter__()
        with bob.lock("wallet", wait=0):
            pass

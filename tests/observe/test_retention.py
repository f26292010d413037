"""Events are bounded in number where they are written, and in age by who observes; words go with them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.observe.retention import Retention
from aegis_core.observe.rollups import RollupConsumer
from aegis_core.protocol.errors import StoreError
from aegis_core.store import layout
from aegis_core.store.store import Store, open_store
from aegis_core.testing import FakeClock

pytestmark = pytest.mark.leaves("grants")
Virtual = tuple[Governor, FakeClock, Store]


def retention(governor: Governor) -> Retention:
    assert isinstance(governor.port, ResourceGovernor)
    return Retention(governor.port.observation)


async def kept(store: Store, tenant: str) -> tuple[int, int]:
    """How many events there are, and words of the agent `a`."""
    counts = [int(await store.command("XLEN", layout.key(tenant, name))) for name in ("e", "w:a")]
    return counts[0], counts[1]


async def test_what_is_too_old_goes_with_its_words(settings: Settings) -> None:
    small = settings.model_copy(update={"events_kept_days": 0.5 / 86_400})
    store = await open_store(small)
    async with aegis_core.connect(settings=small) as governor:
        agent = await governor.handshake("a")
        for _ in range(3):
            await agent.request("words", estimated_cost_usd=0)
        last = (await governor.events())[-1]
        gone = 0
        while (await kept(store, settings.tenant))[0]:
            gone += await retention(governor).look()
            await asyncio.sleep(0.01)
        assert gone == last.number
        await agent.request("other words", estimated_cost_usd=0)
        await retention(governor).look()
        assert (await kept(store, settings.tenant))[1] <= 1
        assert (await governor.find_events(after="1-0")).trimmed, "what was taken before it is said"
    await store.aclose()


async def test_by_number_only_nothing_is_too_old(settings: Settings) -> None:
    forever = settings.model_copy(update={"events_kept_days": 0})
    store = await open_store(forever)
    async with aegis_core.connect(settings=forever) as governor:
        agent = await governor.handshake("a")
        await agent.request("words", estimated_cost_usd=0)
        assert await retention(governor).look() == 0
        assert await kept(store, settings.tenant) == (3, 1)
        assert await store.command("PTTL", layout.key(settings.tenant, "w:a")) > 300 * 86_400_000
    await store.aclose()


async def test_words_of_events_that_were_too_many_go(virtual: Virtual) -> None:
    governor, _, store = virtual
    agents = [await governor.handshake(name) for name in ("a", "b")]
    for agent in agents:
        for _ in range(3):
            await agent.request("words", estimated_cost_usd=0)
    await store.command("XTRIM", layout.key(governor.tenant, "e"), "MAXLEN", 4)
    assert isinstance(governor.port, ResourceGovernor)
    for _ in agents:  # one after the other
        await governor.port.observation.trim(1)
    assert await kept(store, governor.tenant) == (4, 1)
    assert int(await store.command("XLEN", layout.key(governor.tenant, "w:b"))) == 3
    assert not any("words_gone" in event.facts for event in await governor.events())


async def test_a_resume_from_before_the_oldest_says_so_and_after_forgetting_it_does_not(virtual: Virtual) -> None:
    governor = virtual[0]
    agent = await governor.handshake("a")
    await agent.request("words", estimated_cost_usd=0)
    first = (await governor.events())[0]
    assert isinstance(governor.port, ResourceGovernor)
    await governor.port.operator.forget("a", author="ada")
    page = await governor.find_events(after=f"{int(first.id.partition('-')[0]) - 1}-0")
    assert not page.trimmed
    numbers = [event.number for event in page.events]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_observers_go_on_after_the_store_failed(virtual: Virtual, monkeypatch: pytest.MonkeyPatch) -> None:
    from aegis_core.observe import running

    governor = virtual[0]
    assert isinstance(governor.port, ResourceGovernor)
    monkeypatch.setattr(running, "LOOK_SECONDS", 0.001)
    observation: Any = governor.port.observation
    failures = [StoreError("The store is gone.", reason="lost")] * 3
    hold = observation.hold

    async def held(seconds: float) -> Any:
        if failures:
            raise failures.pop()
        return await hold(seconds)

    monkeypatch.setattr(observation, "hold", held)
    agent = await governor.handshake("a")
    await agent.request("words", estimated_cost_usd=0)
    async with running.observing(RollupConsumer(observation), Retention(observation)):
        while (await governor.activity()).behind:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert not failures
    assert (await governor.activity()).total.requests == 1

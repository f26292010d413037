"""Looks that are asked together travel together, and one that fails fails alone."""

from __future__ import annotations

import asyncio

import pytest

from aegis_core import Governor, Settings
from aegis_core.connect import open_governor
from aegis_core.protocol.errors import NotFoundError, StoreError
from aegis_core.store import layout
from aegis_core.store.batching import Looks
from aegis_core.store.store import open_store

pytestmark = pytest.mark.concurrent


async def test_looks_of_one_moment_are_few_scripts_and_answer_each_its_own(settings: Settings) -> None:
    store = await open_store(settings, throwaway=True)
    port = await open_governor(store, settings)
    agent = await Governor(port).handshake("payer")
    grants = [(await agent.request(f"Pay {number}", estimated_cost_usd="0.01")).grant_id or "" for number in range(100)]
    await store.clients.any.config_resetstat()
    unknown = asyncio.create_task(port.wait_for(f"gr_{'0' * 32}", 0))
    verdicts = await asyncio.gather(*(port.wait_for(grant, 0) for grant in grants))
    assert [verdict.grant_id for verdict in verdicts] == grants
    with pytest.raises(NotFoundError):
        await unknown
    stats = await store.clients.any.info("commandstats")
    assert sum(stats[name]["calls"] for name in stats if name.startswith("cmdstat_eval")) <= 4
    await port.aclose()
    await store.aclose()


@pytest.mark.leaves("anything")  # a record that is damaged holds money that nobody can give back
async def test_a_damaged_record_fails_for_who_asks_for_it(governor: Governor, settings: Settings) -> None:
    agent = await governor.handshake("payer")
    grants = [(await agent.request(f"Pay {number}", estimated_cost_usd="0.01")).grant_id or "" for number in range(9)]
    store = await open_store(settings)
    await store.command("DEL", layout.key(settings.tenant, f"r:{grants[4][3:]}"))
    await store.command("LPUSH", layout.key(settings.tenant, f"r:{grants[4][3:]}"), "not a record")
    looks = [governor.port.wait_for(grant, 0) for grant in grants]  # type: ignore[attr-defined]
    told = await asyncio.gather(*looks, return_exceptions=True)
    assert [isinstance(each, StoreError) for each in told] == [number == 4 for number in range(9)]
    await store.aclose()


async def test_a_library_that_the_server_forgot_is_loaded_once_for_all_who_need_it(settings: Settings) -> None:
    store = await open_store(settings, throwaway=True)
    port = await open_governor(store, settings)
    agent = await Governor(port).handshake("payer")
    grants = [(await agent.request(f"Pay {number}", estimated_cost_usd="0.01")).grant_id or "" for number in range(90)]
    for _ in range(2):  # a restart forgets them, at any time
        await store.clients.any.function_flush()
        await store.clients.any.config_resetstat()
        await asyncio.gather(*(agent.release(grant) for grant in grants))
        stats = await store.clients.any.info("commandstats")
        assert stats["cmdstat_function|load"]["calls"] == 1
        assert stats["cmdstat_fcall"]["calls"] <= 2 * len(grants)
    await port.aclose()
    await store.aclose()


async def test_a_crowd_leaves_room_for_others_and_one_failure_stops_nobody_else() -> None:
    under_way, most, sizes = 0, 0, []

    async def look(keys: list[int]) -> list[int]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        sizes.append(len(keys))
        await asyncio.sleep(0.001)
        under_way -= 1
        if 300 in keys:
            raise StoreError("down", reason="down")
        return [key * 2 for key in keys]

    looks = Looks(look)
    told = await asyncio.gather(*(looks.at(key) for key in range(1_000)), return_exceptions=True)
    failed = [key for key, answer in enumerate(told) if isinstance(answer, StoreError)]
    assert 300 in failed
    assert len(failed) <= 64
    assert all(answer == key * 2 for key, answer in enumerate(told) if key not in failed)
    assert most == 2
    assert max(sizes) <= 64
    assert len(sizes) == 16
    assert await looks.at(7) == 14

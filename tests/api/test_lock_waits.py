"""Waits for locks over HTTP whose caller goes away: they neither come back nor take what another call got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from serving import OPERATOR, serving

import aegis_core
from aegis_core import Settings

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("leases")]

TOKEN = "lk_" + "7" * 32
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}


class Door:
    """The HTTP API, as `curl` would use it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http, self.tokens = http, dict[str, str]()

    async def enter(self, *agents: str) -> None:
        for agent in agents:
            answer = await self.http.post("/handshake", json={"agent_id": agent, "max_priority": 9})
            self.tokens[agent] = answer.json()["session_token"]

    async def ask(self, agent: str, path: str, *, patience: float = 30, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[agent]}"}
        answer = await self.http.post(path, json={"agent_id": agent, **body}, headers=headers, timeout=patience)
        return answer.json()

    async def queued(self) -> int:
        locks = (await self.http.get("/locks", params={"resource": "wallet"}, headers=AS_OPERATOR)).json()["locks"]
        return locks[0]["queued"] if locks else 0

    async def until_queued(self, count: int) -> None:
        for _ in range(500):
            if await self.queued() == count:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"never {count} in the queue")


@pytest.fixture
def url(settings: Settings) -> Any:
    with serving(settings) as address:
        yield address


@pytest.fixture
async def door(url: str) -> AsyncIterator[Door]:
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", trust_env=False) as http:
        opened = Door(http)
        await opened.enter("ann", "bob", "cy")
        yield opened


async def test_a_call_that_was_cut_off_does_not_end_the_lease_of_the_next_call(door: Door) -> None:
    held = await door.ask("ann", "/locks/wallet/acquire")
    wish = {"lock_token": TOKEN, "ttl_seconds": 2}
    with pytest.raises(httpx.TimeoutException):
        await door.ask("bob", "/locks/wallet/acquire?wait=30", patience=0.5, **wish)
    again = asyncio.create_task(door.ask("bob", "/locks/wallet/acquire?wait=30", **wish))
    await asyncio.sleep(0.3)
    await door.ask("ann", "/release-lock", resource="wallet", lock_token=held["lock_token"])
    mine = await again
    assert mine["state"] == "held"
    for _ in range(4):  # for longer than the first call would wait before it asks again
        await asyncio.sleep(0.5)
        assert (await door.ask("cy", "/locks/wallet/acquire"))["state"] == "busy", "two holders"
        assert (await door.ask("bob", "/locks/wallet/renew", lock_token=TOKEN))["fence"] == mine["fence"]


async def test_a_place_is_kept_for_a_caller_whose_connection_was_cut(door: Door) -> None:
    await door.ask("ann", "/locks/wallet/acquire")
    for patience in (0.4, 0.4):
        with pytest.raises(httpx.TimeoutException):
            await door.ask("bob", "/locks/wallet/acquire?wait=30", patience=patience, lock_token=TOKEN)
    await door.ask("cy", "/locks/wallet/acquire?wait=0.05")
    again = await door.ask("bob", "/locks/wallet/acquire?wait=0.05", lock_token=TOKEN)
    assert (again["state"], again["queue_position"], await door.queued()) == ("waiting", 0, 2)


async def test_who_leaves_the_queue_ends_the_call_that_waits_in_it(door: Door) -> None:
    await door.ask("ann", "/locks/wallet/acquire")
    waiting = asyncio.create_task(door.ask("bob", "/locks/wallet/acquire?wait=20", lock_token=TOKEN, ttl_seconds=1))
    await door.until_queued(1)
    left = await door.ask("bob", "/release-lock", resource="wallet", lock_token=TOKEN)
    assert left["state"] == "released"
    assert (await asyncio.wait_for(waiting, 15))["state"] == "busy"
    await asyncio.sleep(1.2)
    assert await door.queued() == 0


async def test_a_wait_that_is_cancelled_does_not_come_back(url: str, settings: Settings, door: Door) -> None:
    async with aegis_core.connect(url, token=OPERATOR, settings=settings) as governor:
        dee = await governor.handshake("dee")

        async def wait() -> None:
            async with dee.lock("wallet", ttl=1):
                pytest.fail("held twice")

        await door.ask("ann", "/locks/wallet/acquire")
        waiting = asyncio.create_task(wait())
        await door.until_queued(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await door.until_queued(0)
        for _ in range(15):  # for longer than a waiter waits before it shows that it is there
            await asyncio.sleep(0.1)
            assert await door.queued() == 0, "somebody waits whom nobody waits for"

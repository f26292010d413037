"""What changes on Redis while Aegis runs is noticed, and nothing is granted on a server that may forget it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from machines import Machine, machine, until
from serving import serving

import aegis_core
from aegis_core import StateLostError, StoreError
from aegis_core.testing import private_settings

SENTENCE = (
    "Redis may evict keys (maxmemory-policy allkeys-lru), and with them budgets; no decision was made. Mend it: "
    "redis-cli CONFIG SET maxmemory-policy noeviction"
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr("aegis_core.store.lost_state.LOOK_SECONDS", 0.1)
    with machine(tmp_path / "redis") as opened:
        yield opened


async def comes(asking: Callable[[], Awaitable[object]], raised: type[StoreError] | None) -> StoreError | None:
    """Ask until that is raised, or nothing any more."""
    async with asyncio.timeout(60):
        while True:
            try:
                await asking()
            except StoreError as error:
                if raised is not None and type(error) is raised:
                    return error
            else:
                if raised is None:
                    return None
            await asyncio.sleep(0.02)


async def test_a_server_that_begins_to_evict_is_closed_for_new_grants_only(server: Machine) -> None:
    async with aegis_core.connect(settings=private_settings(url=server.url)) as governor:
        agent = await governor.handshake("a")

        async def asking() -> None:
            await agent.request("Rent", estimated_cost_usd="0.001")

        verdict = await agent.request("Rent", estimated_cost_usd=1)
        server.client.config_set("maxmemory-policy", "allkeys-lru")
        error = await comes(asking, StoreError)
        assert error is not None
        assert (error.message, error.facts["reason"]) == (SENTENCE, "evicting")
        await agent.settle(verdict.grant_id or "", cost_usd=1)
        assert int((await governor.budget("a")).budgets[0].spent_usd) == 1
        server.client.config_set("maxmemory-policy", "noeviction")
        await comes(asking, None)


def test_it_is_not_ready_while_it_evicts(server: Machine) -> None:
    with serving(private_settings(url=server.url)) as url, httpx.Client(trust_env=False, timeout=60) as http:
        assert http.get(f"{url}/api/v1/ready").status_code == 200
        server.client.config_set("maxmemory-policy", "volatile-ttl")
        until(lambda: http.get(f"{url}/api/v1/ready").status_code == 503)
        told = http.get(f"{url}/api/v1/ready").json()
        assert (told["reason"], "maxmemory-policy volatile-ttl" in told["detail"]) == ("evicting", True)
        server.client.config_set("maxmemory-policy", "noeviction")
        until(lambda: http.get(f"{url}/api/v1/ready").status_code == 200)


async def looked_within(server: Machine, seconds: float) -> int:
    """How often somebody asked the server what it is, beside this test."""
    before = server.client.info("commandstats")["cmdstat_info"]["calls"]
    await asyncio.sleep(seconds)
    return server.client.info("commandstats")["cmdstat_info"]["calls"] - before - 1


async def test_one_of_all_looks_and_decisions_read_what_it_found(
    server: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    settings = private_settings(url=server.url)
    async with aegis_core.connect(settings=settings) as first:
        async with contextlib.AsyncExitStack() as stack:
            others = [await stack.enter_async_context(aegis_core.connect(settings=settings)) for _ in range(5)]
            await asyncio.to_thread(until, lambda: server.client.get("ae:looker"))
            looks = await looked_within(server, 1)
            assert looks < 20, "six that look ask some sixty times"
            blind = await others[0].handshake("a")
            others[0].port._ledger.store.state.look = lambda: asyncio.sleep(0)  # type: ignore[attr-defined] # it sees nothing
            with caplog.at_level(logging.ERROR, "aegis.store"):
                server.client.config_set("maxmemory-policy", "allkeys-lru")
                error = await comes(lambda: blind.request("Rent", estimated_cost_usd="0.001"), StoreError)
            assert error is not None
            assert (error.message, error.facts["reason"]) == (SENTENCE, "evicting")
            assert not others[0].port._ledger.store.state.evicting  # type: ignore[attr-defined]
            assert caplog.text.count("Redis may evict keys") == 1, "one of six tells it"
            server.client.config_set("maxmemory-policy", "noeviction")
            await comes(lambda: blind.request("Rent", estimated_cost_usd="0.001"), None)
        server.client.set("ae:looker", "one that was killed", px=500)
        agent = await first.handshake("a")
        server.client.config_set("maxmemory-policy", "volatile-lru")
        assert await comes(lambda: agent.request("Rent", estimated_cost_usd="0.001"), StoreError)
    server.client.config_set("maxmemory-policy", "noeviction")
    async with aegis_core.connect(settings=settings) as later:  # whoever told it is gone
        await (await later.handshake("a")).request("Rent", estimated_cost_usd="0.001")


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [("appendonly", "yes", "keeps an append-only file"), ("maxmemory", "1100000", "% of its maxmemory")],
)
async def test_what_changes_beside_is_told(
    server: Machine, caplog: pytest.LogCaptureFixture, setting: str, value: str, sentence: str
) -> None:
    with caplog.at_level(logging.WARNING, "aegis.store"):
        async with aegis_core.connect(settings=private_settings(url=server.url)):
            await asyncio.to_thread(until, lambda: server.client.get("ae:server"))
            server.client.config_set(setting, value)
            await asyncio.to_thread(until, lambda: sentence in caplog.text)


async def test_a_state_that_another_process_began_anew_is_not_taken_for_the_old_one(server: Machine) -> None:
    settings = private_settings(url=server.url)
    async with aegis_core.connect(settings=settings) as governor:
        await (await governor.handshake("a")).request("Rent", estimated_cost_usd=1)
        server.client.flushall()
        async with aegis_core.connect(settings=settings) as other:
            again = await other.handshake("a")
            error = await comes(lambda: governor.handshake("b"), StateLostError)
            assert error is not None
            assert error.facts["tenant"] == "default"
            assert (await again.request("Rent", estimated_cost_usd=1)).granted

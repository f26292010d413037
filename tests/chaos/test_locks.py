"""Locks among real processes that are killed, stopped and cut off, on a server that dies: never two, never a leak."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aegis_core
from aegis_core.protocol.errors import AegisError, StoreError
from aegis_core.testing import private_settings
from tests.chaos.lock_workers import PRELOADED, Server, hold_on_and_on, take_turns

pytestmark = pytest.mark.concurrent

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(PRELOADED)
TTL = 0.3
FAULTS = ["kill"] * 8 + ["stop"] * 7 + ["cut"] * 4 + ["restart"]
"""In the proportions in which they come, and not in this order."""


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="aegis-locks-") as home:
        one = Server(Path(home))
        one.start()
        yield one
        one.kill()


class Arena:
    """Workers who fight for one wallet, and whoever disturbs them."""

    def __init__(self, server: Server, tenant: str) -> None:
        self.server, self.tenant = server, tenant
        self.workers: dict[str, Any] = {}
        self.zombies = 0

    def spawn(self) -> None:
        worker = FORKS.Process(target=hold_on_and_on, args=(self.server.url, self.tenant), daemon=True)
        worker.start()
        self.workers[f"w{worker.pid}"] = worker

    async def holder(self, governor: aegis_core.Governor, besides: int = 0) -> tuple[str, int]:
        """Who holds the wallet, with a fence above `besides`."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                found = await governor.locks("wallet")
            except StoreError:
                await asyncio.sleep(0.05)
                continue
            holders = found[0].holders if found else ()
            assert len(holders) <= 1, f"two holders: {holders}"
            if holders and holders[0].fence > besides and holders[0].agent_id in self.workers:
                return holders[0].agent_id, holders[0].fence
            await asyncio.sleep(0.003)
        raise AssertionError("nobody got the wallet within 30 s: a permit leaked")

    async def disturb(self, governor: aegis_core.Governor, fault: str) -> None:
        name, fence = await self.holder(governor)
        pid = self.workers[name].pid
        if fault == "kill":
            os.kill(pid, signal.SIGKILL)
            self.workers.pop(name).join()
            self.spawn()
        elif fault == "stop":
            os.kill(pid, signal.SIGSTOP)
            try:
                was_in_it = (await self.holder(governor, fence - 1))[0] == name
                await self.holder(governor, fence)
                self.zombies += was_in_it
            finally:
                os.kill(pid, signal.SIGCONT)
            return
        elif fault == "cut":
            self.server.client().client_kill_filter(_type="normal", skipme=True)
        else:
            self.server.kill()
            self.server.start()
        await self.holder(governor, fence)

    def has_zombies(self, wanted: int) -> bool:
        """True once enough were stopped while they held the wallet, and wrote to it when they went on."""
        return self.zombies >= wanted and int(self.server.client().hget("chaos:wallet", "refused") or 0) >= wanted / 2

    def end(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.join()


@pytest.mark.timeout(420)
@pytest.mark.parametrize("hundreds", [0.4, pytest.param(1, marks=pytest.mark.deep)])
async def test_faults_leave_never_two_holders_and_never_a_leak(server: Server, tenant: str, hundreds: float) -> None:
    faults, zombies = FAULTS * round(5 * hundreds), 10 * hundreds
    random.Random(7).shuffle(faults)
    arena = Arena(server, tenant)
    settings = private_settings(url=server.url, tenant=tenant, store_timeout_seconds=10)
    async with aegis_core.connect(settings=settings) as governor:
        for _ in range(4):
            arena.spawn()
        try:
            for fault in faults:
                await arena.disturb(governor, fault)
            while not arena.has_zombies(zombies):  # on a busy machine most are stopped after they gave the wallet back
                await arena.disturb(governor, "stop")
        finally:
            arena.end()
        wallet: dict[str, str] = server.client().hgetall("chaos:wallet")
        assert "clash" not in wallet, "two writers with one fence"
        assert arena.zombies >= zombies
        assert int(wallet["refused"]) >= zombies / 2, "the zombies' writes came with old fences, and were refused"
        agent = await governor.handshake("afterwards")
        async with agent.lock("wallet", wait=60) as lease:
            assert lease.fence > int(wallet["fence"])
        assert await governor.locks() == ()
        assert not server.client().keys(f"ae:{{{tenant}}}:l:*")
        fences = [
            event.facts["fence"]
            for event in await _all_events(governor)
            if event.kind == "lock_acquired" and event.facts["resource"] == "wallet"
        ]
        assert fences == sorted(set(fences)), "a fence was given twice or fell"


async def _all_events(governor: aegis_core.Governor) -> list[Any]:
    found: list[Any] = []
    while page := await governor.events(after=found[-1].id if found else "0", limit=500):
        found += page
    return found


def _fight(server: Server, tenant: str, seconds: float, kills: int) -> tuple[dict[str, int], dict[str, Any]]:
    """Fifty agents in five processes; some processes die and come back. Answers turns and wallets."""
    client = server.client()
    for number in range(5):
        client.hset(f"chaos:wallet-{number}", "balance", 1_000_000)
    groups = [[f"agent-{5 * i + group}" for i in range(10)] for group in range(5)]

    def spawn(group: int) -> Any:
        worker = FORKS.Process(target=take_turns, args=(server.url, tenant, groups[group]), daemon=True)
        worker.start()
        return worker

    workers = [spawn(group) for group in range(5)]
    try:
        started = time.monotonic()
        while int(client.get("chaos:ready") or 0) < len(workers):
            assert time.monotonic() < started + 120, "the agents do not start"
            time.sleep(0.02)
        for number in range(kills):
            time.sleep(seconds / (kills + 1))
            victim = number % 5
            workers[victim].kill()
            workers[victim].join()
            workers[victim] = spawn(victim)
        time.sleep(seconds / (kills + 1))
        until = time.monotonic() + 60
        while time.monotonic() < until and not _all_had_turns(client):  # a busy machine makes fewer in those seconds
            time.sleep(0.2)
        client.set("chaos:closed", 1)
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0, "an agent failed, or waits for ever"
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    turns = {name: int(count) for name, count in client.hgetall("chaos:turns").items()}
    return turns, {f"wallet-{number}": client.hgetall(f"chaos:wallet-{number}") for number in range(5)}


def _all_had_turns(client: Any) -> bool:
    turns = client.hgetall("chaos:turns")
    return len(turns) == 50 and min(map(int, turns.values())) >= 5


async def _check_fight(server: Server, tenant: str, seconds: float, kills: int) -> None:
    with pytest.raises(AegisError):  # the tenant is made before fifty agents race to make it
        async with aegis_core.connect(settings=private_settings(url=server.url, tenant=tenant)) as governor:
            await governor.budget("nobody")
    turns, wallets = await asyncio.to_thread(_fight, server, tenant, seconds, kills)
    assert len(turns) == 50, "an agent never had a turn"
    assert min(turns.values()) >= 5, f"an agent had {min(turns.values())} turns only"
    for name, wallet in wallets.items():
        assert "clash" not in wallet
        assert 1_000_000 - int(wallet["balance"]) == int(wallet["spends"]), f"a double spend of {name}"
    spends = sum(int(wallet["spends"]) for wallet in wallets.values())
    print(f"turns {min(turns.values())} to {max(turns.values())}, {spends} spends")


@pytest.mark.timeout(420)
async def test_fifty_agents_and_five_wallets(server: Server, tenant: str) -> None:
    await _check_fight(server, tenant, seconds=5, kills=3)


@pytest.mark.deep
@pytest.mark.timeout(300)
async def test_fifty_agents_and_five_wallets_for_a_minute(server: Server, tenant: str) -> None:
    await _check_fight(server, tenant, seconds=60, kills=20)

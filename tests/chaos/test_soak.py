"""Everything at once for minutes: what process and server hold stays bounded, and the books are right at the end."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import pytest
import redis

import aegis_core
from aegis_core import AegisDenied, Governor, Settings
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings

WARM, SECONDS = 70, 140
"""Long enough for what is remembered a minute to go while it runs."""
EVENTS_KEPT = 5_000
AGENTS, TASKS = 16, 32


def settings_for(url: str) -> Settings:
    """Short lives, so that all that must go goes several times while it runs."""
    return private_settings(
        url=url, tenant="soak", tenant_day_usd=1_000_000, agent_day_usd=100_000, grant_seconds=2,
        approval_seconds=2, idempotency_seconds=60, refusal_seconds=2, events_kept=EVENTS_KEPT,
    )  # fmt: skip


async def work(governor: Governor, number: int, until: float) -> int:
    """Spend, forget to settle, be refused, ask a person who never answers, and hold locks; answers how many asked."""
    dice, asked = random.Random(number), 0
    agent = await governor.handshake(f"agent-{number % AGENTS}")
    while time.monotonic() < until:
        cost = Decimal(dice.randrange(1, 9_000)) / 1_000
        asked += 1
        await asyncio.sleep(0.01)
        match dice.randrange(8):
            case 0:
                await agent.request("Forget it", estimated_cost_usd=cost / 10)
            case 1:
                await agent.request("Ask about it", estimated_cost_usd=cost, confidence=0.1)
            case 2:
                await agent.request("Drop database production", estimated_cost_usd=cost)
            case 3:
                try:
                    async with agent.lock(f"wallet-{dice.randrange(4)}", ttl=1, wait=1):
                        await asyncio.sleep(0.001)
                except (AegisDenied, aegis_core.AegisError):
                    pass
            case _:
                verdict = await agent.request("Summarise it", estimated_cost_usd=cost / 10)
                if verdict.granted:
                    await agent.settle(verdict.grant_id or "", cost_usd=cost / 20)
    return asked


async def run(url: str, seconds: float) -> int:
    async with aegis_core.connect(settings=settings_for(url)) as governor:
        until = time.monotonic() + seconds
        return sum(await asyncio.gather(*(work(governor, number, until) for number in range(TASKS))))


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_nothing_grows_without_end() -> None:
    handle = join_sync(None, throwaway=True, timeout=60)
    try:
        plain = redis.Redis(unix_socket_path=unquote(handle.url.removeprefix("unix://")))
        asyncio.run(run(handle.url, WARM))  # from here on everything has its steady size
        before = (int(plain.info("memory")["used_memory"]), _resident())
        asked = asyncio.run(run(handle.url, SECONDS))
        after = (int(plain.info("memory")["used_memory"]), _resident())
        assert asked > 1_000
        assert after[0] < 1.5 * before[0] + 4_000_000, "the server holds more and more"
        assert after[1] < 1.2 * before[1] + 20_000_000, "the process holds more and more"
        assert plain.xlen("ae:{soak}:e") < 2 * EVENTS_KEPT
        asyncio.run(_settle_down(handle.url, plain))
        plain.close()
    finally:
        handle.leave_sync()


async def _settle_down(url: str, plain: redis.Redis) -> None:
    """When all deadlines have passed, nothing is reserved, no lock is held, and ended records go by themselves."""
    async with aegis_core.connect(settings=settings_for(url)) as governor:
        async with asyncio.timeout(60):
            while True:
                budgets = [
                    line for number in range(AGENTS) for line in (await governor.budget(f"agent-{number}")).budgets
                ]
                due = [name for name in plain.zrange("ae:{soak}:d", 0, -1) if name.startswith(b"r:")]
                if not any(line.reserved_usd for line in budgets) and not due and not plain.zcard("ae:{soak}:ap"):
                    break
                await asyncio.sleep(0.2)
        assert all(line.spent_usd <= line.limit_usd for line in budgets)


def _resident() -> int:
    """Bytes of this process, now and not at its highest."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize()

"""A process of `soak.py`: it spends, forgets, is refused, asks persons who do not answer, and holds locks until killed.

What it was told stands in its journal, a line each, written before it goes on: what it may have done when it is killed.
"""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aegis_core
from aegis_core import AegisError, GovernedAgent, Governor, Settings
from aegis_core.testing import private_settings

_Answer = TypeVar("_Answer")

TASKS = 4
PATIENCE = 2.0
"""Seconds: AEGIS_STORE_TIMEOUT_SECONDS, the deadline of a call that does not wait for anybody."""
EPOCH = 20.0
"""Seconds for which agents are used. Their budgets last for less, so all processes contend for what is left."""
AGENTS = 6
AGENT_USD = Decimal(4)
LOCKS = 4


def settings_for(url: str) -> Settings:
    """Short lives, so that all that must go goes often; and an AOF of the server that keeps what it acknowledged."""
    return private_settings(
        url=url, tenant="soak", tenant_day_usd=8_000_000, agent_day_usd=1_000_000, grant_seconds=4, approval_seconds=4,
        idempotency_seconds=60, refusal_seconds=2, events_kept=10_000_000, max_open_grants=100_000, timezone="UTC",
        store_timeout_seconds=PATIENCE, log_level="error", session_idle_seconds=31_536_000,
    )  # fmt: skip


def by_virtual_clock() -> None:
    """Let stores of this process read the clock that the soak turns."""
    from aegis_core.connect import open_store

    turned = partial(open_store, virtual_time=True)
    for name in ("aegis_core.connect", "aegis_core.api.app", "aegis_core.api.server"):
        if name in sys.modules:
            sys.modules[name].open_store = turned  # type: ignore[attr-defined]


def resident() -> int:
    """Bytes that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Journal:
    """A file of lines, each written before the process goes on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="ascii")
        threading.Thread(target=self._watch, daemon=True).start()

    def note(self, *parts: object) -> None:
        """One line."""
        self._file.write("\t".join(map(str, parts)) + "\n")

    def _watch(self) -> None:
        """Note when this process did not run: it used less than half of the time that went by."""
        wall, used = time.monotonic(), time.process_time()
        while True:
            time.sleep(0.05)
            now, cpu = time.monotonic(), time.process_time()
            if now - wall > 0.2 and cpu - used < (now - wall) / 2:
                self.note("off", wall, now)
            wall, used = now, cpu


class Worker:
    """Some tasks on one governor."""

    def __init__(self, governor: Governor, journal: Journal) -> None:
        self.governor, self.note = governor, journal.note
        self._dice = random.Random()
        self._agents: dict[str, GovernedAgent] = {}
        self.asked: Counter[str] = Counter()

    async def timed(self, name: str, waits: float, call: Awaitable[_Answer]) -> _Answer:
        """Await a call, and note it where it took longer than its deadline."""
        began = time.monotonic()
        try:
            answer = await call
        except AegisError as error:
            self.asked[f"{name} {error.code}"] += 1
            self.note("error", name, error.code, error.message.replace("\n", " ").encode("ascii", "replace").decode())
            raise
        else:
            self.asked[f"{name} answered"] += 1
            return answer
        finally:
            ended = time.monotonic()
            if ended - began > waits + PATIENCE:
                self.note("slow", name, began, ended, ended - began - waits - PATIENCE)

    async def agent(self) -> GovernedAgent:
        """One of the agents of the moment, whose budget all processes share."""
        name = f"soak-{int(time.monotonic() / EPOCH)}-{self._dice.randrange(AGENTS)}"
        if name not in self._agents:
            agent = await self.timed("handshake", PATIENCE, self.governor.handshake(name))
            limit = self.governor.set_budget("agent", name, "total", AGENT_USD)
            await self.timed("set_budget", PATIENCE, limit)
            if len(self._agents) > 2 * AGENTS:
                self._agents.clear()
            self._agents[name] = agent
        return self._agents[name]

    async def spend(self, agent: GovernedAgent, cost: Decimal, *, ends: str) -> None:
        """Ask, and settle, release or forget what is granted."""
        verdict = await self.timed(
            "request", 0, agent.request("Summarise it", resource_type="api_call", estimated_cost_usd=cost)
        )
        if not verdict.granted:
            return
        grant = verdict.grant_id or ""
        self.note("granted", agent.agent_id, grant, cost)
        await asyncio.sleep(self._dice.random() * 0.05)
        if ends == "settle":
            receipt = await self.timed("settle", 0, agent.settle(grant, cost_usd=cost / 2))
            self.note("settled", agent.agent_id, grant, receipt.charged_usd)
        elif ends == "release":
            receipt = await self.timed("release", 0, agent.release(grant))
            self.note("settled", agent.agent_id, grant, receipt.charged_usd)

    async def lock(self, agent: GovernedAgent) -> None:
        """Hold a lock for a moment."""
        name = f"wallet-{self._dice.randrange(LOCKS)}"
        block = agent.lock(name, ttl=3, wait=1)
        lease = await self.timed("lock", 1, block.__aenter__())
        self.note("fence", name, lease.fence)
        with suppress(AegisError):  # it was lost meanwhile, which the journal of fences judges
            await asyncio.sleep(0.005)
            await self.timed("unlock", PATIENCE, block.__aexit__(None, None, None))

    async def one(self) -> None:
        """One act of the mix."""
        agent, cost = await self.agent(), Decimal(self._dice.randrange(1, 400)) / 1_000
        match self._dice.randrange(12):
            case 0:
                await self.spend(agent, cost, ends="forget")
            case 1:
                await self.spend(agent, cost, ends="release")
            case 2:
                wish = {"resource_type": "api_call", "estimated_cost_usd": cost, "confidence": 0.1}
                await self.timed("question", 0.2, agent.request("Ask about it", wait=0.2, **wish))
            case 3:
                await self.timed("denied", 0, agent.request("Drop database production", estimated_cost_usd=cost))
            case 4 | 5:
                await self.lock(agent)
            case 6:
                await self.timed("budget", 0, agent.budget())
            case _:
                await self.spend(agent, cost, ends="settle")

    async def task(self) -> None:
        """Act after act; what fails is asked anew."""
        while True:
            try:
                await self.one()
            except AegisError:
                self._agents.clear()  # a session may have ended by a clock that was ahead
                await asyncio.sleep(0.1)
            await asyncio.sleep(self._dice.random() * 0.1)

    async def report(self) -> None:
        """Once a second: what this process holds, and what it asked."""
        while True:
            await asyncio.sleep(1)
            self.note("memory", time.monotonic(), resident())
            for name, times in self.asked.items():
                self.note("count", name, times)
            self.asked.clear()


async def work(url: str, path: Path) -> None:
    """Work until killed."""
    journal = Journal(path)
    remote = url.startswith("http")
    settings, token = (private_settings(tenant="soak"), SECRET) if remote else (settings_for(url), None)
    while True:
        with suppress(AegisError):  # Redis, or the server, does not answer yet
            async with aegis_core.connect(url, token=token, settings=settings) as governor:
                worker = Worker(governor, journal)
                await asyncio.gather(worker.report(), *(worker.task() for _ in range(TASKS)))
        await asyncio.sleep(0.2)


def serve(url: str, port: int, path: Path) -> None:
    """Serve the HTTP API until killed."""
    from pydantic import SecretStr

    from aegis_core.api.server import serve as run

    Journal(path)
    by_virtual_clock()
    settings = settings_for(url).model_copy(update={"port": port, "operator_secret": SecretStr(SECRET)})
    while True:
        with suppress(AegisError):  # Redis does not answer yet
            run(settings)
        time.sleep(0.2)


SECRET = "aegis_op_of-the-soak-and-of-nobody-else"


def main(*arguments: Any) -> None:
    """``worker URL JOURNAL`` or ``server URL JOURNAL PORT``."""
    role, url, path, *port = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if role == "server":
        serve(url, int(port[0]), Path(path))
    else:
        by_virtual_clock()
        asyncio.run(work(url, Path(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""One of two processes of different versions on one tenant: decides, settles, asks people and takes locks under load.

``python -m tests.growth.worker URL SECONDS NAME older|later`` prints what it did as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from decimal import Decimal
from typing import Any

from .grown import grow

if sys.argv[-1] == "later":
    grow()

from aegis_core import Settings, connect
from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.connect import open_governor
from aegis_core.protocol.errors import ConflictError
from aegis_core.testing import private_settings

TASKS = 8


def settings_of(url: str) -> Settings:
    """The same for both."""
    return private_settings(
        url=url, tenant="both", agent_day_usd=1_000_000, tenant_day_usd=1_000_000, max_open_approvals=1_000
    )


class Worker:
    """What it did: the grants that it ended with their charges, by request; words on questions; openings."""

    def __init__(self, governor: Governor, agents: list[GovernedAgent], name: str) -> None:
        self.governor, self.agents, self.name = governor, agents, name
        self.charged: dict[str, str] = {}
        self.words = self.leases = self.openings = 0
        self._chance = random.Random(name)

    async def work(self, task: int, until: float) -> None:
        """Turns until the time is over."""
        turn = 0
        while time.monotonic() < until:
            turn += 1
            await self._turn(f"{self.name}-{task}-{turn}", self._chance.choice(self.agents))

    async def _turn(self, name: str, agent: GovernedAgent) -> None:
        cost = Decimal(self._chance.randint(1, 9))
        asks = self._chance.random() < 0.2
        tool = {"tool": "send", "arguments_hash": name} if asks else {}
        verdict = await agent.request(f"Do {name}", estimated_cost_usd=cost, request_id=name, **tool)
        if asks:
            await self._decide(by=name)
            verdict = await agent.request(f"Do {name}", estimated_cost_usd=cost, request_id=name, **tool)
        assert verdict.granted, verdict
        assert verdict.grant_id
        if self._chance.random() < 0.2:
            async with agent.lock("shared", wait=30):
                self.leases += 1
        if self._chance.random() < 0.2:
            await agent.release(verdict.grant_id)
            self.charged[name] = "0"
            return
        spent = cost / 2 if self._chance.random() < 0.7 else cost + 1
        receipt = await agent.settle(verdict.grant_id, cost_usd=spent)
        assert receipt.charged_usd == spent, receipt
        again = await agent.settle(verdict.grant_id, cost_usd=spent)
        assert again.repeated, again
        self.charged[name] = str(spent)

    async def _decide(self, *, by: str) -> None:
        """By whoever looks first, perhaps the other process."""
        for waiting in await self.governor.approvals.list():
            try:
                await self.governor.approvals.decide(waiting.approval_id, "approve", by=by)
                self.words += 1
            except ConflictError:
                pass

    async def reopen(self, url: str, until: float) -> None:
        """As processes that start one after the other do; nothing is to be configured anew."""
        port: Any = self.governor.port
        while time.monotonic() < until:
            await (await open_governor(port._ledger.store, settings_of(url))).aclose()
            self.openings += 1
            await asyncio.sleep(0.2)


async def main(url: str, seconds: float, name: str) -> None:
    """Work, and say what was done."""
    async with connect(settings=settings_of(url)) as governor:
        worker = Worker(governor, [await governor.handshake(agent) for agent in ("ann", "bob")], name)
        until = time.monotonic() + seconds
        await asyncio.gather(worker.reopen(url, until), *(worker.work(task, until) for task in range(TASKS)))
        counts = {"words": worker.words, "leases": worker.leases, "openings": worker.openings}
        print(json.dumps({"charged": worker.charged, **counts}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))

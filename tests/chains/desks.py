"""An agent with an account on a chain that is not of the EVM, whose governor is watched only when a test says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.chains.book import opened_chains
from aegis_core.governor.chain_watch import ChainWatch
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.engine import compile_policy
from aegis_core.protocol.profiles import Profile


@dataclass
class OtherDesk:
    """An agent, its governor, and what an operator does."""

    governor: Governor
    port: ResourceGovernor
    watch: ChainWatch
    agent: Any

    async def rules(self, *rules: dict[str, object]) -> None:
        await self.port.publish_policy(compile_policy({"schema": 1, "rules": list(rules)}), author="test")

    async def own(self, *wallets: str) -> None:
        await self.port.operator.set_profile(Profile(match="trader", wallets=wallets), author="test")

    async def spent(self) -> tuple[int, int]:
        """Nano-dollars charged to the agent today, and held."""
        report = await self.governor.budget("trader")
        (day,) = [each for each in report.budgets if (each.scope, each.window) == ("agent", "day")]
        return int(day.spent_usd * 10**9), int((day.reserved_usd or 0) * 10**9)

    async def follow(self) -> None:
        """Look at everything that is watched."""
        transactions = self.port.transactions
        for key in await transactions.store.due(1_000, 2**50):
            await transactions.follow(key)


@asynccontextmanager
async def other_desk(settings: Settings, folder: Path, **chains: dict[str, object]) -> AsyncIterator[OtherDesk]:
    """A desk with these chains of an operator's file."""
    path = folder / "chains.json"
    # On a starved machine a node has its time, too: it runs in the process of the test.
    path.write_text(json.dumps({name: {"timeout_seconds": 60} | chain for name, chain in chains.items()}))
    async with aegis_core.connect(settings=settings) as governor, opened_chains(path) as book:
        port = governor.port
        assert isinstance(port, ResourceGovernor)
        port.transactions.chains = book
        watch = ChainWatch(port.transactions)
        desk = OtherDesk(governor, port, watch, await governor.handshake("trader"))
        await governor.set_budget("agent", "trader", "day", 1_000)
        await watch.look()
        yield desk
        await watch.leave()

"""A governor whose chain is one of this machine, watched only when a test says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anvil import Anvil
from signing import COIN, GWEI, fields

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.chains.book import opened_chains
from aegis_core.governor.chain_watch import ChainWatch
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.engine import compile_policy
from aegis_core.protocol.profiles import Profile

USD = 2_000


def nanos(wei: int) -> int:
    """Nano-dollars of so many wei, rounded up."""
    return -(-wei * USD * 10**9 // COIN)


@dataclass
class Desk:
    """An agent with an account of its own on a chain."""

    anvil: Anvil
    governor: Governor
    port: ResourceGovernor
    watch: ChainWatch
    account: Any
    agent: Any

    @property
    def wallet(self) -> Any:
        return self.agent.wallet("anvil", self.account.address)

    def signed(self, kind: int = 2, account: Any = None, **changed: Any) -> bytes:
        account = account or self.account
        said = fields(kind, **{"nonce": self.anvil.nonce(account.address), "value": COIN // 1_000} | changed)
        return bytes(account.sign_transaction(said).raw_transaction)

    async def rules(self, *rules: dict[str, object]) -> None:
        await self.port.publish_policy(compile_policy({"schema": 1, "rules": list(rules)}), author="test")

    async def own(self, *wallets: str) -> None:
        await self.port.operator.set_profile(Profile(match="trader", wallets=wallets), author="test")

    async def spent(self) -> int:
        """Nano-dollars charged to the agent today, and held."""
        report = await self.governor.budget("trader")
        (day,) = [each for each in report.budgets if (each.scope, each.window) == ("agent", "day")]
        return int(day.spent_usd * 10**9), int(day.reserved_usd * 10**9)  # pyright: ignore[reportReturnType]

    async def end(self) -> None:
        """Everything that was sent becomes final, and is settled."""
        self.anvil.finalize()
        transactions = self.port.transactions
        for key in await transactions.store.due(1_000, 2**50):
            await transactions.follow(key)


def written(folder: Path, anvil: Anvil, **said: object) -> Path:
    path = folder / "chains.json"
    path.write_text(json.dumps({"anvil": {"rpc": [anvil.url], "usd": USD, "stale_seconds": 3_600} | said}))
    return path


@asynccontextmanager
async def desk_of(settings: Settings, anvil: Anvil, folder: Path, **said: object) -> AsyncIterator[Desk]:
    anvil.base_fee(GWEI)
    async with (
        aegis_core.connect(settings=settings) as governor,
        opened_chains(written(folder, anvil, **said)) as chains,
    ):
        port = governor.port
        assert isinstance(port, ResourceGovernor)
        port.transactions.chains = chains
        account = anvil.account()
        watch = ChainWatch(port.transactions)
        agent = await governor.handshake("trader")
        desk = Desk(anvil, governor, port, watch, account, agent)
        await desk.own(account.address)
        for scope, name in (("agent", "trader"), ("tenant", "-")):
            await governor.set_budget(scope, name, "day", 1_000)
        await watch.look()
        yield desk
        await watch.leave()

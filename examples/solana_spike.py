"""Solana gets crowded: what was granted a moment ago is refused, until others offer less again.

    python examples/solana_spike.py

Solana's own virtual machine runs inside of the example (`LiteSVM`, which comes with the extra `chains`) behind the
JSON-RPC of a node: the one that the tests have, so a checkout is needed, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import aegis_core
from aegis_core import AegisDenied, Governor, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.engine import compile_policy
from aegis_core.protocol.profiles import Profile
from aegis_core.testing import private_settings

NODE = Path(__file__).parents[1] / "tests" / "chains"
USD, CEILING = 150, 50_000
SHOP, LAMPORTS = "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T", 10_000_000


async def fees_are(governor: Governor, chain: Any, micro_lamports: int) -> None:
    """Others offer so much, and the governor has seen it."""
    chain.fees = [micro_lamports] * 20
    while True:
        (seen,) = await governor.port.transactions.status()
        if seen.gas_price_wei == str(micro_lamports):
            return
        await asyncio.sleep(0.05)


def settings_of(chains: Path) -> Settings:
    """A governor for this alone, whatever the environment says."""
    return private_settings(chains_file=chains, data_dir=chains.parent, agent_day_usd=1_000, tenant_day_usd=1_000)


async def play(node: Any, solders: Any, folder: str) -> None:
    """Pay three times."""
    chain: Any = node.Solana()
    me: Any = chain.account()
    address, path = str(me.pubkey()), Path(folder) / "chains.json"
    async with node.serving(chain) as urls:
        said = {"rpc": urls, "id": f"solana:{node.GENESIS}", "symbol": "SOL", "fees": "solana", "usd": USD}
        path.write_text(json.dumps({"litesvm": said}))
        async with aegis_core.connect(settings=settings_of(path)) as governor:
            assert isinstance(governor.port, ResourceGovernor)
            await governor.port.operator.set_profile(Profile(match="*", wallets=(address,)), author="example")
            calm = {"name": "calm", "type": "gas_price_ceiling", "max_micro_lamports": CEILING}
            await governor.port.publish_policy(compile_policy({"schema": 1, "rules": [calm]}), author="example")
            agent = await governor.handshake("trader")
            wallet, before, reports = agent.wallet("litesvm", address), chain.balance(me.pubkey()), list[Any]()
            print(f"A rule: a compute unit may cost {CEILING:,} micro-lamports at most. A coin is worth ${USD}.")
            for price in (10_000, 400_000, 9_000):
                await fees_are(governor, chain, price)
                pay: Any = node.pay(me.pubkey(), solders.pubkey.Pubkey.from_string(SHOP), LAMPORTS)
                calls = [solders.compute_budget.set_compute_unit_price(price), pay]
                try:
                    async with wallet.transact(chain.signed(calls, me), intent="Pay the shop $1.50") as tx:
                        await tx.send()
                        reports.append(tx)
                        print(f"  {price:>7,} micro-lamports   GRANTED   ${tx.verdict.reserved_usd} held, and sent")
                except AegisDenied as denied:
                    print(f"  {price:>7,} micro-lamports   REJECTED  {denied.verdict.reason}")
            charged = sum([(await tx.settled(wait=60)).charged_usd for tx in reports])
            took = (before - chain.balance(me.pubkey())) * USD / 10**9
            print(f"Final: ${charged:.9f} charged, and the wallet has ${took:.9f} less.")


def main() -> None:
    """Play it, where there is a Solana to play on."""
    try:
        solders: Any = import_module("solders")
    except ModuleNotFoundError:
        sys.exit("This example needs the extra chains: pip install '.[chains]' in a checkout of Aegis")
    if not NODE.is_dir():
        sys.exit("This example needs a checkout of Aegis, with its tests.")
    sys.path.append(str(NODE))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        asyncio.run(play(import_module("litesvm"), solders, folder))


if __name__ == "__main__":
    main()

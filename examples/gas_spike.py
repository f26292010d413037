"""Gas that spikes: what was granted a moment ago is refused, until it is cheap again.

    python examples/gas_spike.py

A chain runs on this machine while the example does (`anvil`, on the path or of `make fetched`), with a governor of its
own. Without one it says so. It needs the extra `chains`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

import aegis_core
from aegis_core import AegisDenied, Governor, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.engine import compile_policy
from aegis_core.protocol.profiles import Profile
from aegis_core.testing import private_settings

FETCHED = Path(__file__).parents[1] / ".venv-fetched" / "anvil" / "anvil"
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""The first account of every `anvil`, known to everybody."""
SHOP = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
GWEI, COIN, USD = 10**9, 10**18, 2_000
CEILING = 150


class Chain:
    """What the example does to its chain."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rpc(self, method: str, *parameters: object) -> Any:
        """One question."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        return httpx.post(self.url, json=asked, trust_env=False, timeout=30).json()["result"]

    def balance(self, address: str) -> int:
        """What an account has, in wei."""
        return int(self.rpc("eth_getBalance", address, "latest"), 16)


@contextmanager
def chain_of(program: str, home: str) -> Generator[Chain]:
    """A chain for the block; two later blocks make a transaction final there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--silent", "--slots-in-an-epoch", "1"]
    with subprocess.Popen(command, env=os.environ | {"HOME": home}) as process:
        chain = Chain(f"http://127.0.0.1:{port}")
        try:
            for _ in range(600):
                try:
                    chain.rpc("eth_chainId")
                    break
                except httpx.TransportError:
                    asyncio.run(asyncio.sleep(0.05))
            yield chain
        finally:
            process.terminate()


async def gas_is(governor: Governor, gwei: int) -> None:
    """Until the governor has seen this price."""
    while True:
        (seen,) = await governor.port.transactions.status()
        if seen.gas_price_wei == str(gwei * GWEI):
            return
        await asyncio.sleep(0.05)


def settings_of(chains: Path) -> Settings:
    """A governor for this alone, whatever the environment says."""
    return private_settings(chains_file=chains, data_dir=chains.parent, agent_day_usd=1_000, tenant_day_usd=1_000)


async def play(chain: Chain, folder: str) -> None:
    """Pay three times."""
    from eth_account import Account

    account: Any = Account.from_key(KEY)
    path = Path(folder) / "chains.json"
    path.write_text(json.dumps({"anvil": {"rpc": [chain.url], "usd": USD, "stale_seconds": 3600}}))
    async with aegis_core.connect(settings=settings_of(path)) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        wallets = Profile(match="*", wallets=(account.address,))
        await governor.port.operator.set_profile(wallets, author="example")
        calm = {"name": "calm", "type": "gas_price_ceiling", "max_gwei": CEILING}
        await governor.port.publish_policy(compile_policy({"schema": 1, "rules": [calm]}), author="example")
        agent = await governor.handshake("trader")
        wallet, before, reports = agent.wallet("anvil", account.address), chain.balance(account.address), list[Any]()
        print(f"A rule: gas may cost {CEILING} gwei at most. A coin is worth ${USD:,}.")
        for gwei in (100, 400, 90):
            chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))
            chain.rpc("anvil_mine", "0x1")
            await gas_is(governor, gwei)
            said = {
                "chainId": 31337, "nonce": int(chain.rpc("eth_getTransactionCount", account.address, "latest"), 16),
                "to": SHOP, "value": COIN // 1000, "gas": 21_000, "maxFeePerGas": 500 * GWEI,
                "maxPriorityFeePerGas": GWEI, "type": 2, "data": "0x",
            }  # fmt: skip
            signed: Any = account.sign_transaction(said).raw_transaction
            try:
                async with wallet.transact(bytes(signed), intent="Pay the shop $2") as tx:
                    await tx.send()
                    reports.append(tx)
                    print(f"  gas {gwei:>3} gwei   GRANTED   ${tx.verdict.reserved_usd} held, and sent")
            except AegisDenied as denied:
                print(f"  gas {gwei:>3} gwei   REJECTED  {denied.verdict.reason}")
        chain.rpc("anvil_mine", "0x4")
        charged = sum([(await tx.settled(wait=60)).charged_usd for tx in reports])
        took = (before - chain.balance(account.address)) * USD / COIN
        print(f"Final: ${charged:.9f} charged, and the wallet has ${took:.9f} less.")


def main() -> None:
    """Play it, where there is a chain to play on."""
    program = shutil.which("anvil") or (str(FETCHED) if FETCHED.exists() else None)
    try:
        import eth_account as _  # noqa: F401
    except ModuleNotFoundError:
        sys.exit("This example needs the extra chains: pip install '.[chains]' in a checkout of Aegis")
    if program is None:
        sys.exit("There is no anvil here: `make fetched` fetches it.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, chain_of(program, folder) as chain:
        asyncio.run(play(chain, folder))


if __name__ == "__main__":
    main()

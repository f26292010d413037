"""What it costs to judge a transaction: quote, simulation and decision, beside the same questions to its node alone.

Usage: python benchmarks/chains.py [--rounds 20] [--anvil PROGRAM] [--json]

Rows, interleaved in one run, medians over the rounds: a transaction judged, reserved and given back; the questions that
this puts to its node, recorded once and asked again in the same order by a bare client; and a decision about no
transaction, by a governor without chains and by one that watches them. The node is `anvil` on this machine (of
``make fetched``, or on the path), which answers faster than any node elsewhere: with those the ratio is nearer to 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account

from aegis_core.chains.book import opened_chains
from aegis_core.chains.node import Node
from aegis_core.connect import open_governor
from aegis_core.governor.chain_watch import watched_chains
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.messages import Handshake, PermissionRequest, ReleaseRequest
from aegis_core.protocol.profiles import Profile
from aegis_core.protocol.transactions import TransactionOrder
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings

FETCHED = Path(__file__).parents[1] / ".venv-fetched" / "anvil" / "anvil"
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""The first account of every `anvil`."""
GWEI = 10**9
Call = Callable[[], Awaitable[object]]


@contextmanager
def node(program: str) -> Iterator[str]:
    """A chain of one's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--silent", "--block-time", "1"]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(command, env=os.environ | {"HOME": home}) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                try:
                    asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
                    httpx.post(url, json=asked, trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def signed(value: int) -> str:
    """A payment of so many wei. Each is another transaction with the same nonce."""
    said = {
        "chainId": 31337, "nonce": 0, "to": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "value": value, "gas": 21_000,
        "maxFeePerGas": 10 * GWEI, "maxPriorityFeePerGas": GWEI, "type": 2, "data": "0x",
    }  # fmt: skip
    raw: Any = Account.from_key(KEY).sign_transaction(said).raw_transaction
    return "0x" + bytes(raw).hex()


class Bench:
    """Two governors, one of which knows a chain, and the bare client."""

    def __init__(self, plain: ResourceGovernor, chained: ResourceGovernor, url: str) -> None:
        self.plain, self.chained, self._url = plain, chained, url
        self.tokens: dict[int, str] = {}
        self.asked: list[dict[str, object]] = []
        self._client = httpx.AsyncClient(trust_env=False, timeout=60)
        self._left: list[str] = []

    async def prepare(self, count: int) -> None:
        """Shake hands, sign, and record what one transaction asks of its node."""
        for port in (self.plain, self.chained):
            opened = await port.handshake(Handshake(agent_id="trader"))
            self.tokens[id(port)] = opened.session_token
        wallet = Account.from_key(KEY).address
        await self.chained.operator.set_profile(Profile(match="trader", wallets=(wallet,)), author="benchmark")
        self._left = [signed(value) for value in range(1, count + 2)]
        call = Node.call

        async def noted(this: Node, method: str, *parameters: object) -> Any:
            self.asked.append({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
            return await call(this, method, *parameters)

        Node.call = noted  # type: ignore[method-assign]
        try:
            await self.judge()
        finally:
            Node.call = call  # type: ignore[method-assign]

    async def judge(self) -> None:
        """A transaction of its own: asked for, and given back."""
        port = self.chained
        order = TransactionOrder(
            agent_id="trader", chain="anvil", wallet=Account.from_key(KEY).address, transaction=self._left.pop(),
            task_intent="Pay",
        )  # fmt: skip
        token = self.tokens[id(port)]
        verdict = await port.transactions.open(order, token=token)
        assert verdict.granted, verdict
        await port.release(verdict.grant_id or "", ReleaseRequest(agent_id="trader"), token=token)

    async def bare(self) -> None:
        """The same questions, and nothing else."""
        for asked in self.asked:
            answer = await self._client.post(self._url, json=asked)
            assert "result" in answer.json(), answer.text

    async def decide(self, port: ResourceGovernor) -> None:
        """A decision about no transaction."""
        request = PermissionRequest(
            agent_id="trader", task_intent="Summarise", resource_type="llm_tokens",
            estimated_cost_usd="0.000001",  # type: ignore[arg-type]
        )  # fmt: skip
        verdict = await port.request_permission(request, token=self.tokens[id(port)])
        assert verdict.granted, verdict
        await port.release(verdict.grant_id or "", ReleaseRequest(agent_id="trader"), token=self.tokens[id(port)])

    async def aclose(self) -> None:
        """Close the bare client."""
        await self._client.aclose()


async def timed(call: Call, times: int) -> float:
    """The median of so many, in ms."""
    found: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        await call()
        found.append(time.perf_counter() - started)
    return statistics.median(found) * 1000


async def run(program: str, rounds: int) -> dict[str, float]:
    """All rows."""
    with node(program) as url, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chains.json"
        path.write_text(json.dumps({"anvil": {"rpc": [url], "usd": 2_000, "gas_seconds": 600}}))
        async with AsyncExitStack() as stack:
            ports: list[ResourceGovernor] = []
            for _ in range(2):
                settings = private_settings(agent_day_usd=1_000_000, tenant_day_usd=8_000_000, max_open_grants=100_000)
                store = await open_store(settings, throwaway=True)
                stack.push_async_callback(store.aclose)
                ports.append(await open_governor(store, settings))
                stack.push_async_callback(ports[-1].aclose)
            plain, chained = ports
            chained.transactions.chains = await stack.enter_async_context(opened_chains(path))
            await stack.enter_async_context(watched_chains(chained.transactions))
            while await chained.transactions.store.gas("eip155:31337") is None:  # noqa: ASYNC110 - it is in the server
                await asyncio.sleep(0.05)
            bench = Bench(plain, chained, url)
            stack.push_async_callback(bench.aclose)
            await bench.prepare(rounds * 5 + 5)
            return await rows(bench, rounds)


async def rows(bench: Bench, rounds: int) -> dict[str, float]:
    """Each row in turn, as often as there are rounds."""
    calls: dict[str, tuple[Call, int]] = {
        "transaction_ms": (bench.judge, 5), "bare_ms": (bench.bare, 5),
        "decision_ms": (lambda: bench.decide(bench.plain), 50),
        "decision_beside_chains_ms": (lambda: bench.decide(bench.chained), 50),
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (call, times) in calls.items():
            found[name].append(await timed(call, times))

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(found[one], found[other], strict=True))

    return {name: statistics.median(each) for name, each in found.items()} | {
        "questions": len(bench.asked), "transaction_by_bare": ratio("transaction_ms", "bare_ms"),
        "beside_chains_by_without": ratio("decision_beside_chains_ms", "decision_ms"),
    }  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--anvil", default=str(FETCHED) if FETCHED.exists() else shutil.which("anvil"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.anvil is None:
        sys.exit("There is no anvil here: `make fetched` fetches it, or --anvil names it.")
    found = asyncio.run(run(options.anvil, options.rounds))
    if options.json:
        print(json.dumps(found))
        return
    print(f"a transaction, judged, reserved and given back   {found['transaction_ms']:8.2f} ms")
    print(f"its {found['questions']:.0f} questions to the node alone               {found['bare_ms']:8.2f} ms")
    print(f"ratio                                            {found['transaction_by_bare']:8.2f}")
    print(f"a decision without chains, and given back        {found['decision_ms']:8.2f} ms")
    print(f"the same beside chains that are watched, ratio   {found['beside_chains_by_without']:8.2f}")


if __name__ == "__main__":
    main()

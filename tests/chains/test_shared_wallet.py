"""Two agents of two frameworks on one wallet, one of which is killed again and again: each payment happens once."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from anvil import COIN, Anvil, running
from wallets import USD, Desk, desk_of

from aegis_core import Settings
from aegis_core.protocol.profiles import Profile

PROGRAM = Path(__file__).with_name("sharing.py")
FRAMEWORKS = ("langgraph", "autogen")
TTL = 1.0


@dataclass
class Pair:
    """The two processes, and what they said that they sent."""

    said: tuple[str, ...]
    sent: list[int] = field(default_factory=list[int])
    kills: list[float] = field(default_factory=list[float])
    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    listening: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    begun: int = 0

    async def start(self, framework: str) -> None:
        self.begun += 1
        command = (sys.executable, str(PROGRAM), framework, *self.said, str(self.begun * 1_000_000), str(TTL))
        process = self.processes[framework] = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
        self.listening.append(asyncio.create_task(self.listen(process)))

    async def listen(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.sent.append(int(line.split()[1]))

    async def until(self, count: int) -> None:
        """Until so many are on their way."""
        while len(self.sent) < count:
            for framework, process in self.processes.items():
                assert process.returncode is None, f"{framework} ended by itself"
            await asyncio.sleep(0.01)

    async def kill(self, framework: str) -> None:
        self.processes[framework].kill()
        self.kills.append(time.time())
        await self.processes[framework].wait()


@asynccontextmanager
async def pair_of(desk: Desk, settings: Settings, folder: Path) -> AsyncIterator[Pair]:
    said = (settings.url, settings.tenant, str(folder / "chains.json"), desk.anvil.url, desk.account.key.hex())
    pair = Pair(said)
    try:
        for framework in FRAMEWORKS:
            await pair.start(framework)
        yield pair
    finally:
        for process in pair.processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()
        await asyncio.gather(*pair.listening)


def mined(anvil: Anvil, wallet: str) -> list[tuple[int, list[tuple[int, int]]]]:
    """The time of each block, and nonces and amounts of what the wallet has in it."""
    found: list[tuple[int, list[tuple[int, int]]]] = []
    for number in range(int(anvil.rpc("eth_blockNumber"), 16) + 1):
        block = anvil.rpc("eth_getBlockByNumber", hex(number), True)
        own = [each for each in block["transactions"] if each["from"] == wallet.lower()]
        found.append((int(block["timestamp"], 16), [(int(each["nonce"], 16), int(each["value"], 16)) for each in own]))
    return found


@pytest.mark.concurrent
@pytest.mark.leaves("grants")  # of the tool calls of those who were killed
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    ("rounds", "block_seconds"), [(1, 1), pytest.param(100, 5, marks=pytest.mark.deep)], ids=["short", "long"]
)
async def test_each_payment_happens_once(settings: Settings, tmp_path: Path, rounds: int, block_seconds: int) -> None:
    chance = random.Random(7)
    with running("--block-time", str(block_seconds), home=tmp_path) as anvil:
        async with desk_of(settings, anvil, tmp_path, gas_seconds=600) as desk:
            await desk.watch.leave()  # those who are killed watch, too
            await desk.port.operator.set_profile(Profile(match="*", wallets=(desk.account.address,)), author="test")
            await desk.governor.set_budget("tenant", "-", "day", 100_000)
            async with pair_of(desk, settings, tmp_path) as pair:
                await pair.until(2)
                started = time.time()
                for number in range(rounds):
                    await pair.until(len(pair.sent) + 1)
                    await asyncio.sleep(chance.random())
                    await pair.kill(FRAMEWORKS[number % 2])
                    await pair.start(FRAMEWORKS[number % 2])
                    await pair.until(len(pair.sent) + 2)
                ended = time.time()
            blocks = mined(anvil, desk.account.address)
            while await desk.port.transactions.store.due(1, 2**50):
                await desk.end()
            took = 10 * COIN - anvil.balance(desk.account.address)
            paid = [each for _, own in mined(anvil, desk.account.address) for each in own]
            assert [nonce for nonce, _ in paid] == list(range(len(paid)))
            amounts = [amount for _, amount in paid]
            assert len(set(amounts)) == len(amounts), "none is paid twice"
            assert set(pair.sent) <= set(amounts), "what was said to be sent was"
            (day,) = [
                each for each in await desk.port.shared_budgets() if (each.scope, each.window) == ("tenant", "day")
            ]
            assert day.reserved_usd == 0
            over = int(day.spent_usd * 10**9) - took * USD * 10**9 // COIN
            assert 0 <= over <= len(paid), "each rounded up"
            if rounds > 2:
                quiet = [
                    at for at, own in blocks
                    if not own and started < at - block_seconds and at < ended
                    and not any(killed - block_seconds < at < killed + TTL + block_seconds for killed in pair.kills)
                ]  # fmt: skip
                assert quiet == [], "one is always able to pay"

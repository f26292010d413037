"""Many at once: not a transaction above a budget is sent, and the same bytes are charged once, whoever brings them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from anvil import COIN, Anvil
from roads import rpc_key, serving_rpc
from signing import GWEI
from wallets import USD, Desk, desk_of

from aegis_core import Settings
from aegis_core.errors import AegisDenied, ChainError, InvalidRequestError

pytestmark = [pytest.mark.timeout(300), pytest.mark.concurrent]
DIME = COIN // 20_000
"""What $0.10 is at $2,000 a coin."""


@pytest.fixture
async def desk(settings: Settings, anvil: Anvil, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_of(settings, anvil, tmp_path, gas_seconds=600) as made:
        yield made


async def test_sixty_four_of_ten_cents_against_a_dollar(desk: Desk) -> None:
    accounts = [desk.anvil.account(1) for _ in range(64)]
    await desk.own(*(each.address for each in accounts))
    await desk.governor.set_budget("agent", "trader", "day", 1)
    fees = {"gas": 21_000, "maxFeePerGas": 2 * GWEI, "maxPriorityFeePerGas": GWEI}
    raws = [desk.signed(account=each, value=DIME - 21_000 * 2 * GWEI, **fees) for each in accounts]

    async def pay(account: object, raw: bytes) -> str:
        try:
            wallet = desk.agent.wallet("anvil", account.address)  # type: ignore[attr-defined]
            async with wallet.transact(raw, intent="Pay", wait=0) as tx:
                assert tx.verdict.reserved_usd == Decimal("0.1")
                return (await tx.send()).state
        except AegisDenied as refused:
            return refused.verdict.code

    answers = await asyncio.gather(*itertools.starmap(pay, zip(accounts, raws, strict=True)))
    assert sorted(answers) == ["budget_exceeded"] * 54 + ["sent"] * 10
    assert sum(desk.anvil.nonce(each.address) for each in accounts) == 10
    assert await desk.spent() == (0, 10**9)
    await desk.end()
    took = [COIN - desk.anvil.balance(each.address) for each in accounts]
    assert await desk.spent() == (sum(-(-wei * USD * 10**9 // COIN) for wei in took), 0)


async def test_the_same_bytes_from_sixteen_threads(desk: Desk, settings: Settings, tmp_path: Path) -> None:
    raw, before = "0x" + desk.signed().hex(), desk.anvil.balance(desk.account.address)
    secret = await rpc_key(desk)

    def send(number: int) -> str:
        asked = {"jsonrpc": "2.0", "id": number, "method": "eth_sendRawTransaction", "params": [raw]}
        return httpx.post(url, json=asked, timeout=120, trust_env=False).json()["result"]

    with serving_rpc(settings, tmp_path, secret) as url, ThreadPoolExecutor(16) as threads:
        loop = asyncio.get_running_loop()
        names = await asyncio.gather(*(loop.run_in_executor(threads, send, number) for number in range(16)))
    assert len(set(names)) == 1
    assert desk.anvil.nonce(desk.account.address) == 1
    await desk.end()
    took = before - desk.anvil.balance(desk.account.address)
    assert await desk.spent() == (-(-took * USD * 10**9 // COIN), 0)


async def test_what_a_node_does_not_take_costs_nothing_and_what_it_keeps_waits(desk: Desk) -> None:
    """A bump below what the pool asks for, and a nonce that leaves a gap."""
    desk.anvil.rpc("evm_setAutomine", False)
    try:
        async with desk.wallet.transact(desk.signed(nonce=0), intent="Pay") as first:
            await first.send()
        held = (await desk.spent())[1]
        low = desk.signed(nonce=0, maxFeePerGas=2 * GWEI, maxPriorityFeePerGas=GWEI // 2, value=7)
        with pytest.raises(ChainError) as refused:
            async with desk.wallet.transact(low, intent="Pay faster") as second:
                await second.send(replaces=True)
        assert refused.value.facts["reason"] == "refused"
        assert await desk.spent() == (0, held)
        async with desk.wallet.transact(desk.signed(nonce=2), intent="Pay") as third:
            assert (await third.send()).state == "sent"
    finally:
        desk.anvil.rpc("evm_setAutomine", True)
    await desk.end()
    assert (await third.settled(0)).state == "sent", "nobody knows what the gap is filled with"
    async with desk.wallet.transact(desk.signed(nonce=1), intent="Pay") as gap:
        await gap.send(replaces=True)
    desk.anvil.receipt(str(gap.report.hash))
    await desk.end()
    assert desk.anvil.nonce(desk.account.address) == 3
    assert (await desk.spent())[1] == 0


async def test_amounts_that_no_double_holds_are_held_to_the_cent(desk: Desk) -> None:
    rich = desk.anvil.account(100)
    await desk.own(rich.address)
    for scope, name in (("agent", "trader"), ("tenant", "-")):
        await desk.governor.set_budget(scope, name, "day", 1_000_000)
    await desk.rules()
    wallet, fees = desk.agent.wallet("anvil", rich.address), {"maxFeePerGas": GWEI + 1, "maxPriorityFeePerGas": 0}
    for value in (3 * 10**19, 2**53 + 1):
        raw = desk.signed(account=rich, value=value, gas=21_000, **fees)
        exact = -(-(21_000 * (GWEI + 1) + value) * USD * 10**9 // COIN)
        async with wallet.transact(raw, intent="Pay") as tx:
            assert exact <= int(tx.verdict.reserved_usd * 10**9) <= exact + 1, "each part rounded up"
    dear = desk.signed(account=rich, gas=30_000_000, maxFeePerGas=2**53 + 1, maxPriorityFeePerGas=0, value=0)
    with pytest.raises(InvalidRequestError, match="the largest amount"):
        async with wallet.transact(dear, intent="Pay"):
            pytest.fail("it was granted")
    assert desk.anvil.nonce(rich.address) == 0
    assert await desk.spent() == (0, 0)

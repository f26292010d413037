"""What budgets hold and charge of tokens: what may leave less what must come, and afterwards what did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anvil import COIN, Anvil
from signing import GWEI
from test_costs import receipt_of
from trading import Market, call
from wallets import USD, Desk, desk_of, written

from aegis_core import Settings
from aegis_core.chains.book import opened_chains
from aegis_core.chains.cost import NativeCost
from aegis_core.chains.receipts import TokenTransfer, read_receipt
from aegis_core.errors import AegisDenied, ChainError
from aegis_core.governor.token_money import to_charge
from aegis_core.store.chain_records import Watch

pytestmark = pytest.mark.timeout(300)
AMOUNT = 1_000 * COIN
NANO = 10**9
FEES = 300_000 * 3 * GWEI * USD * NANO // COIN


@pytest.fixture(scope="session")
def market(anvil: Anvil) -> Market:
    return Market.open(anvil)


@pytest.fixture
async def desk(settings: Settings, anvil: Anvil, market: Market, tmp_path: Path) -> AsyncIterator[Desk]:
    """AAA is worth $1, BBB half of it."""
    tokens = {"AAA": {"address": market.sold, "usd": 1}, "BBB": {"address": market.bought, "usd": "0.5"}}
    async with desk_of(settings, anvil, tmp_path, tokens=tokens, routers=[market.address]) as made:
        for scope, name in (("agent", "trader"), ("tenant", "-")):
            await made.governor.set_budget(scope, name, "day", 10_000)
        await made.rules()
        yield made


def fees_of(desk: Desk, before: int) -> int:
    return -(-(before - desk.anvil.balance(desk.account.address)) * USD * NANO // COIN)


async def test_a_swap_holds_what_it_may_lose_and_is_charged_what_it_lost(desk: Desk, market: Market) -> None:
    market.fund(desk.account, AMOUNT, allowed=50 * AMOUNT)  # the rest of the approval is no money: the router is named
    out, before = market.formula(AMOUNT), desk.anvil.balance(desk.account.address)
    least = out * 97 // 100
    raw = desk.signed(to=market.address, data=market.swap(desk.account, AMOUNT, least), value=0, gas=300_000)
    async with desk.wallet.transact(raw, intent="Swap") as tx:
        held = int(tx.verdict.reserved_usd * NANO)
        assert held == FEES + 1_000 * NANO - least * NANO // 2 // COIN
        await tx.send()
    await desk.end()
    spent, left = await desk.spent()
    assert (spent, left) == (fees_of(desk, before) + 1_000 * NANO - out * NANO // 2 // COIN, 0)
    assert spent < held


async def test_a_transfer_of_tokens_is_money_and_one_that_is_reverted_is_not(desk: Desk, market: Market) -> None:
    market.fund(desk.account, 8 * COIN)
    to, before = desk.anvil.account(0).address, desk.anvil.balance(desk.account.address)

    def giving(coins: int) -> bytes:
        data = call("transfer(address,uint256)", to, coins * COIN)
        return desk.signed(to=market.sold, data=data, value=0, gas=300_000)

    async with desk.wallet.transact(giving(5), intent="Pay") as tx:
        assert int(tx.verdict.reserved_usd * NANO) == FEES + 5 * NANO
        await tx.send()
    await desk.end()
    first = fees_of(desk, before) + 5 * NANO
    assert await desk.spent() == (first, 0)
    code, before = desk.anvil.rpc("eth_getCode", market.sold, "latest"), desk.anvil.balance(desk.account.address)
    async with desk.wallet.transact(giving(3), intent="Pay") as tx:
        assert int(tx.verdict.reserved_usd * NANO) == FEES + 3 * NANO
        desk.anvil.rpc("anvil_setCode", market.sold, "0x60006000fd")  # it would have gone well, and does not
        await tx.send()
    desk.anvil.rpc("anvil_setCode", market.sold, code)
    await desk.end()
    assert await desk.spent() == (first + fees_of(desk, before), 0)


async def test_budgets_of_a_chain_a_wallet_and_an_asset(desk: Desk, market: Market) -> None:
    market.fund(desk.account, 8 * COIN)
    data = call("transfer(address,uint256)", desk.anvil.account(0).address, 5 * COIN)
    raw = desk.signed(to=market.sold, data=data, value=0, gas=300_000)
    wallet = f"wallet=eip155:31337:{desk.account.address.lower()}"
    await desk.governor.set_budget("label", "asset=BBB", "day", 1)
    for label in ("chain=anvil", wallet, "asset=AAA"):
        await desk.governor.set_budget("label", label, "day", "5.5")
        with pytest.raises(AegisDenied) as refused:
            async with desk.wallet.transact(raw, intent="Pay", wait=0):
                pytest.fail("it was granted")
        assert refused.value.verdict.code == "budget_exceeded"
        await desk.governor.set_budget("label", label, "day", 7)
    async with desk.wallet.transact(raw, intent="Pay") as tx:
        await tx.send()
    await desk.end()
    spent = (await desk.spent())[0]
    shared = {each.name: each.spent_usd for each in await desk.port.shared_budgets() if each.scope == "label"}
    assert shared == {label: Decimal(spent).scaleb(-9) for label in ("chain=anvil", wallet, "asset=AAA")} | {
        "asset=BBB": 0
    }


async def test_what_a_swap_brings_of_the_coin_counts_as_its_data_says(anvil: Anvil, tmp_path: Path) -> None:
    mine, other = "0x" + "aa" * 20, "0x" + "bb" * 20
    token, unknown = "0x" + "cc" * 20, "0x" + "dd" * 20
    path = written(tmp_path, anvil, tokens={"AAA": {"address": token, "usd": 1, "decimals": 6}})
    watch = Watch("eip155:31337", f"eip155:31337:{mine}", 0, "0x", "1", "0", "2000", "sent", 0, least=900 * NANO)
    sold = TokenTransfer(token, mine, other, 1_000 * 10**6)
    async with opened_chains(path) as chains:
        chain = chains.find("anvil")

        async def took(*transfers: TokenTransfer, least: int = watch.least, value: int = 0) -> int:
            return await to_charge(chain, watch._replace(least=least), NativeCost(COIN // 2_000, value, transfers), 0)

        assert await took(sold) == (1 + 100) * NANO
        assert await took(sold, least=0) == 1_001 * NANO
        assert await took(sold, sold._replace(sender=other, to=mine, amount=999_999_999), least=0) == NANO + 1_000
        assert await took(sold._replace(sender=other)) == await took() == NANO, "fees are paid in any case"
        assert await took(sold._replace(token=unknown)) == NANO
        assert await took(value=COIN, least=1_990 * NANO) == 11 * NANO
        assert await took(sold._replace(amount=1), least=0) == NANO + 1_000
    path = written(
        tmp_path, anvil, tokens={"AAA": {"address": token, "feed": {"address": other, "heartbeat_seconds": 1}}}
    )
    async with opened_chains(path) as chains:
        with pytest.raises(ChainError):
            await to_charge(chains.find("anvil"), watch, NativeCost(1, 0, (sold,)), 0)
        assert await to_charge(chains.find("anvil"), watch, NativeCost(COIN // 2_000, 0), 0) == NANO


def test_only_logs_of_the_form_of_a_transfer_are_one() -> None:
    topics = ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef", "0x" + "00" * 12 + "aa" * 20,
              "0x" + "00" * 12 + "bb" * 20]  # fmt: skip
    log: dict[str, Any] = {"address": "0x" + "Cc" * 20, "topics": topics, "data": "0x" + "00" * 31 + "05"}

    def read(logs: object) -> tuple[TokenTransfer, ...]:
        found = read_receipt(receipt_of(logs=logs), "0x" + "ab" * 32)
        assert found is not None
        return found.transfers

    transfer = TokenTransfer("0x" + "cc" * 20, "0x" + "aa" * 20, "0x" + "bb" * 20, 5)
    others = [log | {"topics": [*topics, topics[1]]}, log | {"data": "0x"}, log | {"topics": []}]
    assert read([log, *others, log]) == (transfer, transfer)
    assert read([]) == read(None) == ()
    for broken in ({}, "0x", [5], [log | {"topics": "0x"}], [log | {"topics": [5]}], [log | {"data": None}],
                   [log | {"address": "0xcc"}]):  # fmt: skip
        with pytest.raises(ValueError, match=r"\w"):
            read(broken)

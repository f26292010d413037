"""Swaps and approvals judged by what they would do, and by what is signed; a person sees what leaves and what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from anvil import COIN, Anvil
from trading import Market, call
from wallets import Desk, desk_of

from aegis_core import Settings
from aegis_core.errors import AegisDenied

pytestmark = pytest.mark.timeout(300)
EVERYTHING = 2**256 - 1
AMOUNT = 1_000 * COIN


@pytest.fixture(scope="session")
def market(anvil: Anvil) -> Market:
    return Market.open(anvil)


@pytest.fixture
async def desk(settings: Settings, anvil: Anvil, market: Market, tmp_path: Path) -> AsyncIterator[Desk]:
    tokens = {"AAA": {"address": market.sold, "usd": 1}, "BBB": {"address": market.bought, "usd": "0.5"}}
    async with desk_of(settings, anvil, tmp_path, tokens=tokens, routers=[market.address]) as made:
        market.fund(made.account, AMOUNT)
        for scope, name in (("agent", "trader"), ("tenant", "-")):
            await made.governor.set_budget(scope, name, "day", 10_000)
        yield made


def swap(desk: Desk, market: Market, least: int) -> bytes:
    data = market.swap(desk.account, AMOUNT, least)
    return desk.signed(to=market.address, data=data, value=0, gas=300_000)


async def verdict(desk: Desk, raw: bytes) -> tuple[str, str]:
    """How it is judged, and what stood in its way."""
    try:
        async with desk.wallet.transact(raw, intent="Swap", wait=0):
            return "granted", ""
    except AegisDenied as refused:
        return refused.verdict.code, refused.verdict.reason


async def test_slippage_is_judged_by_what_is_signed(desk: Desk, market: Market) -> None:
    await desk.rules({"name": "fair", "type": "max_slippage_bps", "limit_bps": 300})
    out = market.formula(AMOUNT)  # about 1,974 of $0.50 for 1,000 of $1
    assert await verdict(desk, swap(desk, market, least=out)) == ("granted", "")
    code, why = await verdict(desk, swap(desk, market, least=out * 97 // 100))
    assert code == "policy"
    assert "It takes $1,000.00 for at least $" in why
    assert (await verdict(desk, swap(desk, market, least=0)))[0] == "policy"


async def test_whoever_trades_in_front_costs_gas_only(desk: Desk, market: Market) -> None:
    out = market.formula(AMOUNT)
    await desk.rules({"name": "fair", "type": "max_slippage_bps", "limit_bps": 300})
    async with desk.wallet.transact(swap(desk, market, least=out * 995 // 1_000), intent="Swap") as tx:
        rival = desk.anvil.account()
        market.fund(rival, 20_000 * COIN)
        market.deployer.do(
            market.address, "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)", 20_000 * COIN, 0,
            [market.sold, market.bought], rival.address, 2**63, account=rival,
        )  # fmt: skip
        before = desk.anvil.balance(desk.account.address)
        await tx.send()
    await desk.end()
    assert market.deployer.ask(market.sold, "balanceOf(address)", desk.account.address) == AMOUNT
    took = before - desk.anvil.balance(desk.account.address)
    assert await desk.spent() == (-(-took * 2_000 * 10**9 // COIN), 0)


@pytest.mark.parametrize(
    ("rule", "granted"),
    [
        ({"type": "max_outflow", "limit_usd": 1_000}, True),
        ({"type": "max_outflow", "limit_usd": "999.99"}, False),
        ({"type": "asset_limit", "asset": "AAA", "max_amount": 1_000}, True),
        ({"type": "asset_limit", "asset": "AAA", "max_amount": "999.9"}, False),
        ({"type": "asset_limit", "asset": "BBB", "max_amount": 0}, True),
        ({"type": "contract_creation"}, True),
        ({"type": "approval_limit", "limit_usd": 0}, True),
        ({"type": "unpriced_asset"}, True),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
async def test_rules_on_what_a_swap_does(desk: Desk, market: Market, rule: dict[str, Any], granted: bool) -> None:
    await desk.rules({"name": "limit"} | rule)
    assert (await verdict(desk, swap(desk, market, least=1)))[0] == ("granted" if granted else "policy")


async def test_what_an_old_approval_lets_a_contract_take_counts_whatever_it_shows(desk: Desk, market: Market) -> None:
    cheat = market.deployer.deploy("Cheat")
    market.deployer.do(market.sold, "approve(address,uint256)", cheat, 400 * COIN, account=desk.account)
    raw = desk.signed(to=cheat, data=call("claim(address,uint256)", market.sold, 0), value=0, gas=300_000)
    await desk.rules({"name": "most", "type": "max_outflow", "limit_usd": 399})
    assert (await verdict(desk, raw))[1].startswith("$400.00 leave the wallet")
    await desk.rules({"name": "most", "type": "max_outflow", "limit_usd": 400})
    assert (await verdict(desk, raw))[0] == "granted"


async def test_approvals_and_what_has_no_price(desk: Desk, market: Market) -> None:
    spender = desk.anvil.account(0).address

    def approving(amount: int, token: str = market.sold) -> bytes:
        return desk.signed(to=token, data=call("approve(address,uint256)", spender, amount), value=0, gas=300_000)

    await desk.rules({"name": "limit", "type": "approval_limit", "limit_usd": 10})
    assert (await verdict(desk, approving(EVERYTHING)))[0] == "policy"
    assert (await verdict(desk, approving(11 * COIN)))[0] == "policy"
    assert (await verdict(desk, approving(10 * COIN)))[0] == "granted"
    other = market.deployer.deploy("Token")
    market.deployer.do(other, "mint(address,uint256)", desk.account.address, 5)
    assert "nobody says what that is worth" in (await verdict(desk, approving(1, other)))[1]
    await desk.rules({"name": "known", "type": "unpriced_asset"})
    gift = desk.signed(to=other, data=call("transfer(address,uint256)", spender, 5), value=0, gas=300_000)
    assert (await verdict(desk, gift))[0] == "policy"


async def test_deploying_is_refused_by_a_factory_too(desk: Desk, market: Market) -> None:
    await desk.rules({"name": "no-deploy", "type": "contract_creation", "networks": "test"})
    factory = market.deployer.deploy("Factory")
    made = desk.signed(to=factory, data=call("make()"), value=0, gas=900_000)
    assert await verdict(desk, made) == ("policy", "What it calls creates a contract.")
    assert (await verdict(desk, desk.signed(to="", data="0x00", value=0)))[0] == "policy"


async def test_a_person_sees_what_leaves_and_what_comes(desk: Desk, market: Market) -> None:
    await desk.rules({"name": "ask", "type": "max_outflow", "limit_usd": 1, "effect": "escalate"})
    out = market.formula(AMOUNT)

    async def approve() -> None:
        while not (waiting := await desk.governor.approvals.list()):  # noqa: ASYNC110 - it is in the server
            await asyncio.sleep(0.05)
        lines = waiting[0].simulated
        assert "-1000 AAA ($1,000.00)" in lines
        assert any(line.startswith(f"{out // COIN}.") and " BBB ($" in line for line in lines)
        await desk.governor.approvals.decide(waiting[0].approval_id, "approve", by="ana")

    async def trade() -> None:
        async with desk.wallet.transact(swap(desk, market, least=1), intent="Swap", wait=60) as tx:
            await tx.send()

    await asyncio.gather(trade(), approve())
    await desk.end()
    assert market.deployer.ask(market.bought, "balanceOf(address)", desk.account.address) == out

"""What a transaction would do, said before it is sent: as it then does, or more. Cheats are caught, or bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from anvil import COIN, Anvil
from signing import GWEI, fields
from trading import Market, call

from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.profiles import find_profile
from aegis_core.chains.simulation import COIN_ASSET, UNLIMITED, Simulation, simulate
from aegis_core.chains.transaction import decode

pytestmark = pytest.mark.timeout(300)
PROFILE = find_profile("anvil")
assert PROFILE is not None
EVERYTHING = 2**256 - 1


class Desk:
    """An account, and what would become of its transactions."""

    def __init__(self, market: Market, network: ChainNetwork) -> None:
        self.market, self.network, self.anvil = market, network, market.deployer.anvil
        self.account = self.anvil.account()

    def signed(self, to: str, data: str = "0x", **said: Any) -> bytes:
        usual = {"nonce": self.anvil.nonce(self.account.address), "value": 0, "gas": 2_000_000}
        return bytes(self.account.sign_transaction(fields(2, to=to, data=data, **usual | said)).raw_transaction)

    async def would(self, to: str, data: str = "0x", **said: Any) -> Simulation:
        return await simulate(self.network, decode(self.signed(to, data, **said)), [self.market.sold])

    def send(self, raw: bytes) -> bool:
        name = self.anvil.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        return self.anvil.receipt(name)["status"] == "0x1"

    def has(self, token: str) -> int:
        return self.market.deployer.ask(token, "balanceOf(address)", self.account.address)


@pytest.fixture(scope="session")
def market(anvil: Anvil) -> Market:
    return Market.open(anvil)


@pytest.fixture
async def desk(market: Market) -> AsyncIterator[Desk]:
    market.deployer.anvil.base_fee(GWEI)
    network = ChainNetwork(PROFILE, [market.deployer.anvil.url])
    yield Desk(market, network)
    await network.aclose()


async def test_a_swap_does_what_was_simulated_and_what_the_formula_says(desk: Desk) -> None:
    amount, market = 1_000 * COIN, desk.market
    market.fund(desk.account, amount)
    data, expected = market.swap(desk.account, amount), market.formula(amount)
    would = await desk.would(market.address, data)
    assert (would.success, would.creates) == (True, False)
    assert dict(would.deltas) == {market.sold.lower(): -amount, market.bought.lower(): expected}
    assert would.standing == ((market.sold.lower(), amount),)
    assert desk.send(desk.signed(market.address, data))
    assert (desk.has(market.sold), desk.has(market.bought)) == (0, expected)


async def test_the_coin_that_goes_along_is_all_that_leaves_and_fees_are_not_counted(desk: Desk) -> None:
    would = await desk.would(desk.anvil.account(0).address, value=COIN // 7)
    assert would.success
    assert would.deltas == ((COIN_ASSET, -(COIN // 7)),)
    assert would.gas == 21_000


async def test_why_it_would_be_reverted(desk: Desk) -> None:
    amount, market = 10 * COIN, desk.market
    market.fund(desk.account, amount)
    would = await desk.would(market.address, market.swap(desk.account, amount, least=EVERYTHING))
    assert (would.success, would.reason) == (False, "too little comes out")
    assert would.deltas == ()
    poor = await desk.would(market.sold, call("transfer(address,uint256)", market.address, 11 * COIN))
    assert (poor.success, poor.reason) == (False, "panic 0x11")


async def test_approvals_of_three_kinds_are_seen(desk: Desk) -> None:
    deployer, spender = desk.market.deployer, desk.anvil.account(0).address
    token, collection, permits = (deployer.deploy(name) for name in ("Token", "Collection", "Permits"))
    for contract, data, about in (
        (token, call("approve(address,uint256)", spender, EVERYTHING), token),
        (collection, call("setApprovalForAll(address,bool)", spender, True), collection),
        (permits, call("approve(address,address,uint160,uint48)", token, spender, 2**160 - 1, 2**48 - 1), token),
    ):
        would = await desk.would(contract, data)
        (approval,) = would.approvals
        assert (approval.token, approval.spender, approval.unlimited) == (about.lower(), spender.lower(), True)
    for data, contract in (
        (call("approve(address,uint256)", spender, UNLIMITED - 1), token),
        (call("approve(address,address,uint160,uint48)", token, spender, 5, 2**48 - 1), permits),
    ):
        (approval,) = (await desk.would(contract, data)).approvals
        assert not approval.unlimited
    none = await desk.would(token, call("approve(address,uint256)", spender, 0))
    assert none.approvals == ()


async def test_a_token_that_says_what_it_does_not_do_moved_nothing(desk: Desk) -> None:
    desk.market.fund(desk.account, COIN)
    would = await desk.would(desk.market.sold, call("boast(address,uint256)", desk.account.address, COIN))
    assert (would.success, would.deltas) == (True, ())


async def test_a_token_that_does_not_say_what_it_does_moved_it(desk: Desk) -> None:
    deployer = desk.market.deployer
    token = deployer.deploy("Token")
    deployer.do(token, "mint(address,uint256)", desk.account.address, 5)
    thief = desk.anvil.account()
    drained = bytes(
        thief.sign_transaction(
            fields(2, to=token, value=0, data=call("drain(address,uint256)", desk.account.address, 3))
        ).raw_transaction
    )
    deployer.do(token, "mint(address,uint256)", thief.address, 1)
    would = await simulate(desk.network, decode(drained))
    assert dict(would.deltas) == {token.lower(): 3}  # the thief's own view: no log says it


async def test_an_approval_that_nothing_logs_is_found_by_what_stands_later(desk: Desk) -> None:
    market = desk.market
    cheat = market.deployer.deploy("Cheat")
    market.fund(desk.account, 7 * COIN, allowed=0)
    assert desk.send(desk.signed(market.sold, call("quietly(address)", cheat)))
    would = await desk.would(cheat, call("claim(address,uint256)", market.sold, 0))
    assert would.deltas == ()
    assert would.standing == ((market.sold.lower(), 7 * COIN),)


async def test_a_contract_that_looks_for_a_simulation_sees_none(desk: Desk) -> None:
    """With no maker of the block and no price it does nothing; here it shows what it takes."""
    deployer, market = desk.market.deployer, desk.market
    cheat = deployer.deploy("Cheat")
    market.fund(desk.account, 800 * COIN)
    deployer.do(market.sold, "approve(address,uint256)", cheat, 799 * COIN, account=desk.account)
    desk.anvil.rpc("anvil_setCoinbase", "0x" + "33" * 20)
    desk.anvil.mine()
    data = call("claim(address,uint256)", market.sold, 700 * COIN)
    would = await desk.would(cheat, data)
    assert dict(would.deltas) == {market.sold.lower(): -700 * COIN}
    assert would.standing == ((market.sold.lower(), 799 * COIN),)  # and it may take as much, whatever it shows


async def test_a_contract_that_makes_contracts_is_seen(desk: Desk) -> None:
    factory = desk.market.deployer.deploy("Factory")
    would = await desk.would(factory, call("make()"))
    assert (would.success, would.creates) == (True, True)

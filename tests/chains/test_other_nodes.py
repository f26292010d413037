"""What nodes of Solana and Sui say is believed where enough of them agree, and a broken answer is no answer."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from litesvm import GENESIS, SOL, Solana, pay, signature_of
from litesvm import serving as solana_at
from nodes import BROKEN, SLOW, Answer, http, result, serving
from solders.pubkey import Pubkey
from suichain import CHAIN, COIN, Effects, SuiServer, schema, vector, vectors
from suichain import serving as sui_at

from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.profiles import ChainProfile
from aegis_core.chains.simulation import COIN_ASSET
from aegis_core.chains.solana import wire as solana_wire
from aegis_core.chains.solana.network import SolanaNetwork
from aegis_core.chains.solana.simulation import simulate
from aegis_core.chains.sui import queries
from aegis_core.chains.sui import wire as sui_wire
from aegis_core.chains.sui.network import SuiNetwork
from aegis_core.errors import ChainError

pytestmark = pytest.mark.timeout(300)
SOLANA = ChainProfile(f"solana:{GENESIS}", "litesvm", "SOL", fees="solana", stale_seconds=60, decimals=9)
SUI = ChainProfile(f"sui:{CHAIN}", "moving", "SUI", fees="sui", stale_seconds=60, decimals=9)
SIGNATURE, SENT = "5" * 88, Pubkey.new_unique()


Opened = Callable[[ChainNetwork], Any]


def named(method: str, number: int) -> bytes | None:
    """The answer of a node to which chain it serves."""
    if method == "getGenesisHash":
        return result(GENESIS + "tail", number)
    return http(json.dumps({"data": {"chainIdentifier": CHAIN}}).encode()) if method == queries.CHAIN else None


class Broken:
    """A node that is broken in one way after another."""

    kind: Answer

    def __call__(self, method: str, parameters: list[Any], number: int) -> bytes:
        return named(method, number) or self.kind(method, parameters, number)


async def price(network: ChainNetwork) -> int:
    return (await network.gas_price(time.time())).base_fee


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Closes networks at the end, whatever comes of the test."""
    async with AsyncExitStack() as stack:
        yield lambda network: (stack.push_async_callback(network.aclose), network)[1]


async def refused(network: ChainNetwork, *asked: Callable[[], Awaitable[object]]) -> None:
    for ask in (lambda: price(network), *asked):
        with pytest.raises(ChainError) as found:
            await ask()
        assert "key-of-the-operator" not in found.value.message
        assert found.value.message.isprintable()
        assert found.value.facts["chain"] == network.profile.id


async def test_a_broken_node_of_solana_is_refused_alone_and_outvoted_by_two(opened: Opened) -> None:
    chain, broken = Solana(fees=[700] * 3), Broken()
    me = chain.account()
    transaction = solana_wire.decode(chain.signed([pay(me.pubkey(), SENT, SOL)], me))
    many, numbers = [{"slot": 1, "prioritizationFee": 2**53}], [{"slot": 1, "prioritizationFee": -1}]
    said = [*BROKEN.values(), *(lambda _m, _p, n, value=value: result(value, n) for value in (many, numbers, [5], {}))]
    async with solana_at(chain, chain) as urls, serving(broken) as (bad,):
        three = opened(SolanaNetwork(SOLANA, [urls[0], bad, urls[1]], timeout=60))
        alone = opened(SolanaNetwork(SOLANA, [bad], timeout=60))
        for broken.kind in said:
            assert await price(three) == 700
            # That it knows of no such transaction is an answer.
            known = [] if broken.kind is BROKEN["no block"] else [lambda: alone.landed(SIGNATURE)]
            await refused(
                alone, alone.final_height, lambda: alone.expires(SIGNATURE),
                lambda: simulate(alone, transaction, str(me.pubkey())), *known,
            )  # fmt: skip


async def test_a_broken_node_of_sui_is_refused_alone_and_outvoted_by_two(opened: Opened) -> None:
    schema(2)
    chain, broken, pays = SuiServer(), Broken(), sui_wire.decode(vector("pay"))
    head = chain.answer({"query": queries.GAS})["data"]

    def heads(**changed: object) -> Answer:
        epoch = {name: value for name, value in changed.items() if name in head["epoch"]}
        at = {name: value for name, value in changed.items() if name not in epoch}
        data = {"epoch": head["epoch"] | epoch, "checkpoint": head["checkpoint"] | at}
        return lambda _m, _p, _n: http(json.dumps({"data": data}).encode())

    ill = [{"referenceGasPrice": each} for each in ("0", "-5", 1_000, "1e3", "9" * 40, None, "٣")]
    ill += [{"timestamp": each} for each in ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "now", None)]
    ill += [{"sequenceNumber": each} for each in ("5", -1, True)]
    async with sui_at(chain, chain) as urls, serving(broken) as (bad,):
        three = opened(SuiNetwork(SUI, [urls[0], bad, urls[1]], timeout=60))
        alone = opened(SuiNetwork(SUI, [bad], timeout=60))
        for broken.kind in (*BROKEN.values(), *(heads(**each) for each in ill)):
            assert await price(three) == 1_000
            await refused(
                alone, lambda: alone.landed(pays.digest), lambda: alone.simulate(pays, pays.sender),
                lambda: alone.versions(tuple(pays.gas_coins)),
            )  # fmt: skip


@pytest.mark.concurrent
@pytest.mark.parametrize("kind", SLOW)
async def test_a_slow_node_has_its_time_and_no_more(opened: Opened, kind: str) -> None:
    broken = Broken()
    broken.kind = SLOW[kind]
    async with serving(broken) as urls:
        for network in map(opened, (SolanaNetwork(SOLANA, urls, timeout=0.5), SuiNetwork(SUI, urls, timeout=0.5))):
            with pytest.raises(ChainError, match=r"did not answer .* within 0\.5 s"):
                await price(network)


async def test_one_liar_of_three_moves_neither_a_price_nor_what_is_known_of_solana(opened: Opened) -> None:
    chain = Solana(fees=[700] * 3)
    me = chain.account()
    raw = chain.signed([pay(me.pubkey(), SENT, SOL)], me)
    lies: dict[str, Any] = {"getRecentPrioritizationFees": [{"slot": 1, "prioritizationFee": 70_000}]}
    liar = replace(chain, broken=lies.get)
    async with solana_at(chain, liar, chain) as urls:
        network = opened(SolanaNetwork(SOLANA, urls, timeout=60))
        assert (await price(network), await network.fee_for([])) == (700, 700)
        transaction = solana_wire.decode(raw)
        # That nothing leaves is not believed, whoever says so: the worst of what is said counts.
        same = chain.call("getMultipleAccounts", [[*transaction.keys]])["value"]
        liar.broken = lambda method, said: (
            said | {"value": said["value"] | {"accounts": same}} if method == "simulateTransaction" else said
        )
        assert dict((await simulate(network, transaction, str(me.pubkey()))).simulation.deltas)[COIN_ASSET] == -SOL
        await network.broadcast(raw, signature_of(raw))
        liar.broken = lambda method, said: None if method == "getTransaction" else said
        landed = await network.landed(signature_of(raw))
        assert landed is not None
        assert landed.fee == 5_000
        forged = chain.landed[signature_of(raw)]
        for change in ({"fee": 1}, {"postBalances": forged.meta["preBalances"]}):
            meta = forged.meta | change
            liar.broken = lambda method, said, meta=meta: said | {"meta": meta} if method == "getTransaction" else said
            assert await network.landed(signature_of(raw)) == landed


async def test_one_liar_of_three_moves_nothing_of_sui(opened: Opened) -> None:
    schema(2)
    pays = sui_wire.decode(vector("pay"))
    honest, liar = SuiServer(), SuiServer(price=40_000, epoch=9_000)
    liar.does[pays.digest] = Effects((0, 0, 10**12), ((vectors()["me"], COIN, 10**12),))
    async with sui_at(honest, liar, honest) as urls:
        network = opened(SuiNetwork(SUI, urls, timeout=60))
        assert (await price(network), await network.epoch()) == (1_000, 7)
        assert dict((await network.simulate(pays, pays.sender)).deltas)[COIN_ASSET] == -10_000_000
        await network.broadcast(vector("pay"), pays.digest)
        for server in (honest, liar):
            server.landed.setdefault(pays.digest, (pays, 501))
        landed = await network.landed(pays.digest)
        assert landed is not None
        assert landed.gas == Effects().net

"""Transactions of Sui: read as its SDK wrote them, judged, held at their budget, settled by what a checkpoint says."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desks import OtherDesk, other_desk
from graphql import parse, validate
from suichain import CHAIN, MIST, Effects, SuiServer, schema, serving, vector, vectors

from aegis_core import Settings
from aegis_core.chains.quantities import coin_type
from aegis_core.chains.sui.queries import QUERIES
from aegis_core.chains.sui.wire import check_signatures, decode, signed
from aegis_core.errors import AegisDenied, InvalidRequestError

USD = 3
PAID, BUDGET, NET = 10_000_000, 5_000_000, Effects().net
OTHER = "0x" + "12" * 32


def nanos(mist: int) -> int:
    return -(-mist * USD * 10**9 // MIST)


@pytest.fixture(params=[1, 2])
def chain(request: pytest.FixtureRequest) -> SuiServer:
    schema(request.param)
    return SuiServer(request.param)


@pytest.fixture
async def desk(settings: Settings, chain: SuiServer, tmp_path: Path) -> AsyncIterator[OtherDesk]:
    tokens = {"USDC": {"address": "0xa::usdc::USDC", "decimals": 6, "usd": 1}}
    async with serving(chain) as urls:
        said = {"rpc": urls, "id": f"sui:{CHAIN}", "symbol": "SUI", "fees": "sui", "usd": USD, "tokens": tokens}
        async with other_desk(settings, tmp_path, moving=said) as made:
            await made.own(vectors()["me"])
            await made.rules()
            yield made


def acting(desk: OtherDesk, raw: bytes) -> Any:
    return desk.agent.wallet("moving", vectors()["me"]).transact(raw, intent="Act", wait=0)


async def judged(desk: OtherDesk, raw: bytes) -> Any:
    try:
        async with acting(desk, raw) as tx:
            return tx.verdict
    except AegisDenied as refused:
        return refused.verdict


@pytest.mark.parametrize("version", [1, 2])
def test_every_query_is_valid_by_both_schemas(version: int) -> None:
    for query in QUERIES:
        assert validate(schema(version), parse(query)) == []


def test_digests_are_those_of_the_sdk_and_nothing_else_is_accepted() -> None:
    names = [name for name in vectors() if name != "me"]
    assert len(names) == 6
    for name in names:
        raw = vector(name)
        found = decode(raw)
        assert (found.digest, found.sender) == (vectors()[name]["digest"], vectors()["me"])
        assert found.data == b64decode(vectors()[name]["data"])
        if name != "sponsored":
            check_signatures(found)
        for end in range(len(raw)):
            with pytest.raises(InvalidRequestError):
                decode(raw[:end])
        for more in (b"\0", raw):
            with pytest.raises(InvalidRequestError):
                decode(raw + more)
    first, second = decode(vector("pay")), decode(vector("payAgain"))
    assert (first.core, first.digest == second.digest) == (second.core, False)  # another gas coin
    assert (first.from_gas, first.recipients, decode(vector("publish")).epoch) == (PAID, (OTHER,), 1234)
    assert decode(vector("sponsored")).calls == (f"{OTHER}::pool::swap",)


async def test_what_is_charged_is_what_the_checkpoint_says(desk: OtherDesk, chain: SuiServer) -> None:
    raw = vector("pay")
    async with acting(desk, raw) as tx:
        assert tx.verdict.reserved_usd == Decimal(nanos(BUDGET + PAID)).scaleb(-9)
        report = await tx.send()
    async with acting(desk, raw) as again:  # the same bytes are the same transaction
        assert again.verdict.grant_id == tx.verdict.grant_id
    chain.placed = False
    await desk.follow()
    assert await desk.spent() == (0, nanos(BUDGET + PAID))  # in no checkpoint yet
    chain.placed = True
    await desk.follow()
    assert await desk.spent() == (nanos(NET + PAID), 0)
    settled = await tx.settled(wait=0)
    assert (settled.hash, report.hash, chain.sent) == (vectors()["pay"]["digest"], settled.hash, 1)
    async with acting(desk, vector("payAgain")) as tx:  # the same by another gas coin is a second one
        await tx.send()
    await desk.follow()
    assert (chain.sent, await desk.spent()) == (2, (2 * nanos(NET + PAID), 0))


async def test_gas_that_comes_back_is_credited_and_a_failure_pays_only_gas(desk: OtherDesk, chain: SuiServer) -> None:
    chain.does[vectors()["pay"]["digest"]] = Effects((1_000_000, 0, 4_000_000))
    async with acting(desk, vector("pay")) as tx:
        await tx.send()
    await desk.follow()
    assert await desk.spent() == (nanos(PAID - 3_000_000), 0)
    chain.does[vectors()["call"]["digest"]] = Effects((1_000_000, 0, 4_000_000))
    chain.used.clear()
    async with acting(desk, vector("call")) as tx:  # all that it does is to free storage, which comes back
        await tx.send()
    await desk.follow()
    assert (await tx.settled(wait=0)).charged_usd == 0
    assert await desk.spent() == (nanos(PAID - 6_000_000), 0)
    chain.used.clear()
    chain.does[vectors()["publish"]["digest"]] = Effects((1, 0, 10**15))  # as nodes might say that lie
    async with acting(desk, vector("publish")) as tx:
        await tx.send()
    await desk.follow()
    told = await desk.governor.latest_events(1_000)
    given = [each.facts["refund_usd"] for each in told if each.kind == "refunded"]
    assert [int(usd * 10**9) for usd in given] == [nanos(3_000_000), nanos(BUDGET)], "no more than was held"
    assert await desk.spent() == (0, 0), "and no budget has more than its limit"
    chain.used.clear()
    chain.does[vectors()["upgrade"]["digest"]] = Effects((1_000_000, 0, 0), success=False)
    await desk.rules({"name": "sure", "type": "simulation", "effect": "observe"})
    async with acting(desk, vector("upgrade")) as tx:
        await tx.send()
    await desk.follow()
    assert await desk.spent() == (nanos(1_000_000), 0)


async def test_what_never_happens_is_free_once_its_coin_or_epoch_is_over(desk: OtherDesk, chain: SuiServer) -> None:
    chain.drops = True
    for name in ("pay", "publish"):
        chain.used.clear()
        async with acting(desk, vector(name)) as tx:
            await tx.send()
        await desk.follow()
        assert (await desk.spent())[1] > 0
        if name == "pay":
            chain.used["0x" + "1" * 64] = 2
        else:
            chain.used.clear()
            chain.epoch = 1_235
        await desk.follow()
        assert await desk.spent() == (0, 0)


async def test_an_epochs_jump_of_the_price_is_refused(desk: OtherDesk, chain: SuiServer) -> None:
    await desk.rules({"name": "calm", "type": "gas_price_ceiling", "max_mist": 1_500})
    assert (await judged(desk, vector("pay"))).granted
    chain.price = 9_000
    await desk.watch.look()
    verdict = await judged(desk, vector("payAgain"))
    assert (verdict.code, verdict.rule) == ("gas_too_dear", "calm")
    chain.price = 900
    await desk.watch.look()
    assert (await judged(desk, vector("call"))).granted


async def test_rules_by_function_recipient_and_what_leaves(desk: OtherDesk, chain: SuiServer) -> None:
    me, call = vectors()["me"], vectors()["call"]["digest"]
    chain.does[call] = Effects(changes=((me, "0xa::usdc::USDC", -2_000_000), (me, "0xb::x::X", 5)))
    for rule, refused in (
        ({"type": "contract_method", "allow": ["0x2::pay::split", "transfer"]}, {"publish", "upgrade"}),
        ({"type": "contract_method", "deny": ["0x2::pay::*"]}, {"call"}),
        ({"type": "contract_method", "deny": ["0x2::*"]}, {"call"}),
        ({"type": "contract_creation"}, {"publish", "upgrade"}),
        ({"type": "recipient", "allow": [f"sui:{CHAIN}:{OTHER}"]}, {"call", "publish", "upgrade"}),
        ({"type": "recipient", "deny": [OTHER]}, {"pay"}),
        ({"type": "max_outflow", "limit_usd": 1}, {"call"}),
        ({"type": "asset_limit", "asset": "USDC", "max_amount": 1}, {"call"}),
        ({"type": "chain_allowlist", "chains": ["sui"], "testnets": True}, {"pay", "call", "publish", "upgrade"}),
    ):  # fmt: skip
        await desk.rules({"name": "rule", **rule})
        for name in ("pay", "call", "publish", "upgrade"):
            assert ((await judged(desk, vector(name))).rule == "rule") == (name in refused), (name, rule)
    await desk.rules({"name": "known", "type": "unpriced_asset"})
    coin = (me, OTHER, "0x2::coin::Coin<0x2::sui::SUI>")
    chain.does[call] = Effects(objects=((me, OTHER, "0xc::art::Picture"), coin))
    assert f"{coin_type('0xc::art::Picture')[1:]} leaves" in (await judged(desk, vector("call"))).reason
    await desk.rules({"name": "sure", "type": "simulation"})
    chain.does[call] = Effects(more=True)
    assert "more than are looked at" in (await judged(desk, vector("call"))).reason
    chain.does[call] = Effects(success=False)
    assert "it aborts" in (await judged(desk, vector("call"))).reason


async def test_signatures_of_others_and_strange_bytes_are_refused(desk: OtherDesk, chain: SuiServer) -> None:
    data, other = b64decode(vectors()["pay"]["data"]), b64decode(vectors()["call"]["signature"])
    for raw, problem in (
        (signed(data, (other,)), "something else"), (signed(data, (other[:-1] + b"\0",)), "somebody else"),
        (vector("sponsored"), "1 signatures for 2"), (data, "does not begin"), (b"", "does not begin"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequestError, match=problem):
            async with acting(desk, raw):
                pass
    async with acting(desk, signed(data)) as tx:
        with pytest.raises(InvalidRequestError, match="carries 0 signatures"):
            await tx.send()
        with pytest.raises(InvalidRequestError, match="another one"):
            await tx.send(vector("payAgain"))
    assert (chain.sent, await desk.spent()) == (0, (0, 0))

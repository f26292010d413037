"""Transactions of Solana on its own virtual machine: judged, reserved at the bound, sent once, settled by the chain."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desks import OtherDesk, other_desk
from litesvm import GENESIS, SOL, Solana, associated, new_mint, pay, serving, signature_of, token_call
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from aegis_core import Settings
from aegis_core.chains.solana.fees import fee_of
from aegis_core.chains.solana.wire import decode
from aegis_core.errors import AegisDenied, InvalidRequestError

USD = 150


def nanos(lamports: int) -> int:
    return -(-lamports * USD * 10**9 // SOL)


@pytest.fixture
def chain() -> Solana:
    return Solana()


@pytest.fixture
async def desk(settings: Settings, chain: Solana, tmp_path: Path) -> AsyncIterator[OtherDesk]:
    async with serving(chain) as urls, other_desk(settings, tmp_path, litesvm=said(urls)) as made:
        yield made


def said(urls: list[str], **more: object) -> dict[str, object]:
    return {"rpc": urls, "id": f"solana:{GENESIS}", "symbol": "SOL", "fees": "solana", "usd": USD} | more


async def denied(desk: OtherDesk, wallet: Any, raw: bytes) -> str:
    with pytest.raises(AegisDenied) as refused:
        async with desk.agent.wallet("litesvm", str(wallet.pubkey())).transact(raw, intent="Pay", wait=0):
            pytest.fail("it was granted")
    return refused.value.verdict.code


async def test_what_is_charged_is_what_was_paid(desk: OtherDesk, chain: Solana) -> None:
    me, target = chain.account(), Pubkey.new_unique()
    await desk.own(str(me.pubkey()))
    raw, before = chain.signed([pay(me.pubkey(), target, SOL // 100)], me), chain.balance(me.pubkey())
    async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Pay the invoice", wait=1) as tx:
        assert tx.verdict.reserved_usd == Decimal(nanos(5_000 + SOL // 100)).scaleb(-9)
        report = await tx.send()
    assert (report.state, chain.balance(target)) == ("sent", SOL // 100)
    await desk.follow()
    took = before - chain.balance(me.pubkey())
    assert took == 5_000 + SOL // 100
    assert await desk.spent() == (nanos(took), 0)
    settled = await tx.settled(wait=0)
    assert (settled.state, settled.hash) == ("settled", report.hash)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_fee_is_known_before_and_charged_also_where_it_fails(
    desk: OtherDesk, chain: Solana, fails: bool
) -> None:
    """Every combination of a limit, a price, signers and instructions: predicted = charged = the fee of the chain."""
    me, others = chain.account(), [chain.account() for _ in range(2)]
    await desk.own(str(me.pubkey()))
    chain.preflight = False
    charged, limits, prices = 0, (None, 12_345, 1_400_000), (None, 1, 999_999)
    for limit, price, signers, count in itertools.product(limits, prices, (1, 2, 3), (1, 2)):
        calls = [] if limit is None else [set_compute_unit_limit(limit)]
        calls += [] if price is None else [set_compute_unit_price(price)]
        calls += [pay(me.pubkey(), Pubkey.new_unique(), 890_880 + at) for at in range(count)]
        calls += [pay(other.pubkey(), me.pubkey(), 1) for other in others[: signers - 1]]
        calls += [token_call(99, b"")] * fails
        raw, before = chain.signed(calls, me, *others[: signers - 1]), chain.balance(me.pubkey())
        async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Pay", wait=0) as tx:
            await tx.send()
        await desk.follow()
        moved = 0 if fails else sum(890_880 + at for at in range(count)) - (signers - 1)
        took = before - chain.balance(me.pubkey())
        assert chain.fee_paid(raw) == fee_of(decode(raw)) == took - moved
        charged += nanos(took)
        assert await desk.spent() == (charged, 0)
        chain.expire()


async def test_signatures_that_a_program_checks_cost_as_much(desk: OtherDesk, chain: Solana) -> None:
    me = chain.account()
    await desk.own(str(me.pubkey()))
    signature = me.sign_message(b"said")
    checked = ed25519_call(bytes(me.pubkey()), bytes(signature), b"said")
    raw = chain.signed([checked], me)
    async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Check", wait=0) as tx:
        await tx.send()
    await desk.follow()
    assert chain.fee_paid(raw) == 10_000
    assert await desk.spent() == (nanos(10_000), 0)


def ed25519_call(key: bytes, signature: bytes, message: bytes) -> Instruction:
    """An instruction of the program that checks signatures, which holds all that it checks."""
    own, start = 0xFFFF, 16
    numbers = (start + 32, own, start, own, start + 96, len(message), own)
    head = b"\1\0" + b"".join(number.to_bytes(2, "little") for number in numbers)
    return Instruction(
        Pubkey.from_string("Ed25519SigVerify111111111111111111111111111"), head + key + signature + message, []
    )


async def test_the_rent_of_a_new_account_is_in_what_it_takes(desk: OtherDesk, chain: Solana) -> None:
    me, mint = chain.account(), new_mint(chain)
    await desk.own(str(me.pubkey()))
    raw = chain.signed([associated(me.pubkey(), me.pubkey(), mint)], me)
    async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Open it", wait=0) as tx:
        assert tx.verdict.reserved_usd == Decimal(nanos(2_044_280)).scaleb(-9)
        await tx.send()
    await desk.follow()
    assert await desk.spent() == (nanos(2_044_280), 0)


async def test_what_is_signed_again_is_a_second_transaction_and_charged_twice(desk: OtherDesk, chain: Solana) -> None:
    me, target = chain.account(), Pubkey.new_unique()
    await desk.own(str(me.pubkey()))
    for _ in range(2):
        raw = chain.signed([pay(me.pubkey(), target, SOL // 100)], me)
        for _ in range(2):  # the same bytes are the same transaction
            async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Pay", wait=0) as tx:
                await tx.send()
        chain.expire()
    await desk.follow()
    assert (chain.balance(target), chain.sent) == (2 * SOL // 100, 2)
    assert await desk.spent() == (2 * nanos(SOL // 100 + 5_000), 0)


async def test_what_never_lands_is_free_only_after_its_last_height_is_final(desk: OtherDesk, chain: Solana) -> None:
    me = chain.account()
    await desk.own(str(me.pubkey()))
    raw = chain.signed([pay(me.pubkey(), Pubkey.new_unique(), SOL // 100)], me)
    chain.drops = True
    async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Pay", wait=0) as tx:
        await tx.send()
    held = (0, nanos(SOL // 100 + 5_000))
    await desk.follow()
    assert await desk.spent() == held
    chain.behind = 400
    chain.expire()
    await desk.follow()
    assert await desk.spent() == held  # over, but not at finality
    chain.behind = 0
    await desk.follow()
    assert await desk.spent() == (0, 0)
    assert (await tx.settled(wait=0)).state == "settled"


async def test_what_was_approved_is_signed_afterwards_with_a_newer_blockhash(desk: OtherDesk, chain: Solana) -> None:
    me, target = chain.account(), Pubkey.new_unique()
    await desk.own(str(me.pubkey()))
    await desk.rules({"name": "ask", "type": "max_outflow", "limit_usd": 1, "effect": "escalate"})
    calls, old = [pay(me.pubkey(), target, SOL // 100)], chain.svm.latest_blockhash()
    wallet = desk.agent.wallet("litesvm", str(me.pubkey()))

    async def approve() -> None:
        while not (asked := await desk.governor.approvals.list()):  # noqa: ASYNC110 - the test is the operator
            await asyncio.sleep(0.02)
        chain.expire()  # it took that long
        await desk.governor.approvals.decide(asked[0].approval_id, "approve", by="ana")

    approving = asyncio.create_task(approve())
    async with wallet.transact(chain.unsigned(calls, me.pubkey()), intent="Pay", wait=30) as tx:
        await approving
        with pytest.raises(InvalidRequestError, match="is not signed by"):
            await tx.send()
        other = chain.signed([pay(me.pubkey(), target, SOL // 50)], me)
        with pytest.raises(InvalidRequestError, match="something else"):
            await tx.send(other)
        with pytest.raises(InvalidRequestError, match="names a blockhash that is over"):
            await tx.send(chain.signed(calls, me, blockhash=old))
        raw = chain.signed(calls, me)
        report = await tx.send(raw)
        chain.expire()
        with pytest.raises(InvalidRequestError, match="was given for"):
            await tx.send(chain.signed(calls, me))
    assert report.hash == signature_of(raw)
    await desk.follow()
    assert (chain.balance(target), await desk.spent()) == (SOL // 100, (nanos(SOL // 100 + 5_000), 0))

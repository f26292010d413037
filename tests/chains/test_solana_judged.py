"""What Solana's transactions are judged by: who is paid, what is approved, what never expires, what is deployed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desks import OtherDesk, other_desk
from litesvm import (
    GENESIS,
    NEWER_TOKENS,
    SOL,
    Solana,
    advance,
    as_version_0,
    holding,
    new_mint,
    new_nonce,
    new_table,
    pay,
    serving,
    token_call,
)
from solders.compute_budget import set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from aegis_core import Settings
from aegis_core.errors import AegisDenied
from aegis_core.protocol.approvals import EnvelopeRequest

SYSTEM = "11111111111111111111111111111111"
USDC = "usdc"


@pytest.fixture
def chain() -> Solana:
    return Solana()


@pytest.fixture
def me(chain: Solana) -> Keypair:
    return chain.account()


@pytest.fixture
def mint(chain: Solana) -> Pubkey:
    return new_mint(chain)


@pytest.fixture
async def desk(
    settings: Settings, chain: Solana, me: Keypair, mint: Pubkey, tmp_path: Path
) -> AsyncIterator[OtherDesk]:
    tokens = {"USDC": {"address": str(mint), "decimals": 6, "usd": 1}}
    async with serving(chain) as urls:
        said = {"rpc": urls, "id": f"solana:{GENESIS}", "symbol": "SOL", "fees": "solana", "usd": 150, "tokens": tokens}
        async with other_desk(settings, tmp_path, litesvm=said) as made:
            await made.own(str(me.pubkey()))
            yield made


async def judged(desk: OtherDesk, me: Keypair, raw: bytes) -> Any:
    """The verdict; nothing is sent."""
    try:
        async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Act", wait=0) as tx:
            return tx.verdict
    except AegisDenied as refused:
        return refused.verdict


async def test_what_leaves_is_judged_by_balances_and_in_dollars(
    desk: OtherDesk, chain: Solana, me: Keypair, mint: Pubkey
) -> None:
    await desk.rules({"name": "small", "type": "max_outflow", "limit_usd": 3})
    mine, other = holding(chain, me.pubkey(), mint, 10_000_000), Pubkey.new_unique()
    theirs = holding(chain, other, mint, 0)
    for amount, granted in ((3_000_000, True), (3_000_001, False)):
        move = token_call(
            3, amount.to_bytes(8, "little"), (mine, False, True), (theirs, False, True), (me.pubkey(), True, False)
        )
        verdict = await judged(desk, me, chain.signed([move], me))
        assert verdict.granted == granted, verdict
    assert verdict.reason == "$3.000001 leave the wallet; the limit is $3.00."
    places = ((mine, False, True), (theirs, False, True), (me.pubkey(), True, False))
    raw = chain.signed([token_call(3, (2_000_000).to_bytes(8, "little"), *places)], me)
    async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Pay", wait=0) as tx:
        assert int(tx.verdict.reserved_usd * 10**9) == 2 * 10**9 + 5_000 * 150
        await tx.send()
    await desk.follow()
    assert await desk.spent() == (2 * 10**9 + 5_000 * 150, 0)  # tokens are charged at their price, as they are held
    # Whoever owns the account of tokens is paid, not the account.
    await desk.rules({"name": "whom", "type": "recipient", "allow": [str(other)]})
    assert (await judged(desk, me, chain.signed([move], me))).granted
    await desk.rules({"name": "whom", "type": "recipient", "deny": [f"solana:{GENESIS}:{other}"]})
    assert (await judged(desk, me, chain.signed([move], me))).rule == "whom"


async def test_approvals_and_what_takes_an_account_away(
    desk: OtherDesk, chain: Solana, me: Keypair, mint: Pubkey
) -> None:
    mine, other = (holding(chain, me.pubkey(), mint, 5_000_000), False, True), Pubkey.new_unique()
    signs = (me.pubkey(), True, False)

    def approve(amount: int) -> Instruction:
        return token_call(4, amount.to_bytes(8, "little"), mine, (other, False, False), signs)

    def give(kind: int) -> Instruction:
        return token_call(6, bytes([kind, 1]) + bytes(other), mine, signs)

    await desk.rules({"name": "approve", "type": "approval_limit", "limit_usd": 2})
    assert (await judged(desk, me, chain.signed([approve(2_000_000)], me))).granted
    for call in (approve(2_000_001), approve(2**64 - 1), give(3)):
        assert (await judged(desk, me, chain.signed([call], me))).rule == "approve"
    await desk.rules({"name": "small", "type": "max_outflow", "limit_usd": 4})
    assert (await judged(desk, me, chain.signed([give(2)], me))).reason.startswith("$5.00 leave the wallet")
    assign = Instruction(Pubkey.from_string(SYSTEM), b"\1\0\0\0" + bytes(other), [AccountMeta(me.pubkey(), True, True)])
    assert (await judged(desk, me, chain.signed([assign], me))).rule == "small"
    await desk.rules({"name": "mine", "type": "delegation"})
    assert (await judged(desk, me, chain.signed([assign], me))).rule == "mine"


async def test_newer_tokens_are_unpriced_whatever_the_file_says(desk: OtherDesk, chain: Solana, me: Keypair) -> None:
    await desk.rules({"name": "small", "type": "max_outflow", "limit_usd": 4})
    mint = new_mint(chain, NEWER_TOKENS)
    mine = holding(chain, me.pubkey(), mint, 5, NEWER_TOKENS)
    theirs = holding(chain, Pubkey.new_unique(), mint, 0, NEWER_TOKENS)
    data = (1).to_bytes(8, "little") + b"\6"
    places = ((mine, False, True), (mint, False, False), (theirs, False, True), (me.pubkey(), True, False))
    move = token_call(12, data, *places, program=NEWER_TOKENS)
    verdict = await judged(desk, me, chain.signed([move], me))
    assert (verdict.rule, "Nobody knows" in verdict.reason) == ("small", True)
    await desk.rules({"name": "known", "type": "unpriced_asset"})
    assert f"oken-2022:{mint}" in (await judged(desk, me, chain.signed([move], me))).reason


async def test_a_durable_nonce_needs_a_person_and_is_held_until_it_is_used(
    desk: OtherDesk, chain: Solana, me: Keypair
) -> None:
    nonce, value = new_nonce(chain, me)
    calls = [advance(nonce, me.pubkey()), pay(me.pubkey(), Pubkey.new_unique(), SOL // 100)]
    raw = chain.signed(calls, me, blockhash=value)
    await desk.rules()
    verdict = await judged(desk, me, raw)
    assert (verdict.status, verdict.rule) == ("PENDING", "lasting-transaction")
    await desk.rules({"name": "no", "type": "lasting_transaction", "effect": "deny"})
    assert (await judged(desk, me, raw)).rule == "no"
    await desk.rules({"name": "fine", "type": "lasting_transaction", "effect": "observe"})
    assert (await judged(desk, me, raw)).status == "PENDING", "a rule can only make it stricter"
    ahead = EnvelopeRequest(agent_id="trader", rule="lasting-transaction", limit_usd=Decimal(100))
    await desk.governor.approvals.approve_ahead(ahead, by="operator")
    chain.drops = True
    async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Act", wait=0) as tx:
        await tx.send()
    for _ in range(3):
        chain.expire()
    await desk.follow()
    assert (await desk.spent())[1] > 0  # a plain one would be over
    chain.drops = False
    await desk.follow()  # it was forgotten, and is sent again
    await desk.follow()
    assert await desk.spent() == ((SOL // 100 + 5_000) * 150, 0)


async def test_tables_are_looked_up_or_the_transaction_is_unknown(desk: OtherDesk, chain: Solana, me: Keypair) -> None:
    await desk.rules({"name": "small", "type": "max_outflow", "limit_usd": 2}, {"name": "sure", "type": "simulation"})
    target = Pubkey.new_unique()
    calls = [pay(me.pubkey(), target, SOL // 100)]
    table = new_table(chain, target)
    raw = as_version_0(chain.signed(calls, me), me, calls, [table])
    assert str(target).encode() not in raw
    assert bytes(target) not in raw
    verdict = await judged(desk, me, raw)
    assert verdict.granted, verdict
    await desk.rules({"name": "whom", "type": "recipient", "deny": [str(target)]})
    assert (await judged(desk, me, raw)).rule == "whom"
    chain.broken = lambda method, said: said | {"value": [None]} if method == "getMultipleAccounts" else said
    verdict = await judged(desk, me, raw)
    assert verdict.reason == "Nobody can tell whom it pays."
    await desk.rules({"name": "sure", "type": "simulation"})
    assert "is no table" in (await judged(desk, me, raw)).reason


async def test_programs_methods_and_what_puts_code_on_the_chain(desk: OtherDesk, chain: Solana, me: Keypair) -> None:
    raw = chain.signed([pay(me.pubkey(), Pubkey.new_unique(), SOL // 100)], me)
    loader = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
    buffer = Keypair()
    deploy = chain.signed([Instruction(loader, bytes(4), [AccountMeta(buffer.pubkey(), False, True)])], me)
    for rule, refused in (
        ({"type": "contract_method", "allow": [f"{SYSTEM}:0x02000000"]}, {deploy}),
        ({"type": "contract_method", "deny": [f"{SYSTEM}:*"]}, {raw}),
        ({"type": "contract_method", "allow": ["transfer"]}, {deploy}),
        ({"type": "contract_creation"}, {deploy}),
        ({"type": "chain_allowlist", "chains": ["litesvm"]}, set()),
        ({"type": "chain_allowlist", "chains": ["solana"], "testnets": True}, {raw, deploy}),
    ):  # fmt: skip
        await desk.rules({"name": "rule", **rule})
        for content in (raw, deploy):
            assert ((await judged(desk, me, content)).rule == "rule") == (content in refused), rule


async def test_a_ceiling_in_micro_lamports_a_compute_unit(desk: OtherDesk, chain: Solana, me: Keypair) -> None:
    await desk.rules({"name": "calm", "type": "gas_price_ceiling", "max_micro_lamports": 1_000},
                     {"name": "else", "type": "gas_price_ceiling", "max_gwei": "0.000000001"})  # fmt: skip
    calls = [pay(me.pubkey(), Pubkey.new_unique(), SOL // 100)]

    def offering(price: int) -> bytes:
        return chain.signed([set_compute_unit_price(price), *calls], me)

    assert (await judged(desk, me, offering(1_000))).granted
    verdict = await judged(desk, me, offering(1_001))
    assert (verdict.code, verdict.rule) == ("gas_too_dear", "calm")
    assert "1,000 micro-lamports" in verdict.reason
    chain.fees = [5_000] * 3  # what others pay for the same accounts
    assert (await judged(desk, me, offering(1))).code == "gas_too_dear"
    chain.fees = [0]
    assert (await judged(desk, me, offering(2))).granted


async def test_who_else_signs_and_who_pays_the_fee(desk: OtherDesk, chain: Solana, me: Keypair) -> None:
    sponsor, target = chain.account(), Pubkey.new_unique()
    raw = chain.signed([pay(me.pubkey(), target, SOL // 100)], sponsor, me)
    async with desk.agent.wallet("litesvm", str(me.pubkey())).transact(raw, intent="Act", wait=0) as tx:
        assert int(tx.verdict.reserved_usd * 10**9) == SOL // 100 * 150  # no fee
        await tx.send()
    await desk.follow()
    assert await desk.spent() == (SOL // 100 * 150, 0)
    chain.expire()
    await desk.own(str(me.pubkey()), str(sponsor.pubkey()))
    raw = chain.signed([pay(sponsor.pubkey(), target, SOL // 100), pay(me.pubkey(), target, 1)], sponsor, me)
    verdict = await judged(desk, me, raw)
    assert (verdict.code, "one wallet of an agent only" in verdict.reason) == ("foreign_wallet", True)


async def test_a_wallet_without_a_transaction_waits_for_nobody(desk: OtherDesk) -> None:
    await desk.rules()
    about = {"resource_type": "wallet_lock", "target_resource": "a-lock", "estimated_cost_usd": 1}
    verdict = await desk.agent.request("Hold it", lock_ttl_seconds=30, **about)
    assert verdict.granted, verdict
    await desk.agent.release(verdict.grant_id)

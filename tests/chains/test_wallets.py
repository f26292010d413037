"""Transactions of an agent's wallet on a real chain: judged, reserved at the bound, sent once, settled by the chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anvil import Anvil
from eth_utils import to_checksum_address  # pyright: ignore[reportUnknownVariableType]
from signing import COIN, GWEI
from wallets import Desk, desk_of, nanos

from aegis_core import Settings, connect_sync
from aegis_core.errors import AegisDenied, ChainError, ConflictError, InvalidRequestError

pytestmark = pytest.mark.timeout(300)
REVERTS = "0x60006000fd"


@pytest.fixture
async def desk(settings: Settings, anvil: Anvil, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_of(settings, anvil, tmp_path) as made:
        yield made


async def denied(desk: Desk, raw: bytes, **how: Any) -> str:
    with pytest.raises(AegisDenied) as refused:
        async with desk.wallet.transact(raw, intent="Pay", wait=0, **how):
            pytest.fail("it was granted")
    return refused.value.verdict.code


@pytest.mark.parametrize("code", ["0x", REVERTS])
@pytest.mark.parametrize("kind", [0, 2])
async def test_what_is_charged_is_what_was_paid(desk: Desk, kind: int, code: str) -> None:
    before = desk.anvil.balance(desk.account.address)
    raw = desk.signed(kind, to=desk.anvil.code(code))
    async with desk.wallet.transact(raw, intent="Pay the invoice") as tx:
        assert tx.verdict.reserved_usd == Decimal(nanos(100_000 * 3 * GWEI + COIN // 1_000)).scaleb(-9)
        assert (await tx.send()).state == "sent"
    desk.anvil.receipt(str(tx.report.hash))
    took = before - desk.anvil.balance(desk.account.address)
    assert took > 0
    assert (await desk.spent())[0] == 0  # it could still be undone
    await desk.end()
    report = await tx.settled(wait=0)
    assert report.state == "settled"
    assert await desk.spent() == (nanos(took), 0)
    assert int(report.charged_usd * 10**9) == nanos(took)


async def test_what_is_not_sent_costs_nothing(desk: Desk) -> None:
    async with desk.wallet.transact(desk.signed(), intent="Think about it"):
        assert (await desk.spent())[1] > 0
    assert await desk.spent() == (0, 0)
    assert desk.anvil.nonce(desk.account.address) == 0


@pytest.mark.concurrent
async def test_the_same_bytes_are_sent_and_charged_once(desk: Desk) -> None:
    raw, before = desk.signed(), desk.anvil.balance(desk.account.address)

    async def pay() -> None:
        async with desk.wallet.transact(raw, intent="Pay") as tx:
            await tx.send()

    await asyncio.gather(*(pay() for _ in range(16)))
    await desk.end()
    assert await desk.spent() == (nanos(before - desk.anvil.balance(desk.account.address)), 0)
    assert desk.anvil.nonce(desk.account.address) == 1


async def test_a_spike_is_refused_and_what_comes_after_it_is_not(desk: Desk) -> None:
    await desk.rules({"name": "calm", "type": "gas_price_ceiling", "max_gwei": 150})
    for gwei, granted in ((100, True), (400, False), (90, True)):
        desk.anvil.base_fee(gwei * GWEI)
        await desk.watch.look()
        raw = desk.signed(maxFeePerGas=500 * GWEI, maxPriorityFeePerGas=GWEI, gas=21_000, value=0)
        if granted:
            async with desk.wallet.transact(raw, intent="Pay") as tx:
                await tx.send()
        else:
            assert await denied(desk, raw) == "gas_too_dear"
    await desk.end()


async def test_what_it_offers_above_the_base_fee_counts(desk: Desk) -> None:
    await desk.rules({"name": "calm", "type": "gas_price_ceiling", "max_gwei": 150})
    tip = {"maxFeePerGas": 500 * GWEI, "maxPriorityFeePerGas": 200 * GWEI, "gas": 21_000}
    assert await denied(desk, desk.signed(**tip)) == "gas_too_dear"
    assert await denied(desk, desk.signed(0, gasPrice=151 * GWEI, gas=21_000)) == "gas_too_dear"


async def test_gas_that_nobody_watches_any_more_is_stale(settings: Settings, anvil: Anvil, tmp_path: Path) -> None:
    async with desk_of(settings, anvil, tmp_path, gas_seconds=0.5) as desk:
        while await denied_or_not(desk) != "gas_stale":  # noqa: ASYNC110 - no event tells of what does not happen
            await asyncio.sleep(0.05)


async def denied_or_not(desk: Desk) -> str:
    try:
        async with desk.wallet.transact(desk.signed(), intent="Pay", wait=0):
            return "granted"
    except AegisDenied as refused:
        return refused.verdict.code


async def test_gas_that_nobody_ever_saw_is_unknown(desk: Desk) -> None:
    store = desk.port.transactions.store
    await desk.port._ledger.store.command("DEL", store._key("g:eip155:31337"))
    assert await denied(desk, desk.signed()) == "gas_unknown"


async def test_who_does_not_hold_the_lease_writes_no_price(desk: Desk) -> None:
    from aegis_core.store.chains import ChainStore

    stranger = ChainStore(desk.port._ledger)
    assert not (await stranger.hold(10))[0]
    written = await stranger.put_gas("eip155:31337", price=1, block=1, block_at=1, sources=1, usd="1")
    assert not written
    gas = await stranger.gas("eip155:31337")
    assert gas is not None
    assert gas.price > 1


async def test_only_wallets_of_the_profile_are_its_own(desk: Desk) -> None:
    await desk.own("0x" + "12" * 20)
    assert await denied(desk, desk.signed()) == "foreign_wallet"
    await desk.own(f"eip155:1:{desk.account.address}")
    assert await denied(desk, desk.signed()) == "foreign_wallet"
    await desk.own(f"eip155:31337:{desk.account.address}")
    async with desk.wallet.transact(desk.signed(), intent="Pay"):
        pass


async def test_bytes_of_another_account_or_chain_are_refused_at_once(desk: Desk) -> None:
    other = desk.anvil.account()
    for raw, problem in (
        (desk.signed(account=other), "signed by"), (desk.signed(chainId=1), "is for eip155:1"), (b"", "is empty"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequestError, match=problem):
            async with desk.wallet.transact(raw, intent="Pay"):
                pass
    with pytest.raises(InvalidRequestError, match="did you mean anvil"):
        async with desk.agent.wallet("anvi", desk.account.address).transact(desk.signed(), intent="Pay"):
            pass


async def test_what_was_sent_is_neither_given_back_nor_settled_by_word(desk: Desk) -> None:
    async with desk.wallet.transact(desk.signed(), intent="Pay") as tx:
        await tx.send()
    for act in (desk.agent.release(tx.grant_id), desk.agent.settle(tx.grant_id, cost_usd=0)):
        with pytest.raises(ConflictError) as refused:
            await act
        assert refused.value.code == "transaction_sent"
    await desk.end()
    assert (await desk.spent())[0] > 0


async def test_what_nodes_refuse_costs_nothing_and_leaves_its_nonce(desk: Desk) -> None:
    poor = desk.anvil.account(0)
    await desk.own(desk.account.address, poor.address)
    wallet = desk.agent.wallet("anvil", poor.address)
    with pytest.raises(ChainError) as refused:
        async with wallet.transact(desk.signed(account=poor), intent="Pay") as tx:
            await tx.send()
    assert refused.value.facts["reason"] == "refused"
    assert await desk.spent() == (0, 0)
    desk.anvil.rpc("anvil_setBalance", poor.address, hex(COIN))
    async with wallet.transact(desk.signed(account=poor, value=0), intent="Pay") as tx:
        await tx.send()
    await desk.end()


async def test_a_used_nonce_is_refused_unless_it_is_meant(desk: Desk) -> None:
    desk.anvil.rpc("evm_setAutomine", False)
    try:
        first = desk.signed(nonce=0)
        second = desk.signed(nonce=0, maxFeePerGas=9 * GWEI, maxPriorityFeePerGas=5 * GWEI)
        async with desk.wallet.transact(first, intent="Pay") as one:
            await one.send()
        async with desk.wallet.transact(second, intent="Pay faster") as two:
            with pytest.raises(ConflictError) as refused:
                await two.send()
            assert refused.value.facts["next_nonce"] == 1
            await two.send(replaces=True)
    finally:
        desk.anvil.rpc("evm_setAutomine", True)
    before = COIN * 10
    await desk.end()
    assert (await one.settled(0)).charged_usd == 0  # the other took its place
    assert await desk.spent() == (nanos(before - desk.anvil.balance(desk.account.address)), 0)


async def test_a_grant_that_expired_is_corrected_once_its_transaction_is_final(
    settings: Settings, anvil: Anvil, tmp_path: Path
) -> None:
    short = settings.model_copy(update={"grant_seconds": 1.0, "max_grant_seconds": 1.0})
    async with desk_of(short, anvil, tmp_path) as desk:
        before = anvil.balance(desk.account.address)
        async with desk.wallet.transact(desk.signed(), intent="Pay") as tx:
            await tx.send()
        bound = int(tx.verdict.reserved_usd * 10**9)
        while (await desk.port._ledger.look(tx.grant_id[3:]))[0].state == "G":  # noqa: ASYNC110 - its deadline passes
            await asyncio.sleep(0.05)
        assert await desk.spent() == (bound, 0)  # nobody watched, so it is charged at its bound
        await desk.end()
        assert await desk.spent() == (nanos(before - anvil.balance(desk.account.address)), 0)


@pytest.mark.concurrent
async def test_many_who_follow_one_transaction_do_no_harm(desk: Desk) -> None:
    """One settles it; the others find nothing left to follow, which is no error of theirs."""
    before = desk.anvil.balance(desk.account.address)
    async with desk.wallet.transact(desk.signed(), intent="Pay") as tx:
        await tx.send()
    desk.anvil.receipt(str(tx.report.hash))
    desk.anvil.finalize()
    transactions, key = desk.port.transactions, tx.grant_id[3:]
    reports = await asyncio.gather(*(tx.settled(wait=5) for _ in range(4)), *(transactions.follow(key) for _ in "four"))
    assert {report.state for report in reports if report} == {"settled"}
    assert await desk.spent() == (nanos(before - desk.anvil.balance(desk.account.address)), 0)


async def test_who_said_that_it_sends_and_died_has_it_sent_by_another(desk: Desk) -> None:
    """What a process leaves that is killed after it said that it sends, and before it did."""
    from aegis_core.store.verbs import Follow

    raw = desk.signed()
    verdict = None
    async with desk.wallet.transact(raw, intent="Pay") as tx:
        await desk.port.transactions.store.follow(Follow(tx.grant_id[3:], "sending", raw=raw))
        verdict = tx.verdict
        tx.report = object()  # type: ignore[assignment] # as far as this process knows, it was sent
    assert desk.anvil.nonce(desk.account.address) == 0
    await desk.end()
    assert desk.anvil.nonce(desk.account.address) == 1
    assert (await desk.spent())[1] == int(verdict.reserved_usd * 10**9)
    before = 10 * COIN
    await desk.end()
    assert await desk.spent() == (nanos(before - desk.anvil.balance(desk.account.address)), 0)


TOKEN = to_checksum_address("0x" + "ab" * 20)


@pytest.mark.parametrize(
    ("rule", "refused", "granted"),
    [
        ({"type": "chain_allowlist", "chains": ["monad"]}, {}, None),
        ({"type": "chain_allowlist", "chains": ["anvil"]}, None, {}),
        ({"type": "chain_allowlist", "testnets": True}, None, {}),
        ({"type": "contract_creation", "networks": "test"}, {"to": "", "data": "0x00", "gas": 90_000}, {}),
        ({"type": "contract_creation", "networks": "main"}, None, {"to": "", "data": "0x00", "gas": 90_000}),
        ({"type": "recipient", "allow": [TOKEN]}, {}, {"to": TOKEN}),
        ({"type": "recipient", "allow": [f"eip155:1:{TOKEN}"]}, {"to": TOKEN}, None),
        ({"type": "recipient", "deny": [TOKEN]}, {"to": TOKEN}, {}),
        ({"type": "contract_method", "allow": ["transfer", f"{TOKEN}:0xa9059cbb"]},
         {"to": TOKEN, "data": "0x095ea7b3"}, {"to": TOKEN, "data": "0xa9059cbb00"}),
        ({"type": "contract_method", "deny": ["0x095ea7b3"]}, {"data": "0x095ea7b3"}, {"data": "0xa9059cbb"}),
        ({"type": "max_outflow", "limit_usd": 2}, {"value": COIN // 1_000 + 1}, {"value": COIN // 1_000}),
        ({"type": "max_outflow", "limit_usd": 2}, None, {"value": 0, "data": "0xa9059cbb"}),
        ({"type": "simulation"}, {"value": 11 * COIN}, {"value": COIN // 10}),
        ({"type": "delegation"}, None, {}),
        ({"type": "asset_limit", "asset": "eth", "max_amount": "0.1"},
         {"to": TOKEN, "value": COIN // 10 + 1}, {"to": TOKEN, "value": COIN // 10}),
        ({"type": "unpriced_asset"}, None, {}),
        ({"type": "max_gas_usd", "limit_usd": "0.6"}, {"gas": 100_001}, {"gas": 100_000}),
    ],
    ids=lambda value: str(value.get("type", ""))[:20] if isinstance(value, dict) else None,
)  # fmt: skip
async def test_rules_on_transactions(
    desk: Desk, rule: dict[str, object], refused: dict[str, Any] | None, granted: dict[str, Any] | None
) -> None:
    await desk.rules({"name": "limit"} | rule)
    if refused is not None:
        raw = desk.signed(**{"to": desk.account.address} | refused)
        assert await denied(desk, raw) == "policy"
    if granted is not None:
        async with desk.wallet.transact(desk.signed(**{"to": desk.account.address} | granted), intent="Pay"):
            pass


async def test_a_request_that_shows_no_transaction_may_be_about_any(desk: Desk) -> None:
    await desk.rules({"name": "limit", "type": "recipient", "deny": [TOKEN]})
    verdict = await desk.agent.request("Pay", resource_type="gas_budget", estimated_cost_usd=1)
    assert (verdict.code, verdict.rule) == ("policy", "limit")
    await desk.rules({"name": "calm", "type": "gas_price_ceiling", "max_gwei": 150})
    verdict = await desk.agent.request("Pay", resource_type="gas_budget", estimated_cost_usd=1)
    assert verdict.code == "gas_unknown"
    verdict = await desk.agent.request("Think", resource_type="llm_tokens", estimated_cost_usd=1)
    assert verdict.granted
    await desk.agent.release(verdict.grant_id)


async def test_a_person_approves_what_it_does(desk: Desk) -> None:
    await desk.rules({"name": "ask", "type": "max_outflow", "limit_usd": 1, "effect": "escalate"})

    async def approve() -> None:
        while not (waiting := await desk.governor.approvals.list()):  # noqa: ASYNC110 - it is in the server
            await asyncio.sleep(0.05)
        assert waiting[0].tool == "wallet.transact"
        await desk.governor.approvals.decide(waiting[0].approval_id, "approve", by="ana")

    approving = asyncio.create_task(approve())
    async with desk.wallet.transact(desk.signed(), intent="Pay") as tx:
        await tx.send()
    await approving
    await desk.end()
    assert (await desk.spent())[0] > 0


async def test_plain_code_sends_as_well(desk: Desk, settings: Settings, tmp_path: Path) -> None:
    raws = [desk.signed(), desk.signed(nonce=1, value=1)]
    found = settings.model_copy(update={"chains_file": tmp_path / "chains.json"})

    def program() -> str:
        with connect_sync(settings=found) as governor:
            wallet = governor.handshake("trader").wallet("anvil", desk.account.address)
            assert wallet.preview(raws[0]).value_usd == 2
            with wallet.transact(raws[0], intent="Pay") as first:
                assert first.send().state == "sent"
            with wallet.transact(raws[1], intent="Think about it") as second:
                assert second.verdict.granted
            desk.anvil.receipt(str(first.report.hash))  # type: ignore[union-attr]
            desk.anvil.finalize()
            return first.settled(wait=60).state

    assert await asyncio.to_thread(program) == "settled"
    took = 10 * COIN - desk.anvil.balance(desk.account.address)
    assert await desk.spent() == (nanos(took), 0)

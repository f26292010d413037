"""Blocks that are undone: what was in them is sent again, and charged once, for what it took in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anvil import COIN, running
from signing import GWEI
from wallets import Desk, desk_of, nanos

from aegis_core import Settings


@pytest.fixture
async def desk(settings: Settings, tmp_path: Path) -> AsyncIterator[Desk]:
    """On a chain of its own, since others' transactions would be undone, too."""
    with running(home=tmp_path) as anvil:
        async with desk_of(settings, anvil, tmp_path) as made:
            yield made


async def test_what_a_block_lost_is_sent_again_and_charged_once(desk: Desk) -> None:
    async with desk.wallet.transact(desk.signed(), intent="Pay the invoice") as tx:
        await tx.send()
    hashed = str(tx.report.hash)
    desk.anvil.receipt(hashed)
    desk.anvil.rpc("anvil_reorg", 1, [])
    assert desk.anvil.rpc("eth_getTransactionReceipt", hashed) is None, "the chain forgot it"
    assert desk.anvil.balance(desk.account.address) == 10 * COIN
    held = int(tx.verdict.reserved_usd * 10**9)
    await desk.end()  # the nodes do not know it: it is sent again
    assert await desk.spent() == (0, held), "it is not final, and its money stays held"
    desk.anvil.receipt(hashed)
    await desk.end()
    assert await desk.spent() == (nanos(10 * COIN - desk.anvil.balance(desk.account.address)), 0)
    assert (await tx.settled(0)).state == "settled"
    assert desk.anvil.nonce(desk.account.address) == 1


async def test_what_took_its_place_in_the_other_blocks_leaves_it_free(desk: Desk) -> None:
    async with desk.wallet.transact(desk.signed(nonce=0), intent="Pay the invoice") as tx:
        await tx.send()
    desk.anvil.receipt(str(tx.report.hash))
    desk.anvil.rpc("anvil_reorg", 1, [])
    other = desk.signed(nonce=0, value=7, maxFeePerGas=9 * GWEI)  # whoever has the key sends it past Aegis
    desk.anvil.receipt(desk.anvil.rpc("eth_sendRawTransaction", "0x" + other.hex()))
    await desk.end()
    assert await desk.spent() == (0, 0)
    assert ((await tx.settled(0)).state, tx.report.charged_usd) == ("settled", 0)


async def test_what_was_mined_anew_in_another_block_costs_what_it_does_there(desk: Desk) -> None:
    """The same transaction, at another price of gas."""
    raw = desk.signed(value=7, maxFeePerGas=12 * GWEI, maxPriorityFeePerGas=GWEI)
    async with desk.wallet.transact(raw, intent="Pay the invoice") as tx:
        await tx.send()
    first = desk.anvil.receipt(str(tx.report.hash))
    desk.anvil.rpc("anvil_reorg", 1, [])
    desk.anvil.base_fee(9 * GWEI)
    desk.anvil.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    second = desk.anvil.receipt(str(tx.report.hash))
    assert int(second["effectiveGasPrice"], 16) > 2 * int(first["effectiveGasPrice"], 16)
    await desk.end()
    assert await desk.spent() == (nanos(10 * COIN - desk.anvil.balance(desk.account.address)), 0)

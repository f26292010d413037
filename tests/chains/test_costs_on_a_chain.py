"""Seven transactions of five types on a real virtual machine: paid is what was reckoned, within what was reserved.

The one with a blob is deep, because the chain takes seconds to prepare its check of blobs.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from anvil import Anvil
from eth_account import Account
from signing import COIN, GWEI, delegation, fields, with_blob

from aegis_core.chains.cost import bound, paid
from aegis_core.chains.profiles import find_profile
from aegis_core.chains.receipts import read_receipt
from aegis_core.chains.transaction import EvmTransaction, decode

PROFILE = find_profile("anvil")
assert PROFILE is not None
REVERTS = "0x60006000fd"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (0, "0x"), (1, "0x"), (2, "0x"), pytest.param(3, "0x", marks=pytest.mark.deep), (4, "0x"),
        (2, REVERTS), (4, REVERTS),
    ],
)  # fmt: skip
def test_paid_is_reckoned(anvil: Anvil, kind: int, code: str) -> None:
    anvil.base_fee(GWEI)
    sender, other = anvil.account(), anvil.account(0)
    changed: dict[str, Any] = {"value": COIN // 7, "to": anvil.code(code) if code != "0x" else other.address}
    if kind == 4:
        changed["authorizationList"] = [delegation(other)]
    said = fields(kind, **changed)
    raw = bytes(sender.sign_transaction(said).raw_transaction)
    if kind == 3:
        raw = with_blob(raw)
    transaction = decode(raw)
    assert transaction.type == kind
    assert transaction.sender == sender.address.lower() == Account.recover_transaction(raw).lower()
    took = sent(anvil, transaction, raw)
    receipt = read_receipt(anvil.rpc("eth_getTransactionReceipt", transaction.hash), str(transaction.hash))
    assert receipt is not None
    assert receipt.success == (code == "0x")
    assert paid(transaction, PROFILE, receipt).total == took
    assert paid(transaction, PROFILE, receipt).within(bound(transaction, PROFILE))


def sent(anvil: Anvil, transaction: EvmTransaction, raw: bytes) -> int:
    """What the account has less for it."""
    before = anvil.balance(transaction.sender)
    assert anvil.rpc("eth_sendRawTransaction", "0x" + raw.hex()) == transaction.hash
    while anvil.rpc("eth_getTransactionReceipt", transaction.hash) is None:  # its block may come a moment later
        time.sleep(0.01)
    return before - anvil.balance(transaction.sender)

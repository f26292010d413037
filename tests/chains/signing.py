"""Transactions of every type, signed by keys that are known to everybody who runs `anvil`."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import rlp
from eth_account import Account

ALICE: Any = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
BOB: Any = Account.from_key("0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
CAROL: Any = Account.from_key("0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a")
GWEI, COIN = 10**9, 10**18
NOTHING = b"\xc0" + bytes(47)
"""The commitment to a blob of zeros, and the proof of it: the point at infinity."""
BLOB_NAME = "0x01" + sha256(NOTHING).digest()[1:].hex()


def fields(kind: int = 2, **changed: Any) -> dict[str, Any]:
    """The fields of a plain transfer of one coin, as a library signs them."""
    said: dict[str, Any] = {
        "chainId": 31337, "nonce": 0, "to": BOB.address, "value": COIN, "data": "0x", "gas": 100_000, "type": kind,
    }  # fmt: skip
    if kind in {0, 1}:
        said["gasPrice"] = 3 * GWEI
    else:
        said |= {"maxFeePerGas": 3 * GWEI, "maxPriorityFeePerGas": GWEI}
    if kind == 0:
        del said["type"]
    if kind == 1:
        said["accessList"] = [{"address": BOB.address, "storageKeys": ["0x" + "00" * 32]}]
    if kind == 3:
        said |= {"maxFeePerBlobGas": 5 * GWEI, "blobVersionedHashes": [BLOB_NAME]}
    if kind == 4:
        said["authorizationList"] = [delegation(CAROL)]
    return said | changed


def delegation(account: Any, *, chain: int = 31337, nonce: int = 0, code: str = BOB.address) -> Any:
    """An account's word that it runs the code of another address."""
    return account.sign_authorization({"chainId": chain, "address": code, "nonce": nonce})


def signed(kind: int = 2, account: Any = ALICE, **changed: Any) -> bytes:
    """The bytes of such a transaction."""
    return bytes(account.sign_transaction(fields(kind, **changed)).raw_transaction)


def with_blob(raw: bytes) -> bytes:
    """A transaction of type 3 as it is sent: beside it a blob of zeros."""
    body: Any = rlp.decode(raw[1:])
    return b"\x03" + rlp.encode([body, [bytes(131_072)], [NOTHING], [NOTHING]])

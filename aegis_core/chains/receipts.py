"""What a node says became of a transaction, as far as its cost goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from aegis_core.chains.quantities import data, mapping, quantity

_BLOCK = 2**63 - 1
_MOST_LOGS = 20_000
_TOPICS_OF_TRANSFER, _WORD_BYTES = 3, 32
_TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


class TokenTransfer(NamedTuple):
    """A transfer as a contract logged it: who believes it, believes that contract. Accounts are in lower case."""

    token: str
    sender: str
    to: str
    amount: int


def net_transfer(token: str, account: str, amount: int) -> TokenTransfer:
    """What an account has more of a token by its balances; a negative amount: less."""
    sender, to = ("", account) if amount >= 0 else (account, "")
    return TokenTransfer(token, sender, to, abs(amount))


@dataclass(frozen=True, slots=True)
class MinedTransaction:
    """A receipt. Two nodes agree on a transaction when theirs are equal.

    Attributes:
        hash, block, block_hash: which one, and where it stands.
        success: false where it was reverted: it pays its gas then, and moves no value.
        gas_used, gas_price: units, and the smallest units of the coin for each.
        blob_gas_used, blob_gas_price: the same of blobs.
        data_fee: what an OP stack took for publishing it; None where the receipt does not say.
        operator_scalar, operator_constant: from which the operator fee of an OP stack is reckoned.
        transfers: of tokens, as they were logged.
    """

    hash: str
    block: int
    block_hash: str
    success: bool
    gas_used: int
    gas_price: int
    blob_gas_used: int = 0
    blob_gas_price: int = 0
    data_fee: int | None = None
    operator_scalar: int = 0
    operator_constant: int = 0
    transfers: tuple[TokenTransfer, ...] = ()


def read_receipt(answer: object, transaction: str) -> MinedTransaction | None:
    """Read the answer to ``eth_getTransactionReceipt``; None where the node knows of no receipt.

    Raises:
        ValueError: it is of another transaction, or a field is missing or of the wrong form.
    """
    if answer is None:
        return None
    said = mapping(answer, "receipt")
    name = "0x" + data(said.get("transactionHash"), "transactionHash", size=32).hex()
    if name != transaction:
        raise ValueError(f"the receipt is of {name}, which was not asked for")
    blobs = said.get("blobGasUsed") is not None  # some nodes name the price of blobs without any
    return MinedTransaction(
        hash=name,
        block=quantity(said.get("blockNumber"), "blockNumber", most=_BLOCK),
        block_hash="0x" + data(said.get("blockHash"), "blockHash", size=32).hex(),
        success=quantity(said.get("status"), "status", most=1) == 1,
        gas_used=quantity(said.get("gasUsed"), "gasUsed", most=2**64 - 1),
        gas_price=quantity(said.get("effectiveGasPrice"), "effectiveGasPrice"),
        blob_gas_used=quantity(said["blobGasUsed"], "blobGasUsed", most=2**64 - 1) if blobs else 0,
        blob_gas_price=quantity(said.get("blobGasPrice"), "blobGasPrice") if blobs else 0,
        data_fee=None if said.get("l1Fee") is None else quantity(said["l1Fee"], "l1Fee"),
        operator_scalar=_given(said.get("operatorFeeScalar"), "operatorFeeScalar"),
        operator_constant=_given(said.get("operatorFeeConstant"), "operatorFeeConstant"),
        transfers=tuple(_transfers(said.get("logs"))),
    )


def _given(value: object, name: str) -> int:
    return 0 if value is None else quantity(value, name, most=2**64 - 1)


def _transfers(logs: object) -> Iterator[TokenTransfer]:
    if logs is None:  # published receipts leave them out
        return
    if not isinstance(logs, list) or len(cast("list[Any]", logs)) > _MOST_LOGS:
        raise ValueError(f"logs is not a list of up to {_MOST_LOGS:,}")
    for each in cast("list[Any]", logs):
        log = mapping(each, "log")
        topics: Any = log.get("topics")
        if not isinstance(topics, list):
            raise ValueError("topics is not a list")
        found = ["0x" + data(topic, "topic", size=32).hex() for topic in cast("list[Any]", topics)]
        if found[:1] != [_TRANSFER] or len(found) != _TOPICS_OF_TRANSFER:
            continue  # with one more it is of something that has no amount
        body = data(log.get("data"), "data")
        if len(body) == _WORD_BYTES:
            token = "0x" + data(log.get("address"), "address", size=20).hex()
            yield TokenTransfer(token, "0x" + found[1][-40:], "0x" + found[2][-40:], int.from_bytes(body))

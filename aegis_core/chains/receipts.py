"""What a node says became of a transaction, as far as its cost goes."""

from __future__ import annotations

from dataclasses import dataclass

from aegis_core.chains.quantities import data, mapping, quantity

_BLOCK = 2**63 - 1


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
    )


def _given(value: object, name: str) -> int:
    return 0 if value is None else quantity(value, name, most=2**64 - 1)

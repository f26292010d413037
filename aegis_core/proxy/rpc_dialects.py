"""What differs between the families of chains that are spoken to by JSON-RPC: one dialect for each."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from aegis_core.chains.solana import base58
from aegis_core.chains.solana.wire import MAX_BYTES
from aegis_core.protocol.accounts import EVM, SOLANA


@dataclass(frozen=True, slots=True)
class RpcDialect:
    """How a family of chains is asked.

    Attributes:
        reading: the methods that are passed on to the nodes of the operator, as they are.
        send: the method that sends signed bytes.
        raw: reads them out of its parameters; raises `ValueError`.
        refused: the code of an error of which clients show the message.
        answers: what is answered here, by method.
    """

    reading: frozenset[str]
    send: str
    raw: Callable[[list[Any]], bytes]
    refused: int
    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _evm_bytes(parameters: list[Any]) -> bytes:
    if len(parameters) != 1 or not isinstance(parameters[0], str):
        raise ValueError("eth_sendRawTransaction takes the signed bytes as 0x…")
    try:
        if parameters[0].startswith("0x"):
            return bytes.fromhex(parameters[0][2:])
    except ValueError:
        pass
    raise ValueError("The signed bytes are not hexadecimal with 0x before them.")


def _solana_bytes(parameters: list[Any]) -> bytes:
    options: Any = parameters[1] if len(parameters) > 1 else {}
    if not 1 <= len(parameters) <= 2 or not isinstance(parameters[0], str) or not isinstance(options, dict):
        raise ValueError("sendTransaction takes the signed bytes as a text, and an object of options.")
    text, encoding = parameters[0], cast("dict[str, Any]", options).get("encoding", "base58")
    try:
        if encoding == "base64":
            return b64decode(text, validate=True)
        if encoding == "base58" and len(text) <= 2 * MAX_BYTES:
            return base58.decode_any(text)
    except ValueError:
        pass
    raise ValueError("The signed bytes are not in base64 or base58, as encoding says.")


DIALECTS: dict[str, RpcDialect] = {
    EVM: RpcDialect(
        frozenset({
            "eth_blockNumber", "eth_call", "eth_chainId", "eth_createAccessList", "eth_estimateGas", "eth_feeHistory",
            "eth_gasPrice", "eth_getBalance", "eth_getBlockByHash", "eth_getBlockByNumber", "eth_getBlockReceipts",
            "eth_getCode", "eth_getLogs", "eth_getStorageAt", "eth_getTransactionByHash", "eth_getTransactionCount",
            "eth_getTransactionReceipt", "eth_maxPriorityFeePerGas", "eth_syncing", "net_version",
        }),
        "eth_sendRawTransaction", _evm_bytes, -32003, {"eth_accounts": []},  # no key is here
    ),
    SOLANA: RpcDialect(
        frozenset({
            "getAccountInfo", "getBalance", "getBlock", "getBlockHeight", "getBlockTime", "getBlocks",
            "getBlocksWithLimit", "getEpochInfo", "getEpochSchedule", "getFeeForMessage", "getFirstAvailableBlock",
            "getGenesisHash", "getHealth", "getLatestBlockhash", "getMinimumBalanceForRentExemption",
            "getMultipleAccounts", "getProgramAccounts", "getRecentPerformanceSamples", "getRecentPrioritizationFees",
            "getSignatureStatuses", "getSignaturesForAddress", "getSlot", "getSupply", "getTokenAccountBalance",
            "getTokenAccountsByDelegate", "getTokenAccountsByOwner", "getTokenLargestAccounts", "getTokenSupply",
            "getTransaction", "getTransactionCount", "getVersion", "getVoteAccounts", "isBlockhashValid",
            "simulateTransaction",
        }),
        # solana-py shows the message of this code and of few others: -32003 it takes for a bad signature.
        "sendTransaction", _solana_bytes, -32602,
    ),
}  # fmt: skip
"""By the namespace of CAIP-2."""

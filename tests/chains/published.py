"""Receipts of real transactions, as others published them; only what the cost depends on is kept.

The hash names the transaction on any explorer of its chain.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Published(NamedTuple):
    source: str
    chain: str
    fees: int
    """What the sender paid beside the value, in wei: worked out by hand from the fields."""
    receipt: dict[str, Any]


BLOCK = {"blockNumber": "0x51c6d4", "blockHash": "0x" + "dd" * 32, "status": "0x1"}

RECEIPTS = {
    "blob at a low price of gas": Published(
        "a guide to blobs on Sepolia that links https://sepolia.etherscan.io/tx/0x50dc1e2e…",
        "sepolia",
        21_000 * 98_182_511 + 131_072 * 34_468_375_521,
        BLOCK | {
            "transactionHash": "0x50dc1e2ec14cafb5acac600debe7b8765c73cbb7105ea33121284c3538ffbbc6", "type": "0x3",
            "gasUsed": "0x5208", "effectiveGasPrice": "0x5da256f",
            "blobGasUsed": "0x20000", "blobGasPrice": "0x80679abe1",
        },
    ),
    "blob at a high price of gas": Published(
        "the same guide, https://sepolia.etherscan.io/tx/0x158173e2…",
        "sepolia",
        21_000 * 114_721_173_031 + 131_072 * 18_391_084_153,
        BLOCK | {
            "transactionHash": "0x158173e2e27938f0605232e32f5fd524506439b7555d027b273bb70d07a3c899", "type": "0x3",
            "gasUsed": "0x5208", "effectiveGasPrice": "0x1ab5ea2e27",
            "blobGasUsed": "0x20000", "blobGasPrice": "0x44831ac79",
        },
    ),
    "attestation on an OP stack": Published(
        "QuickNode's example of an alert on EAS, OP Mainnet",
        "optimism",
        483_982 * 4_351_145 + 111_335_923_131_039,
        BLOCK | {
            "transactionHash": "0x437144950c3e31bc70e3deea02d2c87dc8ece5c3e076764fdafd2136ab701151", "type": "0x2",
            "gasUsed": "0x7628e", "effectiveGasPrice": "0x4264a9",
            "l1Fee": "0x65426a26229f", "l1FeeScalar": "0.684", "l1GasPrice": "0x46d67f742", "l1GasUsed": "0x2170",
        },
    ),
    "data fee that is 257 times the gas": Published(
        "https://www.quicknode.com/docs/worldchain/eth_getTransactionReceipt",
        "worldchain",
        90_126_400_000 + 23_143_577_256_016,
        BLOCK | {
            "transactionHash": "0x" + "8c" * 32, "gasUsed": "0xdc090", "effectiveGasPrice": "0x186a0",
            "l1Fee": "0x150c88b38050", "l1BaseFeeScalar": "0x21f9", "l1BlobBaseFee": "0x4d137e31b",
            "l1BlobBaseFeeScalar": "0xc5f4f", "l1GasPrice": "0x32a3ed345", "l1GasUsed": "0x4d7c",
        },
    ),
    "data fee within the gas": Published(
        "https://docs.getblock.io/api-reference/arbitrum-arb/arbitrum_eth_gettransactionreceipt, Arbitrum One",
        "arbitrum",
        1_676_247 * 100_000_000,
        BLOCK | {
            "transactionHash": "0x21be7a93a4531a76b1e15d14059582e6b6f9e36cbdc7a85c23667808f4c78b2c",
            "gasUsed": "0x1993d7", "effectiveGasPrice": "0x5f5e100", "gasUsedForL1": "0x113076",
        },
    ),
    "another chain of Nitro": Published(
        "https://www.quicknode.com/docs/robinhood/eth_getTransactionReceipt, Robinhood Chain",
        "arbitrum-sepolia",
        35_221 * 20_002_000,
        BLOCK | {
            "transactionHash": "0x" + "d2" * 32, "gasUsed": "0x8995", "effectiveGasPrice": "0x13134d0",
            "gasUsedForL1": "0x871",
        },
    ),
}  # fmt: skip

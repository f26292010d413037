"""What is known of each chain: which fees it takes beside gas, when a block is final, whether it is a test network.

Chains are named by CAIP-2 (``eip155:1``). A chain without a profile is refused, because nobody knows its extra fees;
an operator's file of chains may describe one (see `configuration`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, get_args

from aegis_core.protocol.errors import InvalidRequestError

FeeModel = Literal["ethereum", "monad", "op_stack", "nitro", "solana", "sui"]
"""``ethereum``: gas used at the effective price, and blobs. ``monad``: the gas limit at that price, whatever was used.
``op_stack``: as Ethereum, and on top a data fee and an operator fee that no signature caps. ``nitro``: as Ethereum; the
data fee is inside the gas that is used. ``solana``: by signatures, and by the units that are asked for. ``sui``:
computation and storage, less what is given back for storage that is freed."""
FEE_MODELS: tuple[FeeModel, ...] = get_args(FeeModel)

OperatorFee = Literal["isthmus", "jovian"]
"""The versions of the OP stack's operator fee: the scalar is divided by 1,000,000, or multiplied by 100."""

Finality = Literal["finalized", "latest"]
"""The tag of the newest block that cannot be undone any more. ``latest`` suits networks that never reorganise."""

ALL_TYPES = frozenset(range(5))
NO_BLOBS = ALL_TYPES - {3}


@dataclass(frozen=True, slots=True)
class ChainProfile:
    """One chain.

    Attributes:
        id: its name by CAIP-2.
        name: its name here.
        symbol: of its native coin.
        testnet: whether its coin is worth nothing.
        fees: how a transaction is charged.
        block_seconds: about how often there is a block.
        stale_seconds: how old the newest block may be before a node is taken to have fallen behind.
        types: the types of transactions that it takes.
        finality: the tag of what cannot be undone.
        most_gas: the most gas of one transaction; None where only the block's limit bounds it.
        operator_fee: the version of the operator fee, of an OP stack.
        decimals: of the smallest unit of its coin.
    """

    id: str
    name: str
    symbol: str
    testnet: bool = False
    fees: FeeModel = "ethereum"
    block_seconds: float = 12
    stale_seconds: float = 120
    types: frozenset[int] = ALL_TYPES
    finality: Finality = "finalized"
    most_gas: int | None = None
    operator_fee: OperatorFee = "jovian"
    decimals: int = 18

    @property
    def family(self) -> str:
        """The namespace of its id: the kind of chain that it is."""
        return self.id.partition(":")[0]

    @property
    def reference(self) -> str:
        """What tells it apart from the others of its kind."""
        return self.id.partition(":")[2]

    @property
    def number(self) -> int:
        """The chain id that transactions of the EVM are signed for."""
        return int(self.id.removeprefix("eip155:"))

    def wallet(self, address: str) -> str:
        """An account on this chain by CAIP-10, as `account` writes it: also the name of its lock."""
        return f"{self.id}:{address}"


def _op_stack(number: int, name: str, *, testnet: bool = False) -> ChainProfile:
    return ChainProfile(
        f"eip155:{number}", name, "ETH", testnet, "op_stack", block_seconds=2, stale_seconds=60, types=NO_BLOBS
    )


def _nitro(number: int, name: str, *, testnet: bool = False) -> ChainProfile:
    # Without traffic it makes no blocks.
    return ChainProfile(
        f"eip155:{number}", name, "ETH", testnet, "nitro", block_seconds=1, stale_seconds=300, types=NO_BLOBS
    )


def _monad(number: int, name: str, *, testnet: bool = False) -> ChainProfile:
    return ChainProfile(
        f"eip155:{number}", name, "MON", testnet, "monad", block_seconds=0.4, stale_seconds=30, types=NO_BLOBS,
        most_gas=30_000_000,
    )  # fmt: skip


def _polygon(number: int, name: str, *, testnet: bool = False) -> ChainProfile:
    return ChainProfile(f"eip155:{number}", name, "POL", testnet, block_seconds=2, stale_seconds=60, types=NO_BLOBS)


def _solana(genesis: str, name: str, *, testnet: bool = False) -> ChainProfile:
    return ChainProfile(
        f"solana:{genesis}", name, "SOL", testnet, "solana", block_seconds=0.4, stale_seconds=60, decimals=9
    )


def _sui(genesis: str, name: str, *, testnet: bool = False) -> ChainProfile:
    return ChainProfile(f"sui:{genesis}", name, "SUI", testnet, "sui", block_seconds=0.3, stale_seconds=60, decimals=9)


PROFILES: tuple[ChainProfile, ...] = (
    ChainProfile("eip155:1", "ethereum", "ETH"),
    ChainProfile("eip155:11155111", "sepolia", "ETH", testnet=True),
    ChainProfile("eip155:560048", "hoodi", "ETH", testnet=True),
    _monad(143, "monad"),
    _monad(10143, "monad-testnet", testnet=True),
    _op_stack(10, "optimism"),
    _op_stack(11155420, "optimism-sepolia", testnet=True),
    _op_stack(8453, "base"),
    _op_stack(84532, "base-sepolia", testnet=True),
    _op_stack(480, "worldchain"),
    _nitro(42161, "arbitrum"),
    _nitro(421614, "arbitrum-sepolia", testnet=True),
    _polygon(137, "polygon"),
    _polygon(80002, "polygon-amoy", testnet=True),
    _solana("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "solana"),
    _solana("EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "solana-devnet", testnet=True),
    _solana("4uhcVJyU9pJkvQyS88uRDiswHXSGkcQ3", "solana-testnet", testnet=True),
    _sui("35834a8a", "sui"),
    _sui("4c78adac", "sui-testnet", testnet=True),
    ChainProfile("eip155:31337", "anvil", "ETH", testnet=True, block_seconds=1),
)
"""The chains that are known without a word of the operator."""

_KNOWN = {name.lower(): profile for profile in PROFILES for name in (profile.name, profile.id)}


def find_profile(chain: str) -> ChainProfile | None:
    """The profile of a chain, by its name here or by CAIP-2."""
    return _KNOWN.get(chain.lower())


def unknown_chain(chain: str, known: tuple[str, ...]) -> InvalidRequestError:
    """The error for a chain that is not among the `known`."""
    close = difflib.get_close_matches(chain.lower(), known, 1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"
    problem = f"{chain!r} is not a chain that its operator has set up; {hint}"
    return InvalidRequestError(f"chain: {problem}", field="chain", problem=problem)

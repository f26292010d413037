"""What is said of chains to whoever asks: the price of gas that decisions go by, and what a transaction would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from aegis_core.protocol.fields import Usd
from aegis_core.protocol.parsing import Message
from aegis_core.protocol.transactions import TransactionFacts


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """A chain as decisions see it now. Unknown is null, and then nothing is sent there.

    `gas_price_wei` is the base fee, as text, because JSON numbers are not exact; on Solana it is micro-lamports for a
    compute unit, on Sui MIST, as `gas_unit` says. `age_seconds`: since it was written; `sources`: so many nodes stand
    behind it. `coin_usd`: dollars for a coin.
    """

    chain: str
    id: str
    testnet: bool
    coin: str
    coin_usd: Usd | None
    gas_price_wei: str | None
    block: int | None
    age_seconds: float | None
    sources: int | None
    gas_unit: str


@dataclass(slots=True)
class ChainStatuses:
    """All chains that the operator set up."""

    chains: tuple[ChainStatus, ...]


class QuoteTransaction(Message):
    """Ask what a signed transaction can cost, and would do. Nothing is reserved, and nothing sent.

    `transaction`: the signed bytes in hexadecimal; on Solana and Sui they may be unsigned.
    """

    chain: Annotated[str, Field(min_length=1, max_length=64)]
    transaction: Annotated[str, Field(max_length=2_700_000)]


@dataclass(slots=True)
class TransactionPreview:
    """What a signed transaction can cost, and would do.

    `fees_usd`, `value_usd`: the most that it takes of the coin. `reserves_usd`: what would be held for it, tokens as
    well. `fees_wei` and `value_wei` are texts, on Solana of lamports, on Sui of MIST.
    """

    fees_wei: str
    value_wei: str
    coin_usd: Usd
    fees_usd: Usd
    value_usd: Usd
    reserves_usd: Usd
    transaction: TransactionFacts

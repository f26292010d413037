"""Bytes that somebody wants to send, read by their chain: what is judged, reserved and watched of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import NamedTuple

from aegis_core.chains.book import Chain
from aegis_core.chains.cost import NativeCost, to_nanos
from aegis_core.chains.other import OtherChain
from aegis_core.chains.transaction import decode
from aegis_core.governor.transaction_facts import described_facts, facts_of, shown_of
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.transactions import TransactionFacts

_MOST_NONCE = 2**53 - 1


class AskedTransaction(NamedTuple):
    """A transaction before it is judged.

    `request`: the same for the same bytes. `hash`: what the grant is given for. `until`: as of `SentTransaction`.
    `usd`: dollars for a coin. `shown`: what a person sees, and approves.
    """

    request: str
    hash: str
    nonce: int
    gas: int
    value: int
    until: int
    most: NativeCost
    usd: Decimal
    facts: TransactionFacts
    shown: dict[str, object]

    def nanos(self, decimals: int) -> int:
        """Nano-dollars of the most that it takes."""
        return to_nanos(max(0, self.most.total), self.usd, decimals)


async def asked_of(
    chain: Chain, raw: bytes, wallet: str, coin: Callable[[], Awaitable[Decimal]], now: float
) -> AskedTransaction:
    """Read bytes.

    Args:
        chain: what they are for.
        raw: the bytes.
        wallet: whose money it is, as its agent writes it.
        coin: says dollars for a coin.
        now: seconds since 1970.

    Raises:
        InvalidRequestError: they cannot be read, or are of another account or chain.
        ChainError: what has to be known of them is not.
    """
    if isinstance(chain, OtherChain):
        said = await chain.describe(raw, chain.account(wallet))
        usd = await coin()
        return AskedTransaction(
            said.request, said.hash, 0, 0, 0, said.until, said.cost, usd, await described_facts(chain, said, usd, now),
            dict(said.shown),
        )  # fmt: skip
    transaction = await asyncio.to_thread(decode, raw)
    if transaction.sender != chain.account(wallet):
        problem = f"it was signed by {transaction.sender}, not by this account"
        raise InvalidRequestError(f"wallet: {problem}", field="wallet", problem=problem)
    nonce, name = transaction.nonce or 0, transaction.hash or "0x"
    if nonce > _MOST_NONCE:
        raise InvalidRequestError("transaction: has a nonce above 2^53", field="transaction", problem="nonce")
    most = await chain.bound(transaction)
    usd = await coin()
    return AskedTransaction(
        name[2:], name, nonce, transaction.gas, transaction.value, 0, most, usd,
        await facts_of(chain, transaction, most, usd, now), shown_of(chain, transaction),
    )  # fmt: skip

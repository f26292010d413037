"""What is seen of chains without a decision: gas as transactions are judged by it, and what one would do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

from aegis_core.chains.book import Chain, Chains
from aegis_core.chains.cost import NativeCost, to_nanos
from aegis_core.chains.other import OtherChain
from aegis_core.chains.transaction import decode
from aegis_core.chains.units import GAS_UNITS
from aegis_core.governor.token_money import to_hold
from aegis_core.governor.transaction_facts import described_facts, facts_of
from aegis_core.protocol.chains import ChainStatus, TransactionPreview
from aegis_core.protocol.money import to_usd
from aegis_core.protocol.transactions import TransactionFacts
from aegis_core.store.chains import ChainStore


async def statuses(chains: Chains, store: ChainStore, now: float) -> AsyncIterator[ChainStatus]:
    """Each chain as who watches it wrote it last. `now`: seconds since 1970, by the server's clock."""
    for chain in chains:
        gas, profile = await store.gas(chain.profile.id), chain.profile
        usd = chain.setup.usd
        if usd is None and gas is not None and gas.usd is not False:
            usd = Decimal(gas.usd)
        yield ChainStatus(
            profile.name, profile.id, profile.testnet, profile.symbol, usd, str(gas.price) if gas else None,
            gas.block if gas else None, max(0.0, round(now - gas.at / 1000, 1)) if gas else None,
            gas.sources if gas else None, GAS_UNITS[profile.family],
        )  # fmt: skip


async def previewed(chain: Chain, raw: bytes, usd: Decimal, now: float) -> TransactionPreview:
    """What signed bytes can cost, and would do. `usd`: dollars for a coin; `now`: seconds since 1970. Where several
    sign them, it is said of who pays for them.

    Raises:
        InvalidRequestError: they cannot be read, or are of another chain.
        ChainError: fees that they do not cap are not known.
    """
    if isinstance(chain, OtherChain):
        said = await chain.describe(raw, chain.wallets_of(raw)[0])
        return preview_of(await described_facts(chain, said, usd, now), said.cost, usd, chain.profile.decimals)
    transaction = decode(raw)
    most = await chain.bound(transaction)
    return preview_of(await facts_of(chain, transaction, most, usd, now), most, usd)


def preview_of(facts: TransactionFacts, most: NativeCost, usd: Decimal, decimals: int = 18) -> TransactionPreview:
    """The same of what is known already."""
    fees, value, total = (to_nanos(amount, usd, decimals) for amount in (most.fees, most.value, most.total))
    return TransactionPreview(
        str(most.fees), str(most.value), usd, to_usd(fees), to_usd(value), to_usd(to_hold(facts, total)), facts
    )

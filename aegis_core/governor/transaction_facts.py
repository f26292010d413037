"""What the decision, and a person who is asked, see of a transaction: what is signed, and what it would do, in dollars.

What is signed bounds a loss: the coin that goes along, and what the wallet has allowed others to take. A simulation can
add to that, and never takes away from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from aegis_core.chains.book import Chain
from aegis_core.chains.cost import NativeCost, to_nanos
from aegis_core.chains.described import DescribedTransaction
from aegis_core.chains.quantities import JUDGED
from aegis_core.chains.simulation import COIN_ASSET, Simulation
from aegis_core.chains.swaps import SignedSwap, signed_swap
from aegis_core.chains.transaction import EvmTransaction
from aegis_core.protocol.errors import ChainError
from aegis_core.protocol.money import MAX_NANOS, NANOS_PER_USD, to_usd
from aegis_core.protocol.transactions import (
    PLAIN_TRANSFER,
    ApprovalMade,
    AssetMove,
    SimulationFacts,
    SwapFacts,
    TransactionFacts,
)

_MOST_SHOWN = 16


class PricedAsset:
    """An asset, its smallest units, and dollars for a whole one, where they are known."""

    def __init__(self, symbol: str | None, decimals: int, usd: Decimal | None) -> None:
        self.symbol, self._decimals, self._usd = symbol, decimals, usd

    def text(self, amount: int) -> str:
        """An amount in whole units."""
        return f"{Decimal(amount).scaleb(-self._decimals).normalize():f}" if amount else "0"

    def nanos(self, amount: int, *, up: bool) -> int | None:
        """Nano-dollars of an amount; None where nobody knows them."""
        if self._usd is None:
            return None
        exact = Fraction(amount) * Fraction(self._usd) * NANOS_PER_USD / 10**self._decimals
        return min(MAX_NANOS, -(-exact.numerator // exact.denominator) if up else int(exact))


Assets = Mapping[str, PricedAsset]
_UNKNOWN = PricedAsset(None, 0, None)


async def facts_of(
    chain: Chain, transaction: EvmTransaction, most: NativeCost, usd: Decimal, now: float
) -> TransactionFacts:
    """All that is known of a transaction before it is judged.

    Args:
        chain: its chain.
        transaction: what is signed.
        most: what it can take at most of the coin.
        usd: dollars for a coin.
        now: seconds since 1970.
    """
    profile, value = chain.profile, to_nanos(most.value, usd)
    plain = not transaction.data and not transaction.authorizations
    simulation, problem, out = None, None, value if plain else None
    swap = signed_swap(transaction, chain.setup.routers)
    about = {swap.sold, swap.bought} if swap else set[str]()
    try:
        found = await chain.simulate(transaction)
    except ChainError as error:
        problem, assets = error.message[:300], await _assets(chain, about, usd, now)
    else:
        about |= {asset for asset, _ in (*found.deltas, *found.standing)}
        about |= {each.token for each in found.approvals}
        assets = await _assets(chain, about, usd, now)
        simulation, leaves = _priced(found, assets)
        if found.success:
            out = None if leaves is None else max(leaves, value)
    return TransactionFacts(
        chain=profile.id, name=profile.name, testnet=profile.testnet, wallet=profile.wallet(transaction.sender),
        to=transaction.to, creates=transaction.to is None, delegates=bool(transaction.authorizations),
        method=f"0x{transaction.data[:4].hex()}" if transaction.data else PLAIN_TRANSFER,
        gas_usd=to_usd(to_nanos(most.fees, usd)), outflow_usd=None if out is None else to_usd(out),
        core=transaction.core, hash=transaction.hash or "", nonce=transaction.nonce or 0,
        max_fee=min(transaction.max_fee, JUDGED), priority_fee=min(transaction.priority_fee, JUDGED),
        stale_ms=int(chain.setup.gas_seconds * 1000), swap=_swap_facts(swap, assets), simulation=simulation,
        simulation_problem=problem,
    )  # fmt: skip


async def described_facts(
    chain: Chain, transaction: DescribedTransaction, usd: Decimal, now: float
) -> TransactionFacts:
    """The same for a chain that is not of the EVM. Arguments as of `facts_of`."""
    profile, most, found = chain.profile, transaction.cost, transaction.simulation
    decimals, simulation = profile.decimals, None
    value = to_nanos(max(0, most.value), usd, decimals)
    out = value if transaction.plain else None
    if found is not None:
        about = {asset for asset, _ in (*found.deltas, *found.standing)} | {each.token for each in found.approvals}
        simulation, leaves = _priced(replace(found, at=int(now)), await _assets(chain, about, usd, now))
        if found.success:
            out = None if leaves is None else max(leaves, value)
    method = PLAIN_TRANSFER if transaction.plain else next(iter(transaction.calls), "commands")
    return TransactionFacts(
        chain=profile.id, name=profile.name, testnet=profile.testnet, wallet=profile.wallet(transaction.wallet),
        cosigners=tuple(map(profile.wallet, transaction.cosigners)), to=transaction.to, calls=transaction.calls,
        recipients=transaction.recipients, lasting=transaction.lasting, creates=transaction.creates,
        delegates=transaction.delegates, method=method,
        gas_usd=to_usd(to_nanos(max(0, most.fees), usd, decimals)), outflow_usd=None if out is None else to_usd(out),
        core=transaction.core, hash=transaction.request, nonce=0, max_fee=transaction.max_fee,
        priority_fee=transaction.priority_fee, stale_ms=int(chain.setup.gas_seconds * 1000), simulation=simulation,
        simulation_problem=transaction.problem,
    )  # fmt: skip


def _swap_facts(swap: SignedSwap | None, assets: Assets) -> SwapFacts | None:
    if swap is None:
        return None
    sold, bought = assets.get(swap.sold, _UNKNOWN), assets.get(swap.bought, _UNKNOWN)
    takes, least = sold.nanos(swap.amount, up=True), bought.nanos(swap.least, up=False)
    return SwapFacts(
        sells=f"{sold.text(swap.amount)} {sold.symbol or swap.sold}",
        takes_usd=None if takes is None else to_usd(takes),
        buys=f"{bought.text(swap.least)} {bought.symbol or swap.bought}", least_usd=to_usd(least or 0),
    )  # fmt: skip


async def _assets(chain: Chain, about: Collection[str], usd: Decimal, now: float) -> Assets:
    """The prices of what it is about."""
    assets = {COIN_ASSET: PricedAsset(chain.profile.symbol, chain.profile.decimals, usd)}
    for token in chain.setup.tokens:
        if token.address in about:
            try:
                price = await chain.price_of(token, now)
            except ChainError:
                price = None
            assets[token.address] = PricedAsset(token.symbol, token.decimals, price)
    return assets


def _priced(found: Simulation, assets: Assets) -> tuple[SimulationFacts, int | None]:
    """A simulation in dollars, and what can leave the wallet by it (nano-dollars); None: nobody knows."""
    out, into, unpriced = 0, 0, list(found.unread)
    standing, moves = dict(found.standing), list[AssetMove]()
    for asset, delta in found.deltas:
        of = assets.get(asset, _UNKNOWN)
        nanos = of.nanos(abs(delta), up=delta < 0)
        usd = None if nanos is None else to_usd(nanos)
        moves.append(AssetMove(asset=asset, symbol=of.symbol, amount=of.text(delta), usd=usd))
        if delta > 0:
            into += nanos or 0
    losses = {asset: -delta for asset, delta in found.deltas if delta < 0}
    for asset in sorted({*losses, *standing}):
        nanos = assets.get(asset, _UNKNOWN).nanos(max(losses.get(asset, 0), standing.get(asset, 0)), up=True)
        if nanos is None:
            unpriced.append(asset)
        out += nanos or 0
    lost = sum(assets.get(asset, _UNKNOWN).nanos(amount, up=True) or 0 for asset, amount in losses.items())
    known = not unpriced
    facts = SimulationFacts(
        success=found.success, reason=found.reason, gas=found.gas, moves=tuple(moves[:_MOST_SHOWN]),
        approvals=tuple(_approvals(found, assets)), creates=found.creates, unpriced=tuple(unpriced[:_MOST_SHOWN]),
        inflow_usd=to_usd(min(into, MAX_NANOS)), slippage_usd=to_usd(max(0, lost - into)) if known else None,
        block=found.block, at=found.at,
    )  # fmt: skip
    return facts, min(out, MAX_NANOS) if known else None


def _approvals(found: Simulation, assets: Assets) -> list[ApprovalMade]:
    made: list[ApprovalMade] = []
    for each in sorted(found.approvals, key=lambda approval: not approval.unlimited)[:_MOST_SHOWN]:
        of = assets.get(each.token, _UNKNOWN)
        nanos = None if each.amount is None or each.unlimited else of.nanos(each.amount, up=True)
        made.append(
            ApprovalMade(
                token=each.token, symbol=of.symbol, spender=each.spender, unlimited=each.unlimited,
                amount=None if each.amount is None else of.text(each.amount),
                usd=None if nanos is None else to_usd(nanos),
            )
        )  # fmt: skip
    return made


def shown_of(chain: Chain, transaction: EvmTransaction) -> dict[str, object]:
    """What a person who is asked sees, and what is approved: all that it does, by its chain and its core."""
    data = transaction.data.hex()
    return {
        "chain": chain.profile.id, "core": transaction.core, "from": transaction.sender, "to": transaction.to,
        "value": str(transaction.value), "nonce": transaction.nonce,
        "data": f"0x{data}" if len(data) <= 4_096 else f"0x{data[:4_096]}… ({len(data) // 2:,} bytes)",
        "type": transaction.type, "delegates_to": [each.address for each in transaction.authorizations],
    }  # fmt: skip

"""What transactions take beside the chain's coin, in dollars: held by what is signed, and charged by what was logged.

Held are the fees, and what may leave less what the data of a swap demands in return. Charged are the fees, and what
left less what came: of the coin by the receipt, of tokens by the logs of those contracts that the operator named, whose
word on their own transfers counts as much as their price does.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from aegis_core.chains.book import Chain
from aegis_core.chains.cost import NativeCost, to_nanos
from aegis_core.protocol import money
from aegis_core.protocol.money import MAX_NANOS, NANOS_PER_USD
from aegis_core.protocol.transactions import TransactionFacts
from aegis_core.store.chain_records import Watch


def to_hold(facts: TransactionFacts, total: int) -> int:
    """Nano-dollars to reserve.

    Args:
        facts: of the transaction. What nobody can price is left to rules.
        total: the most that it takes of the coin, fees and all, in nano-dollars.
    """
    fees = money.to_nanos(facts.gas_usd)
    value, out = max(0, total - fees), 0
    if facts.swap is not None and facts.swap.takes_usd is not None:
        # Older approvals do not count here: a router that is named takes what is signed.
        out = max(money.to_nanos(facts.swap.takes_usd), _lost(facts))
    elif facts.outflow_usd is not None:
        out = money.to_nanos(facts.outflow_usd)
    return min(MAX_NANOS, fees + max(0, max(out, value) - least_of(facts)))


def least_of(facts: TransactionFacts) -> int:
    """Nano-dollars that come at least, if it succeeds."""
    return money.to_nanos(facts.swap.least_usd) if facts.swap else 0


def _lost(facts: TransactionFacts) -> int:
    if facts.simulation is None or not facts.simulation.success:
        return 0
    return sum(money.to_nanos(each.usd) for each in facts.simulation.moves if each.leaves and each.usd is not None)


async def to_charge(chain: Chain, watch: Watch, cost: NativeCost, now: float) -> int:
    """Nano-dollars that a transaction took; negative where its gas came back, and more of it than it took. What else
    came takes off what left, and nothing more. `now`: seconds since 1970.

    Raises:
        ChainError: nobody says what a token costs that it moved.
    """
    usd, decimals, wallet = Decimal(watch.usd), chain.profile.decimals, watch.wallet.rpartition(":")[2]
    total, fees = to_nanos(cost.total, usd, decimals), to_nanos(cost.fees, usd, decimals)
    deltas = dict[str, int]()
    for move in cost.transfers:
        deltas[move.token] = deltas.get(move.token, 0) + move.amount * ((move.to == wallet) - (move.sender == wallet))
    coin = Fraction(total - fees)
    out, into = max(Fraction(0), coin), max(Fraction(0), -coin)
    for token in chain.setup.tokens:
        if delta := deltas.get(token.address):
            worth = Fraction(delta) * Fraction(await chain.price_of(token, now)) * NANOS_PER_USD / 10**token.decimals
            out, into = out + max(0, -worth), into + max(0, worth)
    if out:
        # What a swap brings of the coin is logged by nobody; its data says how much that is at least.
        into = max(into, Fraction(watch.least))
    net = max(Fraction(0), out - into)
    return min(MAX_NANOS, fees - (-net.numerator // net.denominator))

"""``unpriced_asset``: what leaves the wallet, and nobody says what it is worth."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import TransactionFacts


class UnpricedAsset(ChainRule, frozen=True):
    """A transaction by which an asset without a price leaves the wallet, or may; or that could not be simulated."""

    type: Literal["unpriced_asset"] = "unpriced_asset"

    def compile(self) -> Conditions:
        """A look at what leaves."""

        def look(shown: TransactionFacts) -> Seen:
            if shown.simulation is None or not shown.simulation.success:
                return True, "nobody knows what leaves the wallet"
            unpriced = shown.simulation.unpriced
            return bool(unpriced), f"{unpriced[0]} leaves, without a price" if unpriced else "all that leaves is priced"

        return self.compile_seen(look)


RULE = UnpricedAsset

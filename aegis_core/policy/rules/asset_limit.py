"""``asset_limit``: how much of one asset may leave a wallet by one transaction, whatever comes in return."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import TransactionFacts


class AssetLimit(ChainRule, frozen=True):
    """More than `max_amount` whole units of `asset`: the symbol of a coin or token that the file of chains names. What
    cannot be simulated may move anything."""

    type: Literal["asset_limit"] = "asset_limit"
    asset: Annotated[str, Field(pattern=r"^[A-Za-z0-9.]{1,16}$")]
    max_amount: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]

    def compile(self) -> Conditions:
        """A comparison with what leaves."""

        def look(shown: TransactionFacts) -> Seen:
            if shown.simulation is None or not shown.simulation.success:
                return True, "nobody knows what leaves the wallet"
            out = sum(-Decimal(each.amount) for each in shown.simulation.moves if self._meant(each.symbol, each.leaves))
            return out > self.max_amount, f"{out} {self.asset} leave; at most {self.max_amount} may"

        return self.compile_seen(look)

    def _meant(self, symbol: str | None, leaves: bool) -> bool:
        return leaves and symbol is not None and symbol.lower() == self.asset.lower()


RULE = AssetLimit

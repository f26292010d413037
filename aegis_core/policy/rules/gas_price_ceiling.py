"""``gas_price_ceiling``: while gas costs more than that, nothing is sent. Judged by the script, on the price there."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import TransactionFacts

_WEI = 10**9


def _whole(value: Decimal) -> Decimal:
    if value * _WEI % 1:
        raise ValueError("is finer than a wei (0.000000001 gwei)")
    return value


class GasPriceCeiling(ChainRule, frozen=True):
    """Gas at more than `max_gwei` (10^9 of the coin's smallest unit) for a unit: the base fee of the newest block that
    was seen, and what the transaction offers above it, as far as it would pay that now.

    A request that shows no transaction matches whatever gas costs.
    """

    type: Literal["gas_price_ceiling"] = "gas_price_ceiling"
    max_gwei: Annotated[Decimal, Field(gt=0, le=9_000_000, allow_inf_nan=False), AfterValidator(_whole)]

    def compile(self) -> Conditions:
        """A ceiling, where the rule concerns the chain."""

        def look(shown: TransactionFacts) -> Seen:
            return True, f"gas on {shown.name} may cost {self.max_gwei.normalize():f} gwei at most"

        return replace(self.compile_seen(look), gas_above=int(self.max_gwei * _WEI))


RULE = GasPriceCeiling

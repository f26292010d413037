"""``max_gas_usd``: what the fees of one transaction may cost, in dollars."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.fields import Usd
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.protocol.transactions import TransactionFacts


class MaxGasUsd(ChainRule, frozen=True):
    """Fees that may come to more than `limit_usd` (dollars) by what is signed, however cheap gas is at the moment."""

    type: Literal["max_gas_usd"] = "max_gas_usd"
    limit_usd: Usd

    def compile(self) -> Conditions:
        """A comparison."""
        limit = to_nanos(self.limit_usd)

        def look(shown: TransactionFacts) -> Seen:
            fees = to_nanos(shown.gas_usd)
            return fees > limit, f"its fees may come to {format_usd(fees)}; the limit is {format_usd(limit)}"

        return self.compile_seen(look)


RULE = MaxGasUsd

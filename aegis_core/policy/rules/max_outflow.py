"""``max_outflow``: what may leave a wallet by one transaction, in dollars, whatever comes in return."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.fields import Usd
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.protocol.transactions import TransactionFacts


class MaxOutflow(ChainRule, frozen=True):
    """More than `limit_usd` (dollars) beside the fees, or an amount that nobody knows: a call of a contract may move
    what the wallet has allowed it to."""

    type: Literal["max_outflow"] = "max_outflow"
    limit_usd: Usd

    def compile(self) -> Conditions:
        """A comparison."""
        limit = to_nanos(self.limit_usd)

        def look(shown: TransactionFacts) -> Seen:
            if shown.outflow_usd is None:
                return True, "nobody knows what leaves the wallet by the call of a contract"
            out = to_nanos(shown.outflow_usd)
            return out > limit, f"{format_usd(out)} leave the wallet; the limit is {format_usd(limit)}"

        return self.compile_seen(look)


RULE = MaxOutflow

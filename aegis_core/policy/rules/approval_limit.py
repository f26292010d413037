"""``approval_limit``: what a transaction may let others take from the wallet later."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.fields import Usd
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.protocol.transactions import PLAIN_TRANSFER, TransactionFacts


class ApprovalLimit(ChainRule, frozen=True):
    """An approval without a limit (an allowance from 2^96 on, all of a collection), or worth more than `limit_usd`, or
    worth nobody knows what. Without `limit_usd` only unlimited ones. What cannot be simulated may approve anything."""

    type: Literal["approval_limit"] = "approval_limit"
    limit_usd: Usd | None = None

    def compile(self) -> Conditions:
        """A look at the approvals of the simulation."""
        limit = None if self.limit_usd is None else to_nanos(self.limit_usd)

        def look(shown: TransactionFacts) -> Seen:
            if shown.simulation is None or not shown.simulation.success:
                return shown.method != PLAIN_TRANSFER, "nobody knows what it approves"
            for each in shown.simulation.approvals:
                token = each.symbol or each.token
                if each.unlimited:
                    return True, f"{each.spender} may take any amount of {token}"
                if limit is not None and each.usd is None:
                    return True, f"{each.spender} may take {token}, and nobody says what that is worth"
                if limit is not None and each.usd is not None and to_nanos(each.usd) > limit:
                    return True, f"{each.spender} may take {format_usd(to_nanos(each.usd))} of {token}"
            return False, "it approves no more than it may"

        return self.compile_seen(look)


RULE = ApprovalLimit

"""``max_cost``: an amount above a limit is escalated or denied. Judged where the amount is chosen, not here."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from aegis_core.policy.rules.base import Conditions, NarrowedRule
from aegis_core.policy.ruling import RuleEffect
from aegis_core.protocol.fields import Usd
from aegis_core.protocol.money import to_nanos


class MaxCost(NarrowedRule, frozen=True):
    """More than `limit_usd` (dollars) for one request, of any kind or of the kinds that are given."""

    type: Literal["max_cost"] = "max_cost"
    effect: RuleEffect = "escalate"
    limit_usd: Usd

    def compile(self) -> Conditions:
        """A limit without a test of its own."""
        return replace(super().compile(), above_nanos=to_nanos(self.limit_usd))


RULE = MaxCost

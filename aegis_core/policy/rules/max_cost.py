"""``max_cost``: an amount above a limit is escalated or denied. Judged where the amount is chosen, not here."""

from __future__ import annotations

from typing import Literal

from aegis_core.fields import Usd
from aegis_core.money import to_nanos
from aegis_core.policy.rules.base import Conditions, ResourceTypes, Rule, types_or_all
from aegis_core.policy.ruling import Objection


class MaxCost(Rule, frozen=True):
    """More than `limit_usd` (dollars) for one request; `resource_types` narrows it to some kinds of request."""

    type: Literal["max_cost"] = "max_cost"
    effect: Objection = "escalate"
    limit_usd: Usd
    resource_types: ResourceTypes | None = None

    def compile(self) -> Conditions:
        """A limit without a test of its own."""
        return Conditions(above_nanos=to_nanos(self.limit_usd), resource_types=types_or_all(self.resource_types))


RULE = MaxCost

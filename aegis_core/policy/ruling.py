"""What a policy says about a request: a value without behaviour but for the amount, which is chosen later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Effect = Literal["allow", "escalate", "deny"]
Objection = Literal["escalate", "deny"]

SEVERITY: dict[Effect, int] = {"allow": 0, "escalate": 1, "deny": 2}


@dataclass(frozen=True, slots=True)
class CostLimit:
    """An amount above which `effect` takes hold. Exactly `nanos` is still within the limit."""

    nanos: int
    effect: Objection
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """The strictest effect among the rules that matched, and the limits on the amount that is yet to be chosen.

    Attributes:
        effect: what holds whatever the amount is.
        rule: the name of the rule behind `effect`; None when it is ``allow``.
        reason: one phrase for a person.
        limits: at most one per effect, each the lowest that applies to the request.
    """

    effect: Effect
    rule: str | None
    reason: str
    limits: tuple[CostLimit, ...] = ()

    def at(self, amount_nanos: int) -> Ruling:
        """The final ruling for an amount in nano-dollars: the strictest of `effect` and the limits it exceeds."""
        ruling = self
        for limit in self.limits:
            if amount_nanos > limit.nanos and SEVERITY[limit.effect] > SEVERITY[ruling.effect]:
                ruling = Ruling(limit.effect, limit.rule, limit.reason, self.limits)
        return ruling

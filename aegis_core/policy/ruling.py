"""What a policy says about a request: a value without behaviour but for the amount, which is chosen later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Effect = Literal["allow", "escalate", "deny"]
Objection = Literal["escalate", "deny"]
RuleEffect = Literal["observe", "escalate", "deny"]
"""What a rule does when it matches; ``observe`` only notes that it did."""

CounterKind = Literal["rate", "repeat", "spend"]

SEVERITY: dict[Effect | RuleEffect, int] = {"allow": 0, "observe": 0, "escalate": 1, "deny": 2}


@dataclass(frozen=True, slots=True)
class CostLimit:
    """An amount above which `effect` takes hold. Exactly `nanos` is still within the limit.

    One that is `observed` is noted, never enforced; only such a one can have the effect ``observe``.
    """

    nanos: int
    effect: RuleEffect
    rule: str
    reason: str
    observed: bool = False


@dataclass(frozen=True, slots=True)
class Counter:
    """A count that the script keeps and judges: `effect` takes hold when this request brings it above `limit`.

    `limit` is a number of requests (`rate`), of equal calls (`repeat`), or nano-dollars (`spend`), within `window_ms`.
    """

    kind: CounterKind
    rule: str
    limit: int
    window_ms: int
    effect: RuleEffect
    reason: str
    observed: bool = False


@dataclass(frozen=True, slots=True)
class GasCeiling:
    """A price of gas (wei a unit) above which `effect` takes hold, where the script sees it."""

    wei: int
    effect: RuleEffect
    rule: str
    reason: str
    observed: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """A rule that matched and is only observed, with the effect it would have had."""

    rule: str
    effect: RuleEffect
    reason: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """The strictest effect among the rules that matched, and what is yet to be judged by amount and count.

    Attributes:
        effect: what holds whatever the amount and the counts are. Observed rules never change it.
        rule: the name of the rule behind `effect`; None when it is ``allow``.
        reason: one phrase for a person.
        limits: for each effect the lowest enforced limit that applies, then the same of observed ones.
        counters: the rate, repeat and spend rules that the request falls under, in the order of the policy.
        models: the only models that may be used and recommended, in the policy's order; empty means any.
        observed: the observed rules that matched, in the order of the policy.
        matched: the names of all rules that matched whatever the amount and the counts are, where one of them objects.
        ceilings: the prices of gas above which rules object, in the order of the policy.
    """

    effect: Effect
    rule: str | None
    reason: str
    limits: tuple[CostLimit, ...] = ()
    counters: tuple[Counter, ...] = ()
    models: tuple[str, ...] = ()
    observed: tuple[Observed, ...] = ()
    matched: tuple[str, ...] = ()
    ceilings: tuple[GasCeiling, ...] = ()

    @property
    def would_be(self) -> Effect:
        """The strictest effect if the observed rules that matched were enforced."""
        worst = self.effect
        for each in self.observed:
            if each.effect != "observe" and SEVERITY[each.effect] > SEVERITY[worst]:
                worst = each.effect
        return worst

    def may_ask(self, amount_nanos: int) -> bool:
        """Whether a person may have to be asked about a request of at most so many nano-dollars."""
        if self.effect == "escalate":
            return True
        for limit in self.limits:
            if limit.effect == "escalate" and amount_nanos > limit.nanos:
                return True
        return any(each.effect == "escalate" for each in (*self.counters, *self.ceilings))

    def at(self, amount_nanos: int) -> Ruling:
        """The final ruling for an amount in nano-dollars: the strictest of `effect` and the limits it exceeds."""
        effect, rule, reason, noted = self.effect, self.rule, self.reason, self.observed
        for limit in self.limits:
            if amount_nanos <= limit.nanos:
                continue
            if limit.observed or limit.effect == "observe":
                seen = Observed(limit.rule, limit.effect, limit.reason)
                noted += () if seen in noted else (seen,)
            elif SEVERITY[limit.effect] > SEVERITY[effect]:
                effect, rule, reason = limit.effect, limit.rule, limit.reason
        if effect == self.effect and noted == self.observed:
            return self
        return replace(self, effect=effect, rule=rule, reason=reason, observed=noted)

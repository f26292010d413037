"""``spend_rate``: many small amounts are one large one. Summed by the script, not here."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from aegis_core.policy.rules.base import Conditions, NarrowedRule, beyond
from aegis_core.policy.ruling import RuleEffect
from aegis_core.policy.windows import Span, span_ms
from aegis_core.protocol.fields import Usd
from aegis_core.protocol.money import format_usd, to_nanos


class SpendRate(NarrowedRule, frozen=True):
    """More than `limit_usd` (dollars) in all within any `window`, of all requests or of those that are given."""

    type: Literal["spend_rate"] = "spend_rate"
    effect: RuleEffect = "escalate"
    limit_usd: Usd
    window: Span

    def compile(self) -> Conditions:
        """A rolling sum."""
        nanos = to_nanos(self.limit_usd)
        words = f"more than {format_usd(nanos)} in {self.window} {beyond(self.effect)}"
        return replace(super().compile(), count=("spend", nanos, span_ms(self.window), words))


RULE = SpendRate

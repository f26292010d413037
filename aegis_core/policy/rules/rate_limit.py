"""``rate_limit``: so many requests of an agent in so much time. Counted by the script, not here."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, StrictInt

from aegis_core.policy.rules.base import Conditions, NarrowedRule, beyond
from aegis_core.policy.ruling import RuleEffect
from aegis_core.policy.windows import Span, span_ms


class RateLimit(NarrowedRule, frozen=True):
    """More than `limit` requests within `window` (``60s``, ``1m``, ``24h``), of any kind or of those that are given."""

    type: Literal["rate_limit"] = "rate_limit"
    effect: RuleEffect = "deny"
    limit: Annotated[StrictInt, Field(ge=1, le=1_000_000)]
    window: Span

    def compile(self) -> Conditions:
        """A count."""
        words = f"more than {self.limit:,} request{'s' * (self.limit > 1)} in {self.window} {beyond(self.effect)}"
        return replace(super().compile(), count=("rate", self.limit, span_ms(self.window), words))


RULE = RateLimit

"""``repeat_limit``: the same call again and again, the swap in an endless loop. Counted by the script, not here."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, StrictInt

from aegis_core.policy.rules.base import Conditions, NarrowedRule, beyond
from aegis_core.policy.ruling import RuleEffect
from aegis_core.policy.windows import Span, span_ms


class RepeatLimit(NarrowedRule, frozen=True):
    """The same tool, or without one the same intent, with the same arguments more than `times` within `window`.

    Every attempt counts, refused ones included.
    """

    type: Literal["repeat_limit"] = "repeat_limit"
    effect: RuleEffect = "deny"
    times: Annotated[StrictInt, Field(ge=1, le=1_000_000)]
    window: Span

    def compile(self) -> Conditions:
        """A count."""
        often = "once" if self.times == 1 else f"{self.times:,} times"
        words = f"the same call more than {often} in {self.window} {beyond(self.effect)}"
        return replace(super().compile(), count=("repeat", self.times, span_ms(self.window), words))


RULE = RepeatLimit

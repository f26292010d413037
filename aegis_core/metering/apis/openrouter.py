"""OpenRouter: the shape of OpenAI's chat completions, and what it charged, in dollars.

``usage.cost`` is what was taken from the account. With a key of one's own (``is_byok``) that is only OpenRouter's fee,
and ``cost_details.upstream_inference_cost`` is what the provider charges beside it.
Source: https://openrouter.ai/docs/use-cases/usage-accounting
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from math import isfinite
from typing import Any

from aegis_core.metering.apis.api import Api
from aegis_core.metering.apis.openai_compatible import CompatibleMeter
from aegis_core.metering.reading import Tally, get
from aegis_core.money import MAX_USD

_NANO = Decimal("1e-9")


class OpenRouterMeter(CompatibleMeter):
    """As `CompatibleMeter`, with the cost."""

    __slots__ = ()

    def counts_of(self, tally: Tally, usage: object) -> dict[str, Any]:
        """The counts, and the dollars where they are stated."""
        counts = super().counts_of(tally, usage)
        counts["web_searches"] = 0  # they are in the cost
        cost = dollars(tally, usage, "cost")
        if get(usage, "is_byok") is True:
            upstream = dollars(tally, get(usage, "cost_details"), "upstream_inference_cost")
            if upstream is None:
                tally.doubt("the key is one's own, and nothing says what the provider charges")
            else:
                cost = upstream + (cost or 0)
        counts["stated_cost_usd"] = cost
        return counts


def dollars(tally: Tally, holder: object, name: str) -> Decimal | None:
    """An amount of dollars, rounded up to a nano-dollar; None where there is none, with a doubt where it is none."""
    value = get(holder, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not isfinite(value):
        tally.doubt(f"{name} is no amount of dollars")
        return None
    if not 0 <= value <= MAX_USD:
        tally.doubt(f"{name} is an amount of dollars that cannot be")
        return None
    return Decimal(str(value)).quantize(_NANO, rounding=ROUND_CEILING)


def _recognises(part: object) -> bool:
    return get(get(part, "usage"), "cost") is not None and get(part, "choices") is not None


API = Api(frozenset({"openrouter"}), OpenRouterMeter, _recognises)

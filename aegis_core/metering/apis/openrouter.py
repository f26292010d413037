"""OpenRouter: the shape of OpenAI's chat completions, and what it charged, in dollars.

``usage.cost`` is what was taken from the account. With a key of one's own (``is_byok``) that is only OpenRouter's fee,
and ``cost_details.upstream_inference_cost`` is what the provider charges beside it.
Source: https://openrouter.ai/docs/use-cases/usage-accounting
"""

from __future__ import annotations

from typing import Any

from aegis_core.metering.apis.api import Api
from aegis_core.metering.apis.openai_compatible import CompatibleMeter
from aegis_core.metering.reading import Tally, dollars, get, text_of


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


def _recognises(part: object) -> bool:
    if get(part, "choices") is None:
        return False
    named = text_of(get(part, "provider")) or text_of(get(part, "id")).startswith("gen-")
    return bool(named) or isinstance(get(get(part, "usage"), "cost"), int | float)


API = Api(frozenset({"openrouter"}), OpenRouterMeter, _recognises)

"""Servers that speak OpenAI's chat completions with habits of their own.

DeepSeek splits the prompt into hits and misses of its cache; Moonshot puts usage into the last choice and Groq into
``x_groq``; xAI counts thoughts beside the completion, others show them only in the total. Perplexity
states what a call cost.
Sources: https://api-docs.deepseek.com/api/create-chat-completion, https://docs.x.ai/docs/guides/reasoning,
https://console.groq.com/docs/api-reference, https://platform.moonshot.ai/docs/api/chat,
https://docs.perplexity.ai/api-reference/chat-completions-post
"""

from __future__ import annotations

from typing import Any

from aegis_core.metering.apis.api import Api
from aegis_core.metering.apis.openai_chat import ChatMeter
from aegis_core.metering.reading import Tally, dollars, get, items

NAMES = frozenset(
    {
        "openai_compatible", "deepseek", "groq", "mistral", "moonshotai", "x-ai", "xai", "together", "together_ai",
        "fireworks", "fireworks_ai", "perplexity", "cerebras", "ollama", "vllm", "litellm", "litellm_proxy", "novita",
        "minimax", "zai", "zhipuai", "huggingface", "cohere", "baseten", "databricks", "github",
    }
)  # fmt: skip


class CompatibleMeter(ChatMeter):
    """As `ChatMeter`, with the places and names of others."""

    __slots__ = ()

    def usage_of(self, part: object) -> object:
        """Usage at the top, in Groq's own block, or in a choice."""
        holders = (part, get(part, "x_groq"), *items(get(part, "choices")))
        return next((usage for holder in holders if (usage := get(holder, "usage")) is not None), None)

    def counts_of(self, tally: Tally, usage: object) -> dict[str, Any]:
        """The same counts, with other names for the cached ones and thoughts that stand beside the completion."""
        counts = super().counts_of(tally, usage)
        if not counts["cached_input_tokens"]:
            counts["cached_input_tokens"] = tally.count(usage, "prompt_cache_hit_tokens", "cached_tokens")
        thoughts = counts["reasoning_tokens"] or tally.count(usage, "reasoning_tokens")
        if thoughts > counts["output_tokens"]:
            # More thoughts than output are no part of it; a total may have brought them in already.
            rest = counts.get("unattributed_tokens", 0)
            counts["output_tokens"] += thoughts
            counts["unattributed_tokens"] = max(0, rest - thoughts)
        counts["reasoning_tokens"] = thoughts
        if (cost := dollars(tally, get(usage, "cost"), "total_cost")) is not None:
            counts["stated_cost_usd"] = cost
        counts["web_searches"] = tally.calls(usage, "num_search_queries") or tally.calls(usage, "num_sources_used")
        return counts


def _recognises(part: object) -> bool:
    return get(part, "choices") is not None


API = Api(NAMES, CompatibleMeter, _recognises)

"""What the price list lacks: fees of hosted tools, sound of two models, and what multiplies a price; with sources.

Dollars are text, so that they are exact. Where the list has a price of its own, the list counts.
"""

from __future__ import annotations

from decimal import Decimal

TOOL_FEES_PER_1000: dict[tuple[str, str], Decimal] = {
    # https://platform.openai.com/docs/pricing (built-in tools); a container has 1 GB unless it is asked for more
    ("openai", "web_searches"): Decimal(10),
    ("openai", "file_searches"): Decimal("2.50"),
    ("openai", "code_sessions"): Decimal(30),
    # https://platform.claude.com/docs/en/about-claude/pricing: $0.05 an hour of a container, which is at most one here
    ("anthropic", "web_searches"): Decimal(10),
    ("anthropic", "code_sessions"): Decimal(50),
    # https://ai.google.dev/gemini-api/docs/pricing: the dearer one of the generations
    ("google", "web_searches"): Decimal(35),
    ("google", "map_searches"): Decimal(25),
}
"""By the provider of the price list and the field of `Usage`."""

SEARCH_PREVIEW_PER_1000 = Decimal(25)
"""A search of OpenAI's ``…-search-preview`` models. https://platform.openai.com/docs/pricing"""

MISSING_RATES: dict[str, dict[str, Decimal]] = {
    # https://platform.openai.com/docs/pricing (audio tokens); the list has only their text
    "gpt-4o-audio-preview": {"audio": Decimal(40), "audio_out": Decimal(80)},
    "gpt-4o-mini-audio-preview": {"audio": Decimal(10), "audio_out": Decimal(20)},
}
"""Dollars a million tokens, by the model of OpenAI's list and the rate that is missing."""

FAST_PERCENT: dict[str, int] = {
    # https://platform.claude.com/docs/en/build-with-claude/fast-mode ($30 and $150 where $5 and $25 are standard)
    "claude-opus-4-6": 600,
    "claude-opus-4-7": 600,
}
"""Anthropic's ``speed: fast``, of the standard price, for models whose entry in the list does not have it."""

GEO_PERCENT = 110
"""A named place of inference. https://platform.claude.com/docs/en/build-with-claude/data-residency; the same share for
regional endpoints of Vertex: https://cloud.google.com/vertex-ai/generative-ai/pricing"""

HOUR_WRITE_PERCENT = 200
"""Cache writes kept for an hour, of the input price, where the list says only that writing costs more.
https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""

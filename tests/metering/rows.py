"""The rows of the table: what a call may consume, by which API, and what that costs by others' arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from math import ceil

import genai_prices
from payloads import MAKERS, Spent

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CACHES = {"openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "openai_compatible"}
THINKS = {"openai_chat", "openai_responses", "anthropic", "gemini", "openai_compatible"}
KINDS: dict[str, tuple[Spent, set[str]]] = {
    "plain": (Spent(), set(MAKERS) - {"openrouter"}),
    "cached read": (Spent(read=5_000), CACHES),
    "cache write 5m": (Spent(short=7_000), {"anthropic", "bedrock"}),
    "cache write 1h": (Spent(read=100, short=70, hour=9_000), {"anthropic", "bedrock"}),
    "reasoning": (Spent(thoughts=900), THINKS),
    "long context": (Spent(fresh=300_001), set(MAKERS) - {"openrouter"}),
    "hosted search": (Spent(searches=3), {"openai_responses", "anthropic", "gemini"}),
    "hosted files and code": (Spent(files=2, containers=1), {"openai_responses"}),
    "tier": (Spent(tier="priority"), {"openai_chat", "openai_responses", "openai_compatible"}),
    "tier flex": (Spent(tier="flex", fresh=300_001), {"openai_chat", "openai_responses"}),
}
ROWS = [(api, kind) for kind, (_, apis) in KINDS.items() for api in sorted(apis)]

PER_TOOL = {"web_searches": {"gpt-5.5": "0.01", "claude-opus-4-6": "0.01", "gemini-3.8-flash": "0.014"}}
"""Dollars a search: platform.openai.com, platform.claude.com and ai.google.dev, pricing."""


def listed_price(spent: Spent, model: str, at: datetime = AT) -> int:
    """The price by genai-prices' own arithmetic, and the fees of hosted tools by the providers' pages."""
    usage = genai_prices.Usage(
        input_tokens=spent.sent,
        output_tokens=spent.answered,
        cache_read_tokens=spent.read or None,
        cache_write_tokens=spent.short + spent.hour or None,
        cache_write_1h_tokens=spent.hour or None,
    )
    name, _, provider = (model, "", "aws") if model.startswith("us.") else (model, "", None)
    context = {"service_tier": spent.tier} if spent.tier else None
    found = genai_prices.calc_price(
        usage, name, provider_id=provider, genai_request_timestamp=at, price_context=context
    ).total_price
    found += spent.searches * Decimal(PER_TOOL["web_searches"].get(model, "0"))
    found += spent.files * Decimal("0.0025") + spent.containers * Decimal("0.03")
    return ceil(found * 10**9)

"""Gemini, from Google's own service and from Vertex. Thoughts and the prompts of tools stand beside the other counts.

Every chunk of a stream repeats ``usageMetadata`` as far as it is known, so the last one counts. Searches are found in
the grounding of the candidates: Gemini 3 and later pay for each query, earlier ones for each answer that has any.
Sources: https://ai.google.dev/api/generate-content#UsageMetadata, https://ai.google.dev/gemini-api/docs/pricing
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from aegis_core.metering.apis.api import Api
from aegis_core.metering.apis.openai_chat import attribute_rest
from aegis_core.metering.reading import NO_USAGE, Reading, ReceivedText, Tally, build, get, items, text_of, word_of

_OLD = re.compile(r"gemini-(?:1|2)[.\d-]*(?!\d)")
_TIERS = {"on_demand": None, "on_demand_flex": "flex", "on_demand_priority": "priority", "standard": None}
_UNSAID = frozenset({"traffic_type_unspecified", "unspecified", "service_tier_unspecified"})
_MEDIA = {"AUDIO": "audio", "IMAGE": "image", "VIDEO": "video"}


@dataclass(slots=True)
class GeminiMeter:
    """Reads the answer, or the chunks, of one call."""

    received: ReceivedText = field(default_factory=ReceivedText)
    tally: Tally = field(default_factory=Tally)
    usage: object = None
    queries: set[str] = field(default_factory=set[str])
    mapped: bool = False
    model: str = ""
    response_id: str = ""

    def add(self, part: object) -> None:
        """Take in an answer or a chunk."""
        if get(part, "error"):
            self.tally.doubt("the provider broke the answer off with an error")
        self.model = text_of(get(part, "modelVersion", "model_version")) or self.model
        self.response_id = text_of(get(part, "responseId", "response_id")) or self.response_id
        self.usage = get(part, "usageMetadata", "usage_metadata") or self.usage
        for candidate in items(get(part, "candidates")):
            for piece in items(get(get(candidate, "content"), "parts")):
                self.received.text(get(piece, "text"))
            grounding = get(candidate, "groundingMetadata", "grounding_metadata")
            asked = items(get(grounding, "webSearchQueries", "web_search_queries"))
            self.queries.update(filter(None, map(text_of, asked)))
            sources = items(get(grounding, "groundingChunks", "grounding_chunks"))
            self.mapped = self.mapped or any(get(source, "maps") for source in sources)

    def reading(self, model: str | None) -> Reading:
        """What the last block says."""
        name = model or self.model
        tally = Tally([*self.tally.doubts])
        if self.usage is None:
            tally.doubt(NO_USAGE)
            return Reading(None, tuple(tally.doubts), self.received.most, self.response_id or None)
        counts = self._counts(tally)
        if not counts["input_tokens"]:
            tally.doubt("no input tokens were counted, and none is not what was sent")
        searches = len(self.queries)
        counts["web_searches"] = min(1, searches) if _OLD.search(name.lower()) else searches
        counts["map_searches"] = int(self.mapped)
        return build(tally, self.received, name, self.response_id, service_tier=self._tier(), **counts)

    def _counts(self, tally: Tally) -> dict[str, Any]:
        usage = self.usage
        prompt = tally.count(usage, "promptTokenCount", "prompt_token_count")
        tools = tally.count(usage, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
        thoughts = tally.count(usage, "thoughtsTokenCount", "thoughts_token_count")
        said = tally.count(usage, "candidatesTokenCount", "candidates_token_count")
        counts: dict[str, Any] = {
            "input_tokens": prompt + tools,
            "output_tokens": said + thoughts,
            "cached_input_tokens": tally.count(usage, "cachedContentTokenCount", "cached_content_token_count"),
            "reasoning_tokens": thoughts,
        }
        prompts = _by_medium(tally, usage, "promptTokensDetails", "prompt_tokens_details")
        used = _by_medium(tally, usage, "toolUsePromptTokensDetails", "tool_use_prompt_tokens_details")
        cached = _by_medium(tally, usage, "cacheTokensDetails", "cache_tokens_details")
        answers = _by_medium(tally, usage, "candidatesTokensDetails", "candidates_tokens_details")
        for medium in ("audio", "image", "video"):
            counts[f"{medium}_input_tokens"] = prompts.get(medium, 0) + used.get(medium, 0)
        for medium in ("audio", "image"):
            counts[f"cached_{medium}_tokens"] = cached.get(medium, 0)
            counts[f"{medium}_output_tokens"] = answers.get(medium, 0)
        attribute_rest(tally, counts, tally.count(usage, "totalTokenCount", "total_token_count"))
        return counts

    def _tier(self) -> str | None:
        said = word_of(get(self.usage, "serviceTier", "service_tier", "trafficType", "traffic_type"))
        if said is None or said in _UNSAID:
            return None
        return _TIERS.get(said, said)


def _by_medium(tally: Tally, usage: object, *names: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in items(get(usage, *names)):
        medium = _MEDIA.get(text_of(get(entry, "modality")).upper())
        if medium is not None:
            found[medium] = found.get(medium, 0) + tally.count(entry, "tokenCount", "token_count")
    return found


def _recognises(part: object) -> bool:
    return get(part, "candidates", "usageMetadata", "usage_metadata", "modelVersion") is not None and (
        get(part, "choices", "usage") is None
    )


API = Api(frozenset({"gemini", "google", "vertex", "vertex_ai"}), GeminiMeter, _recognises)

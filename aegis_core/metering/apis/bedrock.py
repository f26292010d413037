"""Bedrock's Converse. Its input leaves out what was read from the cache or written to it; the model is in the URL only.

A stream says usage in its ``metadata`` event.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aegis_core.metering.apis.api import Api
from aegis_core.metering.apis.openai_chat import STANDARD_TIERS, attribute_rest
from aegis_core.metering.reading import NO_USAGE, Reading, ReceivedText, Tally, build, get, items, text_of, word_of

_BREAKS = (
    "internalServerException", "modelStreamErrorException", "throttlingException", "validationException",
    "serviceUnavailableException",
)  # fmt: skip


@dataclass(slots=True)
class ConverseMeter:
    """Reads the answer, or the events, of one call."""

    received: ReceivedText = field(default_factory=ReceivedText)
    tally: Tally = field(default_factory=Tally)
    usage: object = None
    tier: str | None = None

    def add(self, part: object) -> None:
        """Take in an answer or an event."""
        if any(get(part, name) for name in _BREAKS):
            self.tally.doubt("the provider broke the answer off with an error")
        told = get(part, "metadata") or part
        self.usage = get(told, "usage") or self.usage
        self.tier = word_of(get(get(told, "serviceTier"), "type")) or self.tier
        if word_of(get(get(told, "performanceConfig"), "latency")) == "optimized":
            self.tally.doubt("the price of latency-optimized inference is not known")
        self._receive(get(get(part, "contentBlockDelta"), "delta"))
        for block in items(get(get(get(part, "output"), "message"), "content")):
            self._receive(block)

    def reading(self, model: str | None) -> Reading:
        """What the usage says."""
        tally = Tally([*self.tally.doubts])
        usage = self.usage
        if usage is None:
            tally.doubt(NO_USAGE)
            return Reading(None, tuple(tally.doubts), self.received.most)
        read = tally.count(usage, "cacheReadInputTokens", "cacheReadInputTokenCount")
        written = tally.count(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
        hour = 0
        for entry in items(get(usage, "cacheDetails")):
            hour += tally.count(entry, "inputTokens") if get(entry, "ttl") == "1h" else 0
        counts: dict[str, Any] = {
            "input_tokens": tally.count(usage, "inputTokens") + read + max(written, hour),
            "output_tokens": tally.count(usage, "outputTokens"),
            "cached_input_tokens": read,
            "cache_write_5m_tokens": max(0, written - hour),
            "cache_write_1h_tokens": hour,
        }
        if not counts["input_tokens"]:
            tally.doubt("no input tokens were counted, and none is not what was sent")
        total = tally.count(usage, "totalTokens")
        # Some models leave cache tokens out of the total; only a total above all parts says something new.
        attribute_rest(tally, counts, total if total > counts["input_tokens"] + counts["output_tokens"] else 0)
        tier = None if self.tier in STANDARD_TIERS else self.tier
        return build(tally, self.received, model or "", service_tier=tier, **counts)

    def _receive(self, block: object) -> None:
        tool = get(block, "toolUse")
        self.received.text(get(block, "text"), get(get(block, "reasoningContent"), "text"), text_of(get(tool, "input")))


def _recognises(part: object) -> bool:
    if get(get(part, "metadata"), "usage") is not None:
        return True
    events = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop")
    return get(get(part, "usage"), "inputTokens") is not None or get(part, *events) is not None


API = Api(frozenset({"bedrock", "bedrock_converse", "aws", "converse"}), ConverseMeter, _recognises)

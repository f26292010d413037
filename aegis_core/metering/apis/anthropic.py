"""Anthropic's messages. ``input_tokens`` leaves out what was read from the cache or written to it.

A stream says the input in ``message_start`` and running totals in each ``message_delta``, where a count may be missing,
null or 0 although the start had it: the larger one counts. ``usage.iterations`` lists the passes of a call in which the
provider ran tools, compacted the conversation or asked an advisor; the last two are not in the counts at the top.
Sources: https://platform.claude.com/docs/en/api/messages, https://platform.claude.com/docs/en/build-with-claude/streaming,
https://platform.claude.com/docs/en/build-with-claude/compaction
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aegis_core.metering.apis.api import Api
from aegis_core.metering.apis.openai_chat import STANDARD_TIERS
from aegis_core.metering.reading import (
    NO_USAGE,
    Reading,
    ReceivedText,
    Tally,
    build,
    get,
    items,
    names_of,
    text_of,
    tokens,
    word_of,
)
from aegis_core.protocol.usage import CallTokens

_COUNTS: dict[str, Callable[[Tally, object], int]] = {
    "fresh": lambda tally, usage: tally.count(usage, "input_tokens"),
    "read": lambda tally, usage: tally.count(usage, "cache_read_input_tokens"),
    "written": lambda tally, usage: tally.count(usage, "cache_creation_input_tokens"),
    "written_5m": lambda tally, usage: tally.count(get(usage, "cache_creation"), "ephemeral_5m_input_tokens"),
    "written_1h": lambda tally, usage: tally.count(get(usage, "cache_creation"), "ephemeral_1h_input_tokens"),
    "output": lambda tally, usage: tally.count(usage, "output_tokens"),
    "thoughts": lambda tally, usage: tally.count(get(usage, "output_tokens_details"), "thinking_tokens"),
    "searches": lambda tally, usage: tally.calls(get(usage, "server_tool_use"), "web_search_requests"),
    "sessions": lambda tally, usage: tally.calls(get(usage, "server_tool_use"), "code_execution_requests"),
}
_ANSWERS = frozenset({"message", "fallback_message"})
"""Passes that the counts at the top are the sum of; compaction and an advisor's words are billed beside them."""

_ANYWHERE = frozenset({"global", "not_available"})
_FREE_TOOLS = frozenset({"web_search_requests", "web_fetch_requests", "code_execution_requests"})


@dataclass(slots=True)
class MessagesMeter:
    """Reads the message, or the events, of one call."""

    received: ReceivedText = field(default_factory=ReceivedText)
    tally: Tally = field(default_factory=Tally)
    counts: dict[str, int] = field(default_factory=dict[str, int])
    passes: list[Any] = field(default_factory=list[Any])
    words: dict[str, str | None] = field(default_factory=dict[str, str | None])
    model: str = ""
    response_id: str = ""
    streamed: bool = False
    ended: bool = False
    ran_code: bool = False

    def add(self, part: object) -> None:
        """Take in a message or an event."""
        kind = text_of(get(part, "type"))
        if kind == "error":
            self.tally.doubt("the provider broke the answer off with an error")
        elif kind == "message_start":
            self.streamed = True
            self._message(get(part, "message"))
        elif kind == "message_delta":
            self.streamed = self.ended = True
            self._usage(get(part, "usage"))
        elif kind in {"content_block_start", "content_block_delta"}:
            self._receive(get(part, "content_block", "delta"))
        elif kind in {"message", ""} or get(part, "usage") is not None:
            self.ended = True
            self._message(part)
            for block in items(get(part, "content")):
                self._receive(block)

    def reading(self, model: str | None) -> Reading:
        """The largest of each count, and the passes beside them."""
        name = model or self.model
        tally = Tally([*self.tally.doubts])
        if not self.counts:
            tally.doubt(NO_USAGE)
            return Reading(None, tuple(tally.doubts), self.received.most, self.response_id or None)
        if not self.ended:
            tally.doubt("the stream ended before its usage")
        own, further, beside = self._passes(tally, name)
        counts = _fields(own)
        if not counts["input_tokens"]:
            tally.doubt("no input tokens were counted, and none is not what was sent")
        received = ReceivedText(self.received.most) if beside else self.received
        return build(
            tally, received, name, self.response_id, **counts, **self.words,
            iterations=(*further, *beside),
            web_searches=self.counts["searches"], code_sessions=max(self.counts["sessions"], self.ran_code),
        )  # fmt: skip

    def _passes(self, tally: Tally, name: str) -> tuple[dict[str, int], list[CallTokens], list[CallTokens]]:
        """The first pass that answered, those after it, and those that the top leaves out."""
        answered: list[dict[str, int]] = []
        beside: list[CallTokens] = []
        for each in self.passes:
            kind, counts = text_of(get(each, "type")), _read(tally, each)
            if kind in _ANSWERS:
                answered.append(counts)
            elif found := tokens(tally, text_of(get(each, "model")) or name, **_fields(counts)):
                beside.append(found)
            if kind == "fallback_message":
                tally.doubt("another model answered in the end, and what it was charged at is not known")
        summed = {key: sum(each[key] for each in answered) for key in self.counts}
        if not answered or _size(summed) < _size(self.counts):
            return self.counts, [], beside
        # The top is the sum of these; each has its own length, so each is priced by itself.
        own, *more = answered
        further = [found for each in more if (found := tokens(tally, name, **_fields(each)))]
        return own, further, beside

    def _message(self, message: object) -> None:
        self.model = text_of(get(message, "model")) or self.model
        self.response_id = text_of(get(message, "id")) or self.response_id
        self._usage(get(message, "usage"))

    def _usage(self, usage: object) -> None:
        if usage is None:
            return
        read = _read(self.tally, usage)
        self.counts = {name: max(value, self.counts.get(name, 0)) for name, value in read.items()}
        self.passes = items(get(usage, "iterations")) or self.passes
        for field_name, standard in (("service_tier", STANDARD_TIERS), ("speed", STANDARD_TIERS)):
            if word := word_of(get(usage, field_name)):
                self.words[field_name] = None if word in standard else word
        if where := word_of(get(usage, "inference_geo")):
            self.words["inference_geo"] = None if where in _ANYWHERE else where
        hosted = get(usage, "server_tool_use")
        for name in names_of(hosted):
            if name not in _FREE_TOOLS and self.tally.calls(hosted, name):
                self.tally.doubt(f"{name} counts a hosted tool whose fee is not known")

    def _receive(self, block: object) -> None:
        kind = text_of(get(block, "type"))
        self.ran_code = self.ran_code or kind.endswith("code_execution_tool_result")
        named = kind in {"tool_use", "server_tool_use"}
        self.received.text(get(block, "text"), get(block, "thinking"), get(block, "partial_json"))
        self.received.text(get(block, "name") if named else None)


def _read(tally: Tally, usage: object) -> dict[str, int]:
    return {name: count(tally, usage) for name, count in _COUNTS.items()}


def _fields(counts: dict[str, int]) -> dict[str, int]:
    """The counts by the fields of `CallTokens`. What was written without a word about how long is the ordinary time."""
    hour, minutes = counts["written_1h"], counts["written_5m"]
    ordinary = max(minutes, counts["written"] - hour)
    return {
        "input_tokens": counts["fresh"] + counts["read"] + ordinary + hour,
        "output_tokens": counts["output"],
        "cached_input_tokens": counts["read"],
        "cache_write_5m_tokens": ordinary,
        "cache_write_1h_tokens": hour,
        "reasoning_tokens": counts["thoughts"],
    }


def _size(counts: dict[str, int]) -> int:
    fields = _fields(counts)
    return fields["input_tokens"] + fields["output_tokens"]


def _recognises(part: object) -> bool:
    kind = text_of(get(part, "type"))
    if kind in {"message", "message_start", "content_block_start", "content_block_delta", "message_delta", "ping"}:
        return True
    return isinstance(get(part, "content"), list) and get(get(part, "usage"), "input_tokens") is not None


# Clouds hand Anthropic's own answers on beside those of their own APIs.
_CLOUDS = frozenset({"bedrock", "aws", "vertex", "vertex_ai", "google", "azure"})

API = Api(frozenset({"anthropic", "claude"}) | _CLOUDS, MessagesMeter, _recognises)

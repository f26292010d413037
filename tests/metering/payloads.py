"""Answers of each API, whole and as a stream, made from what a call is to have consumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aegis_core.protocol.usage import Usage

TEXT = "Four score and seven"


@dataclass(frozen=True)
class Spent:
    """What a call consumed, in words that no API has."""

    fresh: int = 1_200
    read: int = 0
    short: int = 0
    hour: int = 0
    said: int = 40
    thoughts: int = 0
    sound_in: int = 0
    sound_out: int = 0
    picture_in: int = 0
    searches: int = 0
    files: int = 0
    containers: int = 0
    tier: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        return self.fresh + self.read + self.short + self.hour

    @property
    def answered(self) -> int:
        return self.said + self.thoughts

    def usage(self, model: str, **more: Any) -> Usage:
        return Usage(
            model=model, input_tokens=self.sent, output_tokens=self.answered, cached_input_tokens=self.read,
            cache_write_5m_tokens=self.short, cache_write_1h_tokens=self.hour, reasoning_tokens=self.thoughts,
            audio_input_tokens=self.sound_in, audio_output_tokens=self.sound_out, image_input_tokens=self.picture_in,
            web_searches=self.searches, file_searches=self.files, code_sessions=self.containers,
            service_tier=self.tier, **more,
        )  # fmt: skip


def openai_chat(spent: Spent, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    usage = {
        "prompt_tokens": spent.sent,
        "completion_tokens": spent.answered,
        "total_tokens": spent.sent + spent.answered,
        "prompt_tokens_details": {
            "cached_tokens": spent.read,
            "cache_write_tokens": spent.short,
            "audio_tokens": spent.sound_in,
        },
        "completion_tokens_details": {
            "reasoning_tokens": spent.thoughts,
            "audio_tokens": spent.sound_out,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    base = {"id": "chatcmpl-1", "created": 1, "model": f"{model}-served", "service_tier": spent.tier or "default"}
    message = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}
    whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
    chunk = {**base, "object": "chat.completion.chunk"}
    words = [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None} for word in TEXT.split()]
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [{**chunk, "choices": [each], "usage": None} for each in (*words, end)]
    return whole, [*chunks, {**chunk, "choices": [], "usage": usage}]


def openai_responses(spent: Spent, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    text = {"type": "output_text", "text": TEXT, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    action = {"type": "search", "query": "x"}
    output: list[dict[str, Any]] = [
        {"id": f"ws_{n}", "type": "web_search_call", "status": "completed", "action": action}
        for n in range(spent.searches)
    ]
    output += [
        {"id": f"fs_{n}", "type": "file_search_call", "status": "completed", "queries": ["x"]}
        for n in range(spent.files)
    ]
    output += [
        {
            "id": f"ci_{n}", "type": "code_interpreter_call", "status": "completed", "code": "1",
            "container_id": f"cntr_{n // 2}", "outputs": [],
        }
        for n in range(2 * spent.containers)
    ]  # fmt: skip
    usage = {
        "input_tokens": spent.sent,
        "input_tokens_details": {"cached_tokens": spent.read, "cache_write_tokens": spent.short},
        "output_tokens": spent.answered,
        "output_tokens_details": {"reasoning_tokens": spent.thoughts},
        "total_tokens": spent.sent + spent.answered,
    }
    base = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": f"{model}-served", "parallel_tool_calls": True,
        "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    whole = {
        **base, "status": "completed", "output": [*output, message], "usage": usage,
        "service_tier": spent.tier or "default",
    }  # fmt: skip
    begun = {**base, "status": "in_progress", "output": [], "usage": None, "service_tier": "auto"}
    events: list[dict[str, Any]] = [{"type": "response.created", "sequence_number": 0, "response": begun}]
    for number, word in enumerate(TEXT.split(), 1):
        delta = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0}
        events.append({**delta, "sequence_number": number, "delta": f"{word} ", "logprobs": []})
    return whole, [*events, {"type": "response.completed", "sequence_number": 99, "response": whole}]


def anthropic(spent: Spent, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    usage: dict[str, Any] = {
        "input_tokens": spent.fresh,
        "cache_read_input_tokens": spent.read,
        "cache_creation_input_tokens": spent.short + spent.hour,
        "cache_creation": {"ephemeral_5m_input_tokens": spent.short, "ephemeral_1h_input_tokens": spent.hour},
        "output_tokens": spent.answered,
        "service_tier": spent.tier or "standard",
        **spent.extra,
    }
    if spent.thoughts:
        usage["output_tokens_details"] = {"thinking_tokens": spent.thoughts}
    if spent.searches:
        usage["server_tool_use"] = {"web_search_requests": spent.searches, "web_fetch_requests": 3}
    base = {"id": "msg_1", "type": "message", "role": "assistant", "model": f"{model}-served", "stop_sequence": None}
    block = {"type": "text", "text": TEXT}
    whole = {**base, "content": [block], "stop_reason": "end_turn", "usage": usage}
    begun = {**base, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    begun["usage"].pop("server_tool_use", None)
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    deltas = [{"type": "text_delta", "text": f"{word} "} for word in TEXT.split()]
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    said = {name: value for name, value in usage.items() if name not in {"cache_creation", "service_tier"}}
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": said},
        {"type": "message_stop"},
    ]
    return whole, events


def gemini(spent: Spent, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    details = [{"modality": "TEXT", "tokenCount": spent.sent - spent.sound_in - spent.picture_in}]
    details += [{"modality": "AUDIO", "tokenCount": spent.sound_in}] if spent.sound_in else []
    details += [{"modality": "IMAGE", "tokenCount": spent.picture_in}] if spent.picture_in else []
    usage = {
        "promptTokenCount": spent.sent,
        "cachedContentTokenCount": spent.read,
        "candidatesTokenCount": spent.said,
        "thoughtsTokenCount": spent.thoughts,
        "totalTokenCount": spent.sent + spent.answered,
        "promptTokensDetails": details,
        "trafficType": {"priority": "ON_DEMAND_PRIORITY", "flex": "ON_DEMAND_FLEX"}.get(spent.tier or "", "ON_DEMAND"),
    }
    content = {"role": "model", "parts": [{"text": TEXT}]}
    candidate: dict[str, Any] = {"index": 0, "finishReason": "STOP", "content": content}
    if spent.searches:
        candidate["groundingMetadata"] = {"webSearchQueries": [f"query {n}" for n in range(spent.searches)]}
    base = {"modelVersion": f"{model}-served", "responseId": "r1"}
    whole = {**base, "candidates": [candidate], "usageMetadata": usage}
    chunks: list[dict[str, Any]] = []
    for number, word in enumerate(TEXT.split(), 1):
        so_far = {
            "promptTokenCount": spent.sent,
            "candidatesTokenCount": number,
            "totalTokenCount": spent.sent + number,
        }
        part = {"index": 0, "content": {"role": "model", "parts": [{"text": f"{word} "}]}}
        chunks.append({**base, "candidates": [part], "usageMetadata": so_far})
    last = {**candidate, "content": {"role": "model", "parts": [{"text": ""}]}}
    return whole, [*chunks, {**base, "candidates": [last], "usageMetadata": usage}]


def bedrock(spent: Spent, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    usage: dict[str, Any] = {
        "inputTokens": spent.fresh,
        "outputTokens": spent.answered,
        "totalTokens": spent.fresh + spent.answered,
        "cacheReadInputTokens": spent.read,
        "cacheWriteInputTokens": spent.short + spent.hour,
    }
    if spent.hour:
        usage["cacheDetails"] = [{"ttl": "5m", "inputTokens": spent.short}, {"ttl": "1h", "inputTokens": spent.hour}]
    tier = {"serviceTier": {"type": spent.tier or "default"}}
    message = {"role": "assistant", "content": [{"text": TEXT}]}
    whole = {
        "output": {"message": message},
        "stopReason": "end_turn",
        "usage": usage,
        "metrics": {"latencyMs": 1},
        **tier,
    }
    events: list[dict[str, Any]] = [{"messageStart": {"role": "assistant"}}]
    events += [{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": f"{w} "}}} for w in TEXT.split()]
    events += [{"contentBlockStop": {"contentBlockIndex": 0}}, {"messageStop": {"stopReason": "end_turn"}}]
    return whole, [*events, {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}, **tier}}]


def openrouter(spent: Spent, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    whole, chunks = openai_chat(spent, model)
    usage = {**whole["usage"], "cost": 0.0123, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}
    chunks = [*chunks[:-1], {**chunks[-1], "usage": usage}]
    return {**whole, "usage": usage, "provider": "OpenAI"}, [{**chunk, "provider": "OpenAI"} for chunk in chunks]


MAKERS: dict[str, Callable[[Spent, str], tuple[dict[str, Any], list[dict[str, Any]]]]] = {
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "anthropic": anthropic,
    "gemini": gemini,
    "bedrock": bedrock,
    "openrouter": openrouter,
    "openai_compatible": openai_chat,
}
MODELS = {
    "openai_chat": "gpt-5.5",
    "openai_responses": "gpt-5.5",
    "anthropic": "claude-opus-4-6",
    "gemini": "gemini-3.8-flash",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "openrouter": "openrouter/openai/gpt-4o",
    "openai_compatible": "gpt-5.5",
}

"""OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from loopback.answering import Asked, Bill, RefusedError, Said, pieces, text_of

_KNOWN = frozenset(
    {
        "messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
        "max_completion_tokens", "max_tokens", "metadata", "modalities", "n", "parallel_tool_calls", "prediction",
        "presence_penalty", "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier", "seed",
        "service_tier", "stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools",
        "top_logprobs", "top_p", "user", "verbosity", "web_search_options", "top_k",
    }
)  # fmt: skip


def serves(path: str) -> bool:
    return path.endswith("/chat/completions")


def read(path: str, body: dict[str, Any]) -> Asked:
    """Raises `RefusedError`."""
    model = body["model"]
    if unknown := sorted(set(body) - _KNOWN):
        raise RefusedError(400, f"Unrecognized request argument supplied: {unknown[0]}", unknown[0])
    if re.match(r"o\d|gpt-5", model) and "max_tokens" in body:
        told = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
        raise RefusedError(400, told, "max_tokens")
    if {"max_tokens", "max_completion_tokens"} <= set(body):
        raise RefusedError(400, "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
    functions = [tool["function"] for tool in body.get("tools") or () if tool["type"] == "function"]
    choice = body.get("tool_choice")
    wanted = body.get("response_format") or {}
    schema: Any = wanted["json_schema"]["schema"] if wanted.get("type") == "json_schema" else None
    if schema is not None and any(not each.get("strict") for each in functions):
        raise RefusedError(400, "All tools must be strict where the answer has a schema.", "tools")
    last = body["messages"][-1]
    users = [message for message in body["messages"] if message["role"] == "user"]
    return Asked(
        model=model,
        text=text_of(users[-1]["content"]) if users else "",
        tools={each["name"]: each.get("parameters") or {} for each in functions},
        forced=choice["function"]["name"] if isinstance(choice, dict) else choice == "required",
        schema={} if wanted.get("type") == "json_object" else schema,
        answered=last["role"] == "tool",
        cap=body.get("max_tokens") or body.get("max_completion_tokens"),
        streams=bool(body.get("stream")),
        counts=bool((body.get("stream_options") or {}).get("include_usage")),
        body=body,
    )


def failed(error: RefusedError) -> Any:
    return {"error": {"message": str(error), "type": "invalid_request_error", "param": error.param, "code": None}}


def answer(asked: Asked, said: Said, bill: Bill) -> Any:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if calls := _calls(said, bill):
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    name = said.version or asked.model
    head = {"id": f"chatcmpl-{bill.number}", "object": "chat.completion", "created": 1, "model": name}
    return {**head, "choices": [choice], "usage": _usage(bill)}


def events(asked: Asked, said: Said, bill: Bill) -> Iterator[Any]:
    name = said.version or asked.model
    head = {"id": f"chatcmpl-{bill.number}", "object": "chat.completion.chunk", "created": 1, "model": name}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> Any:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    for word in pieces(said.text):
        yield chunk({"content": word})
    calls = _calls(said, bill)
    for index, call in enumerate(calls):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, "tool_calls" if calls else "stop")
    if asked.counts:
        yield {**head, "choices": [], "usage": _usage(bill)}
    yield "[DONE]"


def _calls(said: Said, bill: Bill) -> list[Any]:
    return [
        {
            "id": f"call_{bill.number}_{n}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given)},
        }
        for n, (name, given) in enumerate(said.calls)
    ]


def _usage(bill: Bill) -> Any:
    return {
        "prompt_tokens": bill.sent,
        "completion_tokens": bill.made,
        "total_tokens": bill.sent + bill.made,
        "prompt_tokens_details": {"cached_tokens": bill.cached},
        "completion_tokens_details": {"reasoning_tokens": bill.thoughts},
    }

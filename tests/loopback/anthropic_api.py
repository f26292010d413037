"""Anthropic's messages: https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from loopback.answering import Asked, Bill, RefusedError, Said, pieces, text_of

_KNOWN = frozenset(
    {
        "model", "messages", "max_tokens", "system", "metadata", "stop_sequences", "stream", "temperature", "top_k",
        "top_p", "tools", "tool_choice", "thinking", "service_tier", "container", "context_management", "mcp_servers",
        "output_config", "output_format", "cache_control", "inference_geo", "speed",
    }
)  # fmt: skip


def serves(path: str) -> bool:
    return path.endswith("/messages")


def read(path: str, body: dict[str, Any]) -> Asked:
    """Raises `RefusedError`."""
    if unknown := sorted(set(body) - _KNOWN):
        raise RefusedError(400, f"{unknown[0]}: Extra inputs are not permitted", unknown[0])
    if "max_tokens" not in body:
        raise RefusedError(400, "max_tokens: Field required", "max_tokens")
    choice = body.get("tool_choice") or {}
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    last = body["messages"][-1]
    results = [part for part in last["content"] if isinstance(part, dict) and part.get("type") == "tool_result"]
    users = [each for each in body["messages"] if each["role"] == "user" and text_of(each["content"])]
    return Asked(
        model=body["model"],
        text=text_of(users[-1]["content"]) if users else "",
        tools={tool["name"]: tool["input_schema"] for tool in body.get("tools") or () if "input_schema" in tool},
        forced=choice.get("name") or choice.get("type") == "any",
        schema=wanted.get("schema"),
        answered=bool(results) and isinstance(last["content"], list),
        cap=body["max_tokens"],
        streams=bool(body.get("stream")),
        body=body,
    )


def failed(error: RefusedError) -> Any:
    return {"type": "error", "error": {"type": "invalid_request_error", "message": str(error)}}


def answer(asked: Asked, said: Said, bill: Bill) -> Any:
    stop = "tool_use" if said.calls else "end_turn"
    return {**_head(asked, bill), "content": _content(said, bill), "stop_reason": stop, "usage": _usage(bill)}


def events(asked: Asked, said: Said, bill: Bill) -> Iterator[Any]:
    begun = {**_head(asked, bill), "content": [], "stop_reason": None, "usage": {**_usage(bill), "output_tokens": 1}}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(_content(said, bill)):
        text = block["type"] == "text"
        empty = {**block, "text": ""} if text else {**block, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for piece in pieces(block["text"]) if text else [json.dumps(block["input"])]:
            delta = (
                {"type": "text_delta", "text": piece} if text else {"type": "input_json_delta", "partial_json": piece}
            )
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": "tool_use" if said.calls else "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": _usage(bill)}
    yield {"type": "message_stop"}


def _head(asked: Asked, bill: Bill) -> dict[str, Any]:
    return {
        "id": f"msg_{bill.number}", "type": "message", "role": "assistant", "model": asked.model, "stop_sequence": None,
    }  # fmt: skip


def _content(said: Said, bill: Bill) -> list[Any]:
    texts = [{"type": "text", "text": said.text}] if said.text else []
    return [
        *texts,
        *(
            {"type": "tool_use", "id": f"toolu_{bill.number}_{n}", "name": name, "input": dict(given)}
            for n, (name, given) in enumerate(said.calls)
        ),
    ]


def _usage(bill: Bill) -> Any:
    """Input without what was read from the cache or written to it."""
    return {
        "input_tokens": bill.sent - bill.cached - bill.written,
        "output_tokens": bill.made,
        "cache_read_input_tokens": bill.cached,
        "cache_creation_input_tokens": bill.written,
    }

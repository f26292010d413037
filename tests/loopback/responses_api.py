"""OpenAI's Responses: https://platform.openai.com/docs/api-reference/responses"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from loopback.answering import Asked, Bill, RefusedError, Said, pieces, text_of
from loopback.openai_api import failed

__all__ = ["answer", "events", "failed", "read", "serves"]


def serves(path: str) -> bool:
    return path.endswith("/responses")


def read(path: str, body: dict[str, Any]) -> Asked:
    """Raises `RefusedError`."""
    if wrong := {"max_tokens", "max_completion_tokens", "messages"} & set(body):
        raise RefusedError(400, f"Unknown parameter: '{min(wrong)}'.", min(wrong))
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    users = [item for item in items if item.get("role") == "user"]
    tools = {
        tool["name"]: tool.get("parameters") or {} for tool in body.get("tools") or () if tool["type"] == "function"
    }
    choice = body.get("tool_choice")
    wanted = (body.get("text") or {}).get("format") or {}
    return Asked(
        model=body["model"],
        text=text_of(users[-1]["content"]) if users else "",
        tools=tools,
        forced=choice["name"] if isinstance(choice, dict) else choice == "required",
        schema={} if wanted.get("type") == "json_object" else wanted.get("schema"),
        answered=items[-1].get("type") == "function_call_output",
        cap=body.get("max_output_tokens"),
        streams=bool(body.get("stream")),
        body=body,
    )


def answer(asked: Asked, said: Said, bill: Bill) -> Any:
    return _response(asked, bill, "completed", _items(said, bill), _usage(bill))


def events(asked: Asked, said: Said, bill: Bill) -> Iterator[Any]:
    yield {
        "type": "response.created",
        "sequence_number": 0,
        "response": _response(asked, bill, "in_progress", [], None),
    }
    for place, item in enumerate(_items(said, bill)):
        at: dict[str, Any] = {"output_index": place, "item_id": item["id"], "sequence_number": place + 1}
        if item["type"] == "message":
            text = item["content"][0]["text"]
            yield {"type": "response.output_item.added", **at, "item": {**item, "content": [], "status": "in_progress"}}
            part = {"type": "output_text", "text": "", "annotations": []}
            yield {"type": "response.content_part.added", **at, "content_index": 0, "part": part}
            for word in pieces(text):
                yield {"type": "response.output_text.delta", **at, "content_index": 0, "delta": word, "logprobs": []}
            yield {"type": "response.output_text.done", **at, "content_index": 0, "text": text, "logprobs": []}
            yield {"type": "response.content_part.done", **at, "content_index": 0, "part": item["content"][0]}
        else:
            yield {"type": "response.output_item.added", **at, "item": {**item, "arguments": ""}}
            yield {"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]}
            yield {
                "type": "response.function_call_arguments.done", **at, "arguments": item["arguments"],
                "name": item["name"],
            }  # fmt: skip
        yield {"type": "response.output_item.done", **at, "item": item}
    whole = _response(asked, bill, "completed", _items(said, bill), _usage(bill))
    yield {"type": "response.completed", "sequence_number": 99, "response": whole}


def _items(said: Said, bill: Bill) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {
            "type": "function_call", "id": f"fc_{bill.number}_{n}", "call_id": f"call_{bill.number}_{n}", "name": name,
            "arguments": json.dumps(given), "status": "completed",
        }
        for n, (name, given) in enumerate(said.calls)
    ]  # fmt: skip
    if said.text:
        content = [{"type": "output_text", "text": said.text, "annotations": []}]
        items.append(
            {"type": "message", "id": f"msg_{bill.number}", "role": "assistant", "status": "completed",
             "content": content}
        )  # fmt: skip
    return items


def _response(asked: Asked, bill: Bill, status: str, output: list[Any], usage: Any) -> Any:
    return {
        "id": f"resp_{bill.number}", "object": "response", "created_at": 1, "status": status, "model": asked.model,
        "output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage,
        "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": 1, "top_p": 1,
        "text": asked.body.get("text") or {"format": {"type": "text"}},
    }  # fmt: skip


def _usage(bill: Bill) -> Any:
    return {
        "input_tokens": bill.sent,
        "output_tokens": bill.made,
        "total_tokens": bill.sent + bill.made,
        "input_tokens_details": {"cached_tokens": bill.cached},
        "output_tokens_details": {"reasoning_tokens": bill.thoughts},
    }

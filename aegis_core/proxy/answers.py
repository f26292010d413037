"""What a judge reads of an answer of any of the APIs, whole or as a stream brought it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from aegis_core.kaizen.experiments.judges import Answer

_UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError)


def answer_in(data: bytes, model: str) -> Answer | None:
    """The answer of a model that these bytes are; what is no such answer has failed. None: a stream without its end, of
    which nobody knows how it would have gone on."""
    begun = data.lstrip()[:1]
    if begun in {b"{", b""}:
        try:
            return _whole(json.loads(data), model)
        except _UNREADABLE:
            return Answer(model, failed=True)
    try:
        parts: list[Any] = json.loads(data) if begun == b"[" else list(_events(data))
        body = _joined(parts)
        return None if body is None else _whole(body, model)
    except _UNREADABLE:
        return None


def _events(data: bytes) -> Iterable[Any]:
    """The JSON of server-sent events, each of which has it in one line at all these APIs."""
    for line in data.splitlines():
        said = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
        if said and said != b"[DONE]":
            yield json.loads(said)


def _whole(body: Any, model: str) -> Answer:
    version = body.get("model") or body.get("modelVersion") or ""
    if "choices" in body:
        message = body["choices"][0]["message"]
        used = [each["function"] for each in message.get("tool_calls") or ()]
        calls = [(each["name"], each["arguments"]) for each in used]
        text, failed = message.get("content") or "", bool(message.get("refusal"))
    elif "output" in body:
        calls = [(each["name"], each["arguments"]) for each in body["output"] if each["type"] == "function_call"]
        parts = [part for each in body["output"] if each["type"] == "message" for part in each["content"]]
        text = "".join(part.get("text", "") for part in parts)
        failed = any(part["type"] == "refusal" for part in parts)
    elif "candidates" in body:
        parts = body["candidates"][0]["content"].get("parts", ())
        calls = [(each["functionCall"]["name"], json.dumps(each["functionCall"].get("args", {}))) for each in parts
                 if "functionCall" in each]  # fmt: skip
        text, failed = "".join(each.get("text", "") for each in parts), False
    else:
        parts = body["content"]
        calls = [(each["name"], json.dumps(each["input"])) for each in parts if each["type"] == "tool_use"]
        text = "".join(each["text"] for each in parts if each["type"] == "text")
        failed = body.get("stop_reason") == "refusal"
    return Answer(model, text, tuple(calls), failed=failed, version=str(version))


def _joined(parts: list[Any]) -> Any:
    """The parts of a stream as the one answer that the same API gives without streaming; None: its end is missing."""
    if any("choices" in part for part in parts):
        return _of_chunks(parts)
    if any("candidates" in part for part in parts):
        return _of_candidates(parts)
    ended = [part["response"] for part in parts if part.get("type") in {"response.completed", "response.incomplete"}]
    return ended[-1] if ended else _of_blocks(parts)


def _of_chunks(parts: list[Any]) -> Any:
    message: dict[str, Any] = {"content": "", "refusal": ""}
    calls: dict[int, dict[str, str]] = {}
    ended, version = False, ""
    for part in parts:
        version = part.get("model") or version
        for choice in part.get("choices") or ():
            if choice.get("index"):
                continue  # the judge sees the first answer
            ended = ended or bool(choice.get("finish_reason"))
            delta: Any = choice.get("delta") or {}
            for name in ("content", "refusal"):
                message[name] += delta.get(name) or ""
            for call in delta.get("tool_calls") or ():
                said: Any = call["function"]
                found = calls.setdefault(int(call.get("index", 0)), {"name": "", "arguments": ""})
                for name in ("name", "arguments"):
                    found[name] += said.get(name) or ""
    message["tool_calls"] = [{"function": calls[at]} for at in sorted(calls)]
    return {"choices": [{"message": message}], "model": version} if ended else None


def _of_candidates(parts: list[Any]) -> Any:
    found: list[Any] = []
    ended, version = False, ""
    for part in parts:
        version = part.get("modelVersion") or version
        for candidate in (part.get("candidates") or ())[:1]:
            ended = ended or bool(candidate.get("finishReason"))
            found += cast("dict[str, Any]", candidate.get("content") or {}).get("parts") or ()
    return {"candidates": [{"content": {"parts": found}}], "modelVersion": version} if ended else None


def _of_blocks(parts: list[Any]) -> Any:
    blocks: dict[int, dict[str, Any]] = {}
    inputs: dict[int, str] = {}
    body: dict[str, Any] = {}
    ended = False
    for part in parts:
        kind = part.get("type")
        if kind == "message_start":
            body["model"] = part["message"].get("model")
        elif kind == "content_block_start":
            blocks[part["index"]] = dict(part["content_block"])
        elif kind == "content_block_delta":
            block, delta = blocks[part["index"]], part["delta"]
            if delta["type"] == "text_delta":
                block["text"] = block.get("text", "") + delta["text"]
            elif delta["type"] == "input_json_delta":
                inputs[part["index"]] = inputs.get(part["index"], "") + delta["partial_json"]
        elif kind == "message_delta":
            body["stop_reason"] = part["delta"].get("stop_reason")
        ended = ended or kind == "message_stop"
    for at, said in inputs.items():
        blocks[at]["input"] = json.loads(said) if said else {}
    return {**body, "content": [blocks[at] for at in sorted(blocks)]} if ended else None

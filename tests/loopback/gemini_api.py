"""Google's generateContent: https://ai.google.dev/api/generate-content"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from loopback.answering import Asked, Bill, RefusedError, Said, pieces, text_of

_KNOWN = frozenset(
    {
        "contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent",
        "serviceTier", "store",
    }
)  # fmt: skip


def serves(path: str) -> bool:
    return "/models/" in path


def read(path: str, body: dict[str, Any]) -> Asked:
    """Raises `RefusedError`."""
    match = re.search(r"/models/([^:]+):(\w+)", path)
    assert match is not None
    if unknown := sorted(set(body) - _KNOWN):
        raise RefusedError(400, f'Invalid JSON payload received. Unknown name "{unknown[0]}"', unknown[0])
    config = body.get("generationConfig") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = calling.get("allowedFunctionNames")
    declared = [each for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()]
    tools = {each["name"]: each.get("parameters") or each.get("parametersJsonSchema") or {} for each in declared}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    said = [each for each in body["contents"] if each.get("role") == "user" and text_of(each["parts"])]
    return Asked(
        model=match[1],
        text=text_of(said[-1]["parts"]) if said else "",
        tools={name: each for name, each in tools.items() if allowed is None or name in allowed},
        forced=calling.get("mode") == "ANY",
        schema={} if schema is None and config.get("responseMimeType") == "application/json" else schema,
        answered=any("functionResponse" in part for part in body["contents"][-1]["parts"]),
        cap=config.get("maxOutputTokens"),
        streams=match[2].startswith("stream"),
        body=body,
    )


def failed(error: RefusedError) -> Any:
    return {"error": {"code": error.status, "message": str(error), "status": "INVALID_ARGUMENT"}}


def answer(asked: Asked, said: Said, bill: Bill) -> Any:
    parts: list[Any] = [{"text": said.text}] if said.text else []
    parts += [{"functionCall": {"name": name, "args": dict(given)}} for name, given in said.calls]
    return _chunk(asked, bill, parts, "STOP", bill.made)


def events(asked: Asked, said: Said, bill: Bill) -> Iterator[Any]:
    words = pieces(said.text)
    for number, word in enumerate(words, 1):
        last = number == len(words) and not said.calls
        yield _chunk(asked, bill, [{"text": word}], "STOP" if last else None, bill.made if last else 1)
    if said.calls or not words:
        parts: Any = [{"functionCall": {"name": name, "args": dict(given)}} for name, given in said.calls]
        yield _chunk(asked, bill, parts, "STOP", bill.made)


def _chunk(asked: Asked, bill: Bill, parts: list[Any], finish: str | None, made: int) -> Any:
    thoughts = min(bill.thoughts, made)
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
    return {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "usageMetadata": {
            "promptTokenCount": bill.sent,
            "candidatesTokenCount": made - thoughts,
            "thoughtsTokenCount": thoughts,
            "totalTokenCount": bill.sent + made,
            "cachedContentTokenCount": bill.cached,
        },
        "modelVersion": asked.model,
        "responseId": f"r{bill.number}",
    }

"""LangChain's messages in the shape that the core reads, and what a request says beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages

from aegis_core.adapting.request_settings import settings_in

_ROLES = {"human": "user", "ai": "assistant"}


def openai_messages(messages: Sequence[BaseMessage]) -> list[dict[str, object]]:
    """Messages as OpenAI spells them; one that OpenAI has no words for (a video) as it is: it is only to be counted."""
    try:
        return convert_to_openai_messages(list(messages))
    except ValueError:
        return [each for message in messages for each in _as_far_as_can_be(message)]


def _as_far_as_can_be(message: BaseMessage) -> list[dict[str, object]]:
    try:
        return convert_to_openai_messages([message])
    except ValueError:
        shaped: dict[str, object] = {"role": _ROLES.get(message.type, message.type), "content": message.content}
        if isinstance(message, AIMessage) and message.tool_calls:
            calls = [{"name": call["name"], "arguments": call["args"]} for call in message.tool_calls]
            shaped["tool_calls"] = [{"type": "function", "function": call} for call in calls]
        return [shaped]


def settings_of(
    messages: Sequence[BaseMessage], call: Mapping[str, Any], *held: Mapping[str, Any]
) -> dict[str, object]:
    """What a request says beside messages and tools, see `settings_in`; and its cache points, which the shape of OpenAI
    has no words for."""
    found = settings_in(call, *held)
    if "cache_control" not in found and (points := _cache_points(messages)):
        found["cache_control"] = next((each for each in points if each.get("ttl") == "1h"), points[0])
    return found


def _cache_points(messages: Sequence[BaseMessage]) -> list[Mapping[str, Any]]:
    """What parts of messages say of the cache."""
    points: list[Mapping[str, Any]] = []
    for message in messages:
        parts: list[Any] = list(message.content) if isinstance(message.content, list) else []
        for part in [*parts, message.additional_kwargs]:
            said = cast("Mapping[str, Any]", part).get("cache_control") if isinstance(part, Mapping) else None
            if isinstance(said, Mapping):
                points.append(cast("Mapping[str, Any]", said))
            elif isinstance(part, Mapping) and "cachePoint" in part:
                points.append({})
    return points

"""LangChain's messages, tools, models and usage in the shapes that the core reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.utils.function_calling import convert_to_openai_tool

from aegis_core.protocol.errors import ConfigurationError

_ROLES = {"human": "user", "ai": "assistant"}

ANSWERS = ("n", "best_of", "candidate_count")
"""Settings by which models are asked for several answers at once."""

SETTINGS = (
    "response_format", "text_format", "text", "previous_response_id", "conversation", "prompt", "service_tier",
    "modalities", "audio", "prediction", "web_search_options", "max_tool_calls", "context_management", "truncation",
    "cache_control", "inference_geo", "speed", "functions", "extra_body", "response_schema", "cached_content",
    "response_modalities",
)  # fmt: skip
"""What a request says beside messages and tools that is input, or that changes what it may cost."""

Models = Mapping[str, BaseChatModel] | Sequence[BaseChatModel] | BaseChatModel


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


def openai_tools(tools: Iterable[Any]) -> list[dict[str, object]]:
    """Tool definitions as OpenAI spells them; a provider's own, which are mappings, stay as they are."""
    return [dict(cast("Mapping[str, object]", each)) if isinstance(each, Mapping) else convert_to_openai_tool(each)
            for each in tools]  # fmt: skip


def settings_of(messages: Sequence[BaseMessage], *said: Mapping[str, Any]) -> dict[str, object]:
    """What a request says beside messages and tools, the first who says it counting; and its cache points, which the
    shape of OpenAI has no words for."""
    found: dict[str, object] = {}
    for each in said:
        for name in SETTINGS:
            if name not in found and each.get(name) is not None:
                found[name] = each[name]
    if "cache_control" not in found and (points := _cache_points(messages)):
        found["cache_control"] = next((each for each in points if each.get("ttl") == "1h"), points[0])
    return found


def own_settings(model: BaseChatModel) -> dict[str, object]:
    """What a model is set to, which it sends with each request."""
    fields = type(model).model_fields
    held = {name: getattr(model, name) for name in SETTINGS if name in fields}
    more = getattr(model, "model_kwargs", None)
    return held | dict(cast("Mapping[str, object]", more)) if isinstance(more, Mapping) else held


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


def name_of(model: BaseChatModel) -> str:
    """The name by which its provider knows a model.

    Raises:
        ConfigurationError: the model does not say; give ``models={"name": model}``.
    """
    params = cast("Mapping[str, object]", model._get_ls_params())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - what tracing reads
    name = params.get("ls_model_name") or getattr(model, "model_name", None) or getattr(model, "model", None)
    if not isinstance(name, str):
        raise ConfigurationError(
            f'{type(model).__name__} does not say which model it calls; name it: models={{"gpt-4o-mini": model}}.'
        )
    return name


def cap_of(model: BaseChatModel, kwargs: Mapping[str, object]) -> int | None:
    """The output cap that a call declares: its own, else its model's."""
    params = cast("Mapping[str, object]", model._get_ls_params())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    caps = (kwargs.get("max_tokens"), kwargs.get("max_completion_tokens"), kwargs.get("max_output_tokens"),
            params.get("ls_max_tokens"))  # fmt: skip
    return next((each for each in caps if isinstance(each, int)), None)


def named(models: Models) -> dict[str, BaseChatModel]:
    """Models by name.

    Raises:
        ConfigurationError: none is given, two have one name, or one is not a chat model.
    """
    if isinstance(models, BaseChatModel):
        models = [models]
    if isinstance(models, Mapping):
        found = dict(cast("Mapping[str, Any]", models))
    else:
        found: dict[str, Any] = {}
        for model in cast("Sequence[object]", models):
            name = name_of(model) if isinstance(model, BaseChatModel) else str(model)
            if name in found:
                raise ConfigurationError(f"models= holds two models of the name {name}; name them apart in a mapping.")
            found[name] = model
    wrong = next((each for each in found.values() if not isinstance(each, BaseChatModel)), None)
    if wrong is not None or not found:
        shown = "it is empty" if wrong is None else f"this one holds {type(wrong).__name__}"
        raise ConfigurationError(f"models= takes chat models of LangChain, a list or a mapping by name; {shown}.")
    return found

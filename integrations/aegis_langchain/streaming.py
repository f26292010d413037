"""A model's own stream, asked for its usage."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from aegis_core.adapting.stream_usage import USAGE_OPTION, awith_usage, with_usage
from aegis_langchain.usage import Heard

_SETTING = "stream_usage"


def chunks(
    model: BaseChatModel, messages: list[BaseMessage], stop: Any, kwargs: dict[str, Any], seen: Heard
) -> Generator[ChatGenerationChunk]:
    """The chunks, each of which `seen` hears first."""

    def begin(asks: bool) -> Generator[ChatGenerationChunk]:
        sent = {**kwargs, _SETTING: True} if asks else kwargs
        with closing(cast("Any", model._stream(messages, stop, None, **sent))) as parts:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            for part in parts:
                seen.add(part)
                yield part

    return with_usage(_address(model, kwargs), begin)


def achunks(
    model: BaseChatModel, messages: list[BaseMessage], stop: Any, kwargs: dict[str, Any], seen: Heard
) -> AsyncGenerator[ChatGenerationChunk]:
    """As `chunks`."""

    async def begin(asks: bool) -> AsyncGenerator[ChatGenerationChunk]:
        sent = {**kwargs, _SETTING: True} if asks else kwargs
        async with aclosing(cast("Any", model._astream(messages, stop, None, **sent))) as parts:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            async for part in parts:
                seen.add(part)
                yield part

    return awith_usage(_address(model, kwargs), begin)


def _address(model: BaseChatModel, kwargs: Mapping[str, Any]) -> str | None:
    """Where a model's server is; None: the model takes no request for usage, or somebody has decided it."""
    more = cast("Mapping[str, object]", getattr(model, "model_kwargs", None) or {})
    if _SETTING not in type(model).model_fields or _SETTING in kwargs or USAGE_OPTION in kwargs or USAGE_OPTION in more:
        return None
    decided = _SETTING in model.model_fields_set and getattr(model, _SETTING) is not None
    if decided or getattr(model, _SETTING):
        return None
    responses = getattr(model, "_use_responses_api", None)
    if callable(responses) and responses({**kwargs, **more}):  # its streams end with the usage
        return None
    client = getattr(model, "root_client", None) or getattr(model, "root_async_client", None)
    return str(getattr(client, "base_url", None) or getattr(model, "openai_api_base", None) or type(model).__name__)

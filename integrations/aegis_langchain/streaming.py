"""Asking a model's stream for its usage, which some servers say only then."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from aegis_core.metering.failures import status_of
from aegis_langchain.usage import Heard

_OPTION = "stream_options"
_SETTING = "stream_usage"

_refusing: set[str] = set()
"""Base URLs of servers that take no request for usage."""
_lock = threading.Lock()


def chunks(
    model: BaseChatModel, messages: list[BaseMessage], stop: Any, kwargs: dict[str, Any], seen: Heard
) -> Iterator[ChatGenerationChunk]:
    """A model's stream, asked for its usage; again without that where the server does not know it."""
    asked = _asking(model, kwargs)
    try:
        with closing(cast("Any", model._stream(messages, stop, None, **asked))) as parts:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            for part in parts:
                seen.add(part)
                yield part
    except Exception as error:
        if asked is kwargs or seen.begun or not _is_refusal(error):
            raise
        _remember(model)
        yield from chunks(model, messages, stop, kwargs, seen)


async def achunks(
    model: BaseChatModel, messages: list[BaseMessage], stop: Any, kwargs: dict[str, Any], seen: Heard
) -> AsyncGenerator[ChatGenerationChunk]:
    """As `chunks`."""
    asked = _asking(model, kwargs)
    try:
        async with aclosing(cast("Any", model._astream(messages, stop, None, **asked))) as parts:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            async for part in parts:
                seen.add(part)
                yield part
    except Exception as error:
        if asked is kwargs or seen.begun or not _is_refusal(error):
            raise
        _remember(model)
        async for part in achunks(model, messages, stop, kwargs, seen):
            yield part


def _asking(model: BaseChatModel, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords with a request for usage; the same where the model takes none, or somebody has decided it."""
    more = cast("Mapping[str, object]", getattr(model, "model_kwargs", None) or {})
    if _SETTING not in type(model).model_fields or _SETTING in kwargs or _OPTION in kwargs or _OPTION in more:
        return kwargs
    decided = _SETTING in model.model_fields_set and getattr(model, _SETTING) is not None
    if decided or getattr(model, _SETTING) or _address(model) in _refusing:
        return kwargs
    responses = getattr(model, "_use_responses_api", None)
    if callable(responses) and responses({**kwargs, **more}):  # its streams end with the usage
        return kwargs
    return {**kwargs, _SETTING: True}


def _is_refusal(error: Exception) -> bool:
    return status_of(error) in {400, 422} and _OPTION in str(error)


def _remember(model: BaseChatModel) -> None:
    with _lock:
        if len(_refusing) < 1_024:
            _refusing.add(_address(model))


def _address(model: BaseChatModel) -> str:
    client = getattr(model, "root_client", None) or getattr(model, "root_async_client", None)
    return str(getattr(client, "base_url", None) or getattr(model, "openai_api_base", None) or type(model).__name__)

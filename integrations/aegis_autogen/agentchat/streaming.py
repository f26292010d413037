"""A client's stream, asked for its usage."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping

from autogen_core.models import ChatCompletionClient, CreateResult

from aegis_autogen.agentchat.shapes import config_of
from aegis_core.adapting.stream_usage import USAGE_OPTION, awith_usage

_SETTING = "include_usage"

Stream = AsyncGenerator[str | CreateResult]


def usage_stream(client: ChatCompletionClient, extra: Mapping[str, object], stream: Callable[..., Stream]) -> Stream:
    """The parts of a stream.

    Args:
        client: whose stream it is.
        extra: further arguments of the call; what they say of usage is respected.
        stream: begins it, with the keywords that ask.
    """
    return awith_usage(_address(client, extra), lambda asks: stream(**({_SETTING: True} if asks else {})))


def _address(client: ChatCompletionClient, extra: Mapping[str, object]) -> str | None:
    """Where a client's server is; None: the client cannot ask, or somebody has decided it."""
    if _SETTING not in inspect.signature(client.create_stream).parameters:
        return None
    config = config_of(client)
    if USAGE_OPTION in extra or config.get(USAGE_OPTION):
        return None
    return str(config.get("base_url") or type(client).__name__)

"""Asking a client's stream for its usage, which OpenAI and servers like it say only then."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from autogen_core.models import ChatCompletionClient, CreateResult

from aegis_autogen.agentchat.shapes import config_of
from aegis_core.metering.failures import status_of

_OPTION = "stream_options"
_SETTING = "include_usage"

Stream = AsyncGenerator[str | CreateResult, None]

_refusing: set[str] = set()
"""Base URLs of servers that take no request for usage."""
_lock = threading.Lock()


async def with_usage(
    client: ChatCompletionClient, extra: Mapping[str, object], stream: Callable[..., Stream]
) -> Stream:
    """A client's stream, asked for its usage; again without that where the server does not know it.

    Args:
        client: whose stream it is.
        extra: further arguments of the call; what they say of usage is respected.
        stream: begins it, with the keywords that ask.
    """
    begun = False
    address = _address(client)
    asked = {_SETTING: True} if _may_ask(client, extra) and address not in _refusing else {}
    try:
        async with aclosing(stream(**asked)) as parts:
            async for part in parts:
                begun = True
                yield part
        return
    except Exception as error:
        if not asked or begun or status_of(error) not in {400, 422} or _OPTION not in str(error):
            raise
    with _lock:
        if len(_refusing) < 1_024:
            _refusing.add(address)
    async with aclosing(stream()) as parts:
        async for part in parts:
            yield part


def _may_ask(client: ChatCompletionClient, extra: Mapping[str, object]) -> bool:
    """Whether the client can ask, and nobody has decided it."""
    if _SETTING not in inspect.signature(client.create_stream).parameters:
        return False
    return _OPTION not in extra and not config_of(client).get(_OPTION)


def _address(client: ChatCompletionClient) -> str:
    return str(config_of(client).get("base_url") or type(client).__name__)

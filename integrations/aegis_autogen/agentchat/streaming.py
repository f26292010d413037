"""A client's stream, asked for its usage."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping

from autogen_core.models import CreateResult

from aegis_autogen.agentchat.behind import Behind
from aegis_core.adapting.stream_usage import USAGE_OPTION, awith_usage

_SETTING = "include_usage"

Stream = AsyncGenerator[str | CreateResult]


def usage_stream(behind: Behind, extra: Mapping[str, object], stream: Callable[..., Stream]) -> Stream:
    """The parts of a stream.

    Args:
        behind: the client whose stream it is.
        extra: further arguments of the call; what they say of usage is respected.
        stream: begins it, with the keywords that ask.
    """
    return awith_usage(_address(behind, extra), lambda asks: stream(**({_SETTING: True} if asks else {})))


def _address(behind: Behind, extra: Mapping[str, object]) -> str | None:
    """Where a client's server is; None: the client cannot ask, or somebody has decided it."""
    if _SETTING not in inspect.signature(behind.client.create_stream).parameters:
        return None
    if USAGE_OPTION in extra or behind.config.get(USAGE_OPTION) or behind.sends.get(USAGE_OPTION):
        return None
    return str(behind.config.get("base_url") or type(behind.client).__name__)

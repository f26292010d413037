"""Streams that are asked for their usage, which OpenAI and servers like it say only then."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import TypeVar

from aegis_core.metering.failures import status_of

USAGE_OPTION = "stream_options"
"""The parameter by which OpenAI is asked."""

_MOST = 1_024

_Part = TypeVar("_Part")

_refusing: set[str] = set()
"""Addresses of servers that do not know it."""
_lock = threading.Lock()


def with_usage(address: str | None, begin: Callable[[bool], Generator[_Part]]) -> Generator[_Part]:
    """The parts of a stream that is asked for its usage, begun again without that where its server refuses it.

    Args:
        address: where the server is; None: it cannot be asked, or somebody has decided it.
        begin: begins the stream; true: ask.
    """
    asks, begun = _may_ask(address), False
    try:
        with closing(begin(asks)) as parts:
            for part in parts:
                begun = True
                yield part
        return
    except Exception as error:
        if not asks or begun or not _refused(error, address):
            raise
    with closing(begin(False)) as parts:
        yield from parts


async def awith_usage(address: str | None, begin: Callable[[bool], AsyncGenerator[_Part]]) -> AsyncGenerator[_Part]:
    """As `with_usage`."""
    asks, begun = _may_ask(address), False
    try:
        async with aclosing(begin(asks)) as parts:
            async for part in parts:
                begun = True
                yield part
        return
    except Exception as error:
        if not asks or begun or not _refused(error, address):
            raise
    async with aclosing(begin(False)) as parts:
        async for part in parts:
            yield part


def _may_ask(address: str | None) -> bool:
    return address is not None and address not in _refusing


def _refused(error: Exception, address: str | None) -> bool:
    """Whether a server refused the parameter, and not the request; remembers it."""
    if status_of(error) not in {400, 422} or USAGE_OPTION not in str(error):
        return False
    with _lock:
        if address is not None and len(_refusing) < _MOST:
            _refusing.add(address)
    return True

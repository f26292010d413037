"""Reads and changes bodies without keeping others waiting, whatever a client put into one.

What a body takes grows with its values: some microseconds each, and a body may hold millions. One with more than a few
is worked on beside the event loop, of each key one at a time, so that nobody's calls wait for those of another key.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

from aegis_core.protocol.errors import InvalidRequestError, StoreError

FEW_VALUES = 2_000
"""Up to how many values a body is worked on at once: for the others to wait for a thread would take longer."""
MOST_VALUES = 400_000
"""Values of a body; the largest honest ones are 300,000 tokens to embed."""
MOST_ESCAPES = 4_000_000
"""Characters that are escaped in a body: each takes far longer to read than a plain one."""

MOST_HELD = 128 * 1024 * 1024
"""Bytes of bodies of one key that are here at a time, before and while they are answered. One alone may be longer."""

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[,\[{]', re.DOTALL)
"""A whole string, or what begins or separates values outside of strings."""
_CROWDED = "too_many_calls"
_T = TypeVar("_T")


class Turns:
    """Whose body is worked on."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._held: Counter[str] = Counter()

    @contextmanager
    def holding(self, key_id: str) -> Generator[Callable[[int], None]]:
        """Count a body of a key as it comes, and give its bytes back at the end.

        Raises:
            StoreError: by what counts: others of the key leave no room.
        """
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self._held[key_id] > mine and self._held[key_id] + size > MOST_HELD:
                raise StoreError("calls of this key that are not answered yet hold too much; try again.", code=_CROWDED)
            mine += size
            self._held[key_id] += size

        try:
            yield take
        finally:
            self._held[key_id] -= mine
            if not self._held[key_id]:
                del self._held[key_id]

    async def take(self, key_id: str, raw: bytes, work: Callable[[], _T]) -> _T:
        """What `work` answers, which goes through a body.

        Raises:
            InvalidRequestError: the body holds more than anybody's. And what `work` raises.
        """
        if _marks(raw) <= FEW_VALUES and raw.count(b"\\") <= MOST_ESCAPES:
            return work()
        turn = self._turns.get(key_id)
        if turn is None:
            turn = self._turns[key_id] = asyncio.Lock()
        async with turn:
            return await asyncio.to_thread(_bounded, raw, work)


def _bounded(raw: bytes, work: Callable[[], _T]) -> _T:
    if raw.count(b"\\") > MOST_ESCAPES:
        raise _too_many(f"{MOST_ESCAPES:,} escaped characters")
    if _marks(raw) > MOST_VALUES:  # texts hold commas, too, so now they are told apart
        left, tokens = MOST_VALUES, 3 * MOST_VALUES
        for found in _TOKEN.finditer(raw):
            tokens -= 1
            left -= found[0][:1] != b'"'
            if left < 0 or tokens < 0:
                raise _too_many(f"{MOST_VALUES:,} values")
    return work()


def _marks(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _too_many(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"The body holds more than {what}, which is the most that is read.", code="too_large")

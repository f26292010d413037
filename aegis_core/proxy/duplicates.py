"""Calls that say that they are repeats: with the same ``Idempotency-Key`` a call is made once, and answered twice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from aegis_core.proxy.exchange import Message

WAIT_SECONDS = 50.0
"""How long a repeat waits for the first one to end."""
_KEPT_SECONDS = 600.0
_MOST_KEPT = 1_024
_MOST_BYTES = 1024 * 1024
"""Of one answer; a longer one is not kept."""


@dataclass(slots=True, eq=False)
class Attempt:
    """The first call under a key.

    Attributes:
        digest: of what it asked.
        ended: set when it has.
        record: what was answered, for repeats; None: it failed, or was too long to be kept.
    """

    digest: str
    until: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    record: list[Message] | None = None


class Duplicates:
    """The calls of this process that carry such a key."""

    def __init__(self) -> None:
        self._attempts: OrderedDict[tuple[str, bytes], Attempt] = OrderedDict()

    def begin(self, name: tuple[str, bytes], digest: str, now: float) -> tuple[Attempt, bool]:
        """The attempt under a name (whose key, and the client's), and whether it is the caller's to make."""
        found = self._attempts.get(name)
        if found is not None and found.until > now:
            return found, False
        made = self._attempts[name] = Attempt(digest, now + _KEPT_SECONDS)
        self._attempts.move_to_end(name)
        if len(self._attempts) > _MOST_KEPT:
            _, oldest = self._attempts.popitem(last=False)
            oldest.ended.set()
        return made, True

    def end(self, name: tuple[str, bytes], attempt: Attempt, status: int, record: list[Message]) -> None:
        """The call has been answered. What failed may be tried again under the same key."""
        whole = bool(record) and record[-1].get("more_body") is False
        size = sum(len(message.get("body", b"")) for message in record)
        if 200 <= status < 300 and whole and size <= _MOST_BYTES:
            attempt.record = record
        elif self._attempts.get(name) is attempt:
            del self._attempts[name]
        attempt.ended.set()

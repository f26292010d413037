"""Calls that say that they are repeats: with the same ``Idempotency-Key`` a call is made once, and answered twice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from aegis_core.proxy.exchange import Message, taken_by

WAIT_SECONDS = 50.0
"""How long a repeat waits for the first one to end."""
_KEPT_SECONDS = 600.0
_MOST_KEPT = 1_024
MOST_BYTES = 64 * 1024 * 1024
"""Of all answers that are kept; beyond it the oldest ones are forgotten."""


@dataclass(slots=True, eq=False)
class Attempt:
    """The first call under a key.

    Attributes:
        digest: of what it asked.
        ended: set when it has.
        record: what was answered, for repeats; None: it failed, or was too long to be kept.
        size: bytes of the record.
    """

    digest: str
    until: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    record: list[Message] | None = None
    size: int = 0


class Duplicates:
    """The calls of this process that carry such a key."""

    def __init__(self) -> None:
        self._attempts: OrderedDict[tuple[str, bytes], Attempt] = OrderedDict()
        self._bytes = 0

    def begin(self, name: tuple[str, bytes], digest: str, now: float) -> tuple[Attempt, bool]:
        """The attempt under a name (whose key, and the client's), and whether it is the caller's to make."""
        found = self._attempts.get(name)
        if found is not None and found.until > now:
            return found, False
        self._forget(name)
        made = self._attempts[name] = Attempt(digest, now + _KEPT_SECONDS)
        if len(self._attempts) > _MOST_KEPT:
            self._forget(next(iter(self._attempts)))
        return made, True

    def end(self, name: tuple[str, bytes], attempt: Attempt, status: int, record: list[Message] | None) -> None:
        """The call has been answered. What failed may be tried again under the same key."""
        if self._attempts.get(name) is attempt:
            if 200 <= status < 300 and record and record[-1].get("more_body") is False:
                attempt.record, attempt.size = record, sum(map(taken_by, record))
                self._bytes += attempt.size
                for each in [each for each, kept in self._attempts.items() if kept.size]:
                    if self._bytes <= MOST_BYTES:
                        break
                    self._forget(each)
            else:
                del self._attempts[name]
        attempt.ended.set()

    def _forget(self, name: tuple[str, bytes]) -> None:
        gone = self._attempts.pop(name, None)
        if gone is not None:
            self._bytes -= gone.size
            gone.ended.set()

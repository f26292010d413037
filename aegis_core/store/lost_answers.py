"""What was sent and not answered is asked again: a script that was carried out answers a repeat as it did at first."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from aegis_core.protocol.errors import UNKNOWN, AnswerLostError, StoreError
from aegis_core.store.packing import Named
from aegis_core.store.pipeline import UnreachableError
from aegis_core.store.scripts import Script
from aegis_core.store.store import Store

_Arguments = TypeVar("_Arguments", bound=Named)

_FIRST_PAUSE, _LAST_PAUSE = 0.01, 0.25
"""Seconds before a lost call is sent again: at first, and at most."""
_PASSING = frozenset({"loading", "read_only", "down", "slow"})
"""What a server that restarts, or a failover, answers for a while."""

_READING = ("read_", "list_", "lock_list")
"""How the names of verbs begin that carry nothing out."""


async def asked_again(
    store: Store, root: str, script: Script[_Arguments], arguments: _Arguments, error: AnswerLostError, zone: Any = None
) -> Any:
    """The answer to what was lost, as long as its deadline lasts.

    Raises:
        AnswerLostError: the first one, where no answer came in time: only that says what is not known.
        UnreachableError: the same of a verb that only reads.
    """
    loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
    began = loop.time() if error.sent_at is None else error.sent_at
    until = began + (0 if error.facts.get("reason") == "slow" else store.timeout)
    while (left := until - loop.time()) > 0 and error.facts.get("reason") != "closed":
        try:
            return await store.run(script, root, arguments, zone, seconds=left)
        except StoreError as again:
            passing = isinstance(again, AnswerLostError | UnreachableError) or again.facts.get("reason") in _PASSING
            if not passing:
                raise error from None
        await asyncio.sleep(min(pause, max(0.0, until - loop.time())))
        pause = min(2 * pause, _LAST_PAUSE)
    if script.name.startswith(_READING):
        text = error.message.replace(UNKNOWN, "no decision was made.")
        raise UnreachableError(text, **error.facts) from None
    raise error

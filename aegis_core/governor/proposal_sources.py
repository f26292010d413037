"""What proposals are made of, as it is kept: requests of the last events, and earlier policies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aegis_core.governor.operators import Operator
from aegis_core.kaizen.optimizer.recorded import Recorded, recorded
from aegis_core.policy.engine import Policy
from aegis_core.protocol.events import Event

MOST_EVENTS = 20_000
PAGE = 50
"""Events that are read at once: few, as other work of the process waits while they are understood."""


async def asked_lately(back: Callable[[str, int], Awaitable[tuple[Event, ...]]]) -> tuple[Recorded, ...]:
    """The requests of the last `MOST_EVENTS` events, in their order."""
    pages, cursor, left = list[tuple[Event, ...]](), "+", MOST_EVENTS
    while left > 0 and (page := await back(cursor, PAGE)):
        pages.append(page[::-1])
        left -= len(page)
        if len(page) < PAGE:
            break
        cursor = "(" + page[-1].id
    return await asyncio.to_thread(lambda: recorded(event for page in reversed(pages) for event in page))


async def policy_at(operator: Operator, milliseconds: int) -> Policy | None:
    """The policy that was in force at a time, where its version is kept."""
    for each in await operator.policy_history():
        if each.at.timestamp() * 1000 <= milliseconds:
            return (await operator.policy_version(each.version))[1]
    return None

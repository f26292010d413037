"""Counts a tenant's events in a process of its own, which kills itself where it is told to.

``consume.py URL TENANT PLACE TIMES``: at the so-manieth time that it comes to a place (``hold``, ``page``, ``sent``,
``committed``, or ``end`` for none).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from aegis_core.connect import open_governor
from aegis_core.observe import rollups
from aegis_core.observe.rollups import RollupConsumer
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings


class Killed:
    """A port that ends its process at a place."""

    def __init__(self, port: Any, place: str, times: int) -> None:
        self._port, self._place, self._left = port, place, times

    def _at(self, place: str) -> None:
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def hold(self, seconds: float) -> Any:
        lease = await self._port.hold(seconds)
        self._at("hold")
        return lease

    async def page(self, after: str, most: int) -> Any:
        page = await self._port.page(after, most)
        self._at("page")
        return page

    async def commit(self, fence: int, counted: Any) -> bool:
        writing = asyncio.create_task(self._port.commit(fence, counted))
        await asyncio.sleep(0)  # it is on its way, and nobody will ever hear of it
        self._at("sent")
        done = await writing
        self._at("committed")
        return done

    async def leave(self) -> None:
        await self._port.leave()


async def main(url: str, tenant: str, place: str, times: int) -> None:
    """Count everything that there is."""
    rollups.PAGE, rollups.LEASE_SECONDS = 7, 0.2
    store = await open_store(private_settings(url=url, tenant=tenant))
    governor = await open_governor(store, private_settings(url=url, tenant=tenant))
    consumer = RollupConsumer(Killed(governor.observation, place, times))
    while await consumer.look() is None:  # noqa: ASYNC110 - the lease of the one that was killed is not over yet
        await asyncio.sleep(0.02)
    await governor.aclose()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))

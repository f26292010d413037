"""Runs a leased engine of a tenant in a process of its own, which kills itself where it is told to.

``killing.py ENGINE URL TENANT AHEAD PLACE TIMES``: `ENGINE` is ``days`` (closes days) or ``rollups`` (sums up events).
It takes the server's clock to be so many ms ahead, and ends the `TIMES`-th time that it comes to a place (``hold``,
``page``, ``around``, ``sent``, ``committed``, or ``end`` for none).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from aegis_core.connect import open_governor
from aegis_core.kaizen import days
from aegis_core.kaizen.days import DayCloser
from aegis_core.observe import rollups
from aegis_core.observe.rollups import RollupConsumer
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings


class Killed:
    """A port that ends its process at a place."""

    def __init__(self, port: Any, ahead: int = 0, place: str = "end", times: int = 1) -> None:
        self._port, self._ahead, self._place, self._left = port, ahead, place, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def _at(self, place: str) -> None:
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def hold(self, seconds: float) -> Any:
        lease = await self._port.hold(seconds)
        self._at("hold")
        return lease._replace(now=lease.now + self._ahead) if lease and self._ahead else lease

    async def page(self, after: str, most: int) -> Any:
        page = await self._port.page(after, most)
        self._at("page")
        return page

    async def surroundings(self, start: int, end: int) -> Any:
        around = await self._port.surroundings(start, end)
        self._at("around")
        return around

    async def commit(self, fence: int, written: Any) -> bool:
        writing = asyncio.create_task(self._port.commit(fence, written))
        await asyncio.sleep(0)  # it is on its way, and nobody will ever hear of it
        self._at("sent")
        done = await writing
        self._at("committed")
        return done


async def main(engine: str, url: str, tenant: str, ahead: int, place: str, times: int) -> None:
    """Do everything that there is to do."""
    for module in (days, rollups):
        module.PAGE, module.LEASE_SECONDS = 7, 0.2
    store = await open_store(private_settings(url=url, tenant=tenant))
    governor = await open_governor(store, private_settings(url=url, tenant=tenant))
    if engine == "days":
        look = DayCloser(Killed(governor.kaizen, ahead, place, times)).look
    else:
        look = RollupConsumer(Killed(governor.observation, ahead, place, times)).look
    while await look() is None:  # noqa: ASYNC110 - the lease of the one that was killed is not over yet
        await asyncio.sleep(0.02)
    await governor.aclose()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5], int(sys.argv[6])))

"""Runs an experiment in a process of its own, which kills itself where it is told to.

``pairing.py URL TENANT NAME COUNT PLACE TIMES``: it asks and judges `COUNT` requests of experiment `NAME`, whose ids
and answers are always the same, and ends the `TIMES`-th time that it comes to a place (``opening``, ``opened``,
``asked``, ``scoring``, ``scored``, or ``end`` for none).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from typing import Any

from aegis_core.connect import open_governor
from aegis_core.kaizen.experiments.judges import Answer, Outcome, Task
from aegis_core.kaizen.experiments.shadow import Answered, Arm, Asked, Shadow
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings


class Killed:
    """A port that ends its process at a place."""

    def __init__(self, port: Any, place: str, times: int) -> None:
        self._port, self._place, self._left = port, place, times
        self.running, self.see = port.running, port.see

    def at(self, place: str) -> None:
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def renew_limit(self) -> bool:
        return True

    async def open_pair(self, *said: Any, **more: Any) -> int:
        work = asyncio.create_task(self._port.open_pair(*said, **more))
        await asyncio.sleep(0)  # it is on its way, and nobody will ever hear of it
        self.at("opening")
        number: int = await work
        self.at("opened")
        return number

    async def score(self, *said: Any, **more: Any) -> bool:
        work = asyncio.create_task(self._port.score(*said, **more))
        await asyncio.sleep(0)
        self.at("scoring")
        done: bool = await work
        self.at("scored")
        return done


def truth(at: int) -> tuple[float, float]:
    """How well both models do a request: always the same."""
    draws = random.Random(at)
    return draws.choices([(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)], (80, 5, 5, 10))[0]


async def main(url: str, tenant: str, name: str, count: int, place: str, times: int) -> None:
    """Ask and judge them, one after the other."""
    settings = private_settings(url=url, tenant=tenant)
    store = await open_store(settings)
    governor = await open_governor(store, settings)
    port = Killed(governor.experiments, place, times)
    shadow = Shadow(port, Outcome())
    ((_, start, _),) = [each for each in await port.running() if each.name == name]
    for at in range(count):
        present, candidate = truth(at)

        async def ask(arm: Arm, outcome: float = candidate) -> Asked:
            port.at("asked")
            return Asked(Answer(arm.candidate, outcome=outcome))

        task = Task(f"r{at}", start.task_type)
        await shadow.pair(name, start, Answered(task, Answer(start.present, outcome=present), start.present, "a", ask))
    await governor.aclose()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5], int(sys.argv[6])))

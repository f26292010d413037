"""Takes one proposal a step further in a process of its own, which kills itself where it is told to.

``stepping.py URL TENANT PROPOSAL PLACE``: it ends when it comes to a place: ``asking`` (the question is on its way),
``asked``, ``putting`` (a step is on its way), ``put``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from aegis_core.connect import open_governor
from aegis_core.governor.proposal_making import OptimizerTerms
from aegis_core.kaizen.optimizer.recorded import Recorded
from aegis_core.policy.engine import Policy
from aegis_core.protocol.proposals import Backtest
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings

TERMS = OptimizerTerms(stage_ms=2 * 3_600_000)


async def passed(asked: list[Recorded], parent: Policy, changed: Policy) -> Backtest:
    """A backtest in which nothing differs."""
    return Backtest(len(asked), len(asked), 0, 0)


def killed(work: Callable[..., Coroutine[Any, Any, Any]], before: bool, after: bool) -> Callable[..., Any]:
    """The same, and the process ends while it is on its way, or when it has answered."""

    async def wrapped(*said: Any, **more: Any) -> Any:
        going = asyncio.create_task(work(*said, **more))
        if before:
            await asyncio.sleep(0)  # it is sent, and nobody hears the answer
            os.kill(os.getpid(), signal.SIGKILL)
        found = await going
        if after:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return wrapped


async def main(url: str, tenant: str, name: str, place: str) -> None:
    """One engine, until it is killed."""
    settings = private_settings(url=url, tenant=tenant, timezone="UTC")
    store = await open_store(settings, virtual_time=True)
    governor = await open_governor(store, settings)
    engine = governor.optimizer
    engine.terms, engine.backtest = TERMS, passed  # type: ignore[assignment]
    engine.store.put = killed(engine.store.put, place == "putting", place == "put")  # type: ignore[method-assign]
    governor.request_permission = killed(governor.request_permission, place == "asking", place == "asked")  # type: ignore[method-assign]
    await engine.advance(name)
    await governor.aclose()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

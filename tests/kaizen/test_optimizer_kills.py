"""Engines that are killed at every step lose nothing and repeat nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter

import pytest

from aegis_core import Governor, Settings
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock
from tests.kaizen import stepping
from tests.kaizen.test_optimizer import approve, proposed, ready, traffic

Virtual = tuple[Governor, FakeClock, Store]
ONCE = {"kaizen_tested": 1, "kaizen_asked": 1, "kaizen_canary": 3, "kaizen_kept": 1, "policy_published": 2}


@pytest.mark.concurrent
@pytest.mark.parametrize(
    "places",
    [
        ("putting", "asking"),
        *(pytest.param(each, marks=pytest.mark.deep) for each in (("put", "asked"), ("asked", "put"))),
    ],
)
async def test_engines_that_are_killed_lose_and_repeat_nothing(
    virtual: Virtual, settings: Settings, places: tuple[str, str]
) -> None:
    governor, clock, _ = virtual
    of = await ready(governor)
    name = await proposed(of)

    async def killed(*places: str) -> None:
        for place in places:
            command = [sys.executable, stepping.__file__, settings.url, settings.tenant, name, place]
            work = subprocess.run
            ended = await asyncio.to_thread(work, command, check=False, timeout=100, capture_output=True)
            assert ended.returncode in {-signal.SIGKILL, 0}, ended.stderr.decode()

    await killed(*places)
    assert (await of.proposals.one(name)).state in {"tested", "asked"}
    await of.optimizer.look()
    assert len(await of.approvals.list()) == 1
    assert (await approve(of, name)).state == "canary"
    for at in range(3):
        await traffic(governor, 30, first=30 * at)
        await clock.advance(hours=2)
        await killed(places[0] if places[0] != "asked" else "put")
        await of.optimizer.look()
    assert (await of.proposals.one(name)).state == "kept"
    told = Counter(event.kind for event in (await governor.find_events(kind=",".join(ONCE), limit=500)).events)
    assert {kind: told[kind] for kind in ONCE} == ONCE

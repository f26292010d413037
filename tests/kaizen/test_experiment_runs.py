"""Whole experiments: runners that are killed change no evidence, and two count no pair twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

import aegis_core
from aegis_core import Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.kaizen.experiments.betting import Evidence
from aegis_core.protocol.experiments import ExperimentStart
from tests.kaizen import pairing

PROGRAM = [sys.executable, pairing.__file__]
COUNT = 40
WISH = ExperimentStart(task_type="draft", present="gpt-4o", candidate="gpt-4o-mini", share=1)
PLACES = [
    ("opening", 7), ("scoring", 11),
    *(pytest.param(place, times, marks=pytest.mark.deep) for place, times in (
        ("opening", 1), ("opened", 3), ("asked", 5), ("asked", 40), ("scored", 1), ("scored", 39), ("scoring", 40),
    )),
]  # fmt: skip


async def begin(settings: Settings) -> str:
    async with aegis_core.connect(settings=settings) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        return (await governor.port.experiments.start(WISH, author="ada")).experiment_id


async def evidence(settings: Settings, name: str) -> tuple[int, int, float]:
    async with aegis_core.connect(settings=settings) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        found = await governor.port.experiments.one(name)
        return found.pairs, found.open_pairs, found.log_e


def expected() -> float:
    found = Evidence()
    for at in range(COUNT):
        found.add(*pairing.truth(at))
    return found.log_e


@pytest.mark.parametrize(("place", "times"), PLACES)
def test_a_runner_that_is_killed_changes_no_evidence(settings: Settings, place: str, times: int) -> None:
    name = asyncio.run(begin(settings))
    command = [*PROGRAM, settings.url, settings.tenant, name, str(COUNT)]
    killed = subprocess.run([*command, place, str(times)], check=False, timeout=100, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    for _ in range(2):  # and once more, when all is done
        ended = subprocess.run([*command, "end", "1"], check=False, timeout=100, capture_output=True)
        assert ended.returncode == 0, ended.stderr.decode()
        assert asyncio.run(evidence(settings, name)) == (COUNT, 0, pytest.approx(expected(), abs=1e-9))


def test_two_runners_count_no_pair_twice(settings: Settings) -> None:
    name = asyncio.run(begin(settings))
    command = [*PROGRAM, settings.url, settings.tenant, name, str(COUNT), "end", "1"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for each in both:
        _, said = each.communicate(timeout=100)
        assert each.returncode == 0, said.decode()
    pairs, open_, log_e = asyncio.run(evidence(settings, name))
    assert (pairs, open_) == (COUNT, 0)
    assert log_e == pytest.approx(expected(), abs=1e-6), "in whatever order"

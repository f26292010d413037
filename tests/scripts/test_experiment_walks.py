"""Pairs of experiments count as is promised: random walks beside a model, and faults that they must find."""

from __future__ import annotations

import pytest

from .bench import Bench
from .experiment_walk import ExperimentWalk

ACTS = 40


@pytest.mark.parametrize("seed", range(2))
def test_pairs_count_once_and_in_their_order(bench: Bench, seed: int) -> None:
    for each in range(seed * 10, seed * 10 + 3):
        ExperimentWalk(bench, each).walk(ACTS)


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_also_in_five_hundred_walks(bench: Bench) -> None:
    for seed in range(1_000, 1_500):
        ExperimentWalk(bench, seed).walk(ACTS)

"""No member of a workflow ever gets more than opener, plan, or its own profile allow: random walks beside a model."""

from __future__ import annotations

import pytest

from .bench import Bench
from .flow_walk import FlowWalk


@pytest.mark.parametrize("seed", range(3))
def test_no_member_gets_more_than_opener_plan_and_profile_allow(bench: Bench, seed: int) -> None:
    assert _walked(bench, range(seed * 10, seed * 10 + 4)) > 0


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_nor_in_a_thousand_walks(bench: Bench) -> None:
    assert _walked(bench, range(1_000, 2_000)) > 1_000


def _walked(bench: Bench, seeds: range) -> int:
    """How much was granted."""
    granted = 0
    for seed in seeds:
        walk = FlowWalk(bench, seed)
        walk.walk(60)
        granted += walk.granted
    return granted

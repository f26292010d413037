"""The governor on a real server against a small model: money, windows, deadlines, idempotency, events, isolation."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from .bench import Bench
from .machine import machine_on
from .recording import read_traces, walk_again

QUICK = settings(
    max_examples=40, stateful_step_count=60, deadline=None, database=None, derandomize=True, print_blob=False,
    suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate, Phase.shrink],
)  # fmt: skip
FOUND = read_traces("sound_budgets")
"""Where a free hunt once found server and model apart."""
LONG = settings(QUICK, max_examples=3_000, stateful_step_count=80, derandomize=False)


@pytest.mark.timeout(1_800)
def test_every_step_does_what_the_model_does(bench: Bench) -> None:
    machine = machine_on(bench)
    run_state_machine_as_test(machine, settings=QUICK)
    print(f"{machine.examples} examples, {machine.steps} calls")


@pytest.mark.parametrize("walk", FOUND)
def test_a_walk_on_which_a_free_hunt_found_them_apart(bench: Bench, walk: str) -> None:
    walk_again(machine_on(bench), FOUND[walk])


@pytest.mark.deep
@pytest.mark.timeout(3_600)
def test_every_step_does_what_the_model_does_for_long(bench: Bench) -> None:
    run_state_machine_as_test(machine_on(bench), settings=LONG)

"""Approvals on a real server against a small model, and faults in the scripts that the machine must find."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from .approval_machine import approvals_on
from .bench import Bench
from .recording import read_traces, walk_again
from .test_state_machine import QUICK

FOUND = read_traces("sound_approvals")
"""Where a free hunt once found server and model apart."""
ENOUGH = settings(QUICK, max_examples=60, stateful_step_count=40)
LONG = settings(ENOUGH, max_examples=2_000, stateful_step_count=80, derandomize=False)


@pytest.mark.timeout(1_800)
def test_every_decision_does_what_the_model_does(bench: Bench) -> None:
    machine = approvals_on(bench)
    run_state_machine_as_test(machine, settings=ENOUGH)
    print(f"{machine.examples} examples, {machine.steps} calls")


@pytest.mark.parametrize("walk", FOUND)
def test_a_walk_on_which_a_free_hunt_found_them_apart(bench: Bench, walk: str) -> None:
    walk_again(approvals_on(bench), FOUND[walk])


@pytest.mark.deep
@pytest.mark.timeout(3_600)
def test_every_decision_does_what_the_model_does_for_long(bench: Bench) -> None:
    run_state_machine_as_test(approvals_on(bench), settings=LONG)

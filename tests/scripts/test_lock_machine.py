"""Locks on a real server, step by step: whatever agents do, what must hold of any locks holds."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from .bench import Bench
from .lock_machine import lock_machine_on
from .recording import read_traces, walk_again
from .test_state_machine import QUICK

SOUND = read_traces("sound_locks")
"""Where a free hunt once found locks unsound: a fault of theirs, or the machine asked too much."""
LOCKS_QUICK = settings(QUICK, max_examples=40, stateful_step_count=50)


@pytest.mark.timeout(1_800)
def test_at_every_step_the_locks_are_sound(bench: Bench) -> None:
    machine = lock_machine_on(bench)
    run_state_machine_as_test(machine, settings=LOCKS_QUICK)
    print(f"{machine.examples} examples, {machine.steps} calls")


@pytest.mark.parametrize("walk", SOUND)
def test_a_walk_that_a_free_hunt_found_unsound_is_sound(bench: Bench, walk: str) -> None:
    walk_again(lock_machine_on(bench), SOUND[walk])


@pytest.mark.deep
@pytest.mark.timeout(3_600)
def test_at_every_step_the_locks_are_sound_for_long(bench: Bench) -> None:
    run_state_machine_as_test(
        lock_machine_on(bench), settings=settings(LOCKS_QUICK, max_examples=3_000, derandomize=False)
    )

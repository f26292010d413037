"""Faults put into the shipped scripts on purpose, and the machines that must find them.

A mutant is a list of replacements of Lua by Lua, found by their tokens (see `lua`).

Each mutant is found every day by a walk that was recorded once (`recording`): the sound scripts pass it and the mutant
does not. When a walk no longer finds its mutant because the machine or the script has changed, record it again::

    make test ARGS='tests/scripts --record-traces -k "the name of the mutant"'

``make test-deep`` hunts freely. Found means that the machine's own assertion failed; a script that does not run any
more would prove nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from lua import put_in_place

from aegis_core.store.scripts import ScriptSet

from .bench import Bench
from .recording import Trace, read_traces, shortest, walk_again, write_trace
from .test_state_machine import QUICK

HUNT = settings(QUICK, max_examples=1_000, phases=[Phase.generate], report_multiple_bugs=False)
HUNTS = 4
"""How many of them there are at most. One mutant of 130 was missed by two hunts in one of four deep runs."""
SURE = 3
"""How often a recorded walk must find its mutant, and pass the sound scripts, before it is kept."""


@dataclass(frozen=True)
class Hunter:
    """A state machine and how it hunts.

    Attributes:
        name: of the file of its recorded walks.
        machine_on: the machine on a bench.
        how: the settings of a free hunt.
    """

    name: str
    machine_on: Callable[[Bench], Any]
    how: settings = HUNT


@contextmanager
def mutated(monkeypatch: pytest.MonkeyPatch, bench: Bench, mutant: tuple[str, ...]) -> Iterator[None]:
    """Within this the bench's store runs the mutant."""
    with monkeypatch.context() as patched:
        put_in_place(patched, mutant)
        changed = ScriptSet(virtual_time=True)
    assert changed.library != bench.store.scripts.library, "the mutant changes nothing"  # named by their hash
    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "scripts", changed)
        yield


def check_mutant(hunter: Hunter, name: str, bench: Bench, change: Callable[[], AbstractContextManager[None]]) -> None:
    """Walk the recorded way to a mutant: the sound scripts pass it, and within `change` an assertion fails."""
    trace = read_traces(hunter.name).get(name)
    assert trace, f"no walk to {name!r} is recorded: run this test with --record-traces"
    machine = hunter.machine_on(bench)
    walk_again(machine, trace)
    with change(), pytest.raises(AssertionError):
        walk_again(machine, trace)


def record(hunter: Hunter, name: str, bench: Bench, change: Callable[[], AbstractContextManager[None]]) -> None:
    """Hunt a mutant freely, and keep the shortest walk that finds it."""
    machine = hunter.machine_on(bench)
    with change():
        hunt(machine, hunter.how)

    def tells(trace: Trace) -> bool:
        with change():
            found = all(_ends_in(machine, trace) is AssertionError for _ in range(SURE))
        return found and all(_ends_in(machine, trace) is None for _ in range(SURE))

    assert tells(machine.last_trace), "what was found once is not found again, or is no fault of the mutant"
    write_trace(hunter.name, name, shortest(machine.last_trace, tells))


def _ends_in(machine: Any, trace: Trace) -> type[Exception] | None:
    """What a walk raises; a shortened one may ask for what is not there."""
    try:
        walk_again(machine, trace)
    except Exception as error:
        return AssertionError if isinstance(error, AssertionError) else type(error)
    return None


def hunt(machine: Any, how: settings = HUNT) -> None:
    """Run a machine until it finds the mutant: `HUNTS` times at most, because it walks at random.

    Raises:
        Failed: it did not.
    """
    started = time.monotonic()
    for number in range(HUNTS):
        try:
            run_state_machine_as_test(machine, settings=how)
        except AssertionError:
            break
        print(f"not found in hunt {number + 1}")
    else:
        pytest.fail(f"it was not found in {HUNTS} hunts")
    print(f"found in example {machine.examples - 1}, call {machine.steps}, {time.monotonic() - started:.1f} s")

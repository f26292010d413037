"""Faults put into the shipped scripts on purpose, and the hunt for them.

A mutant is a list of replacements, each of which must apply in exactly one place of one file. Found means that the
machine's own assertion failed; a script that does not run any more would prove nothing.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from aegis_core.store import scripts
from aegis_core.store.scripts import ScriptSet

from .test_state_machine import QUICK

HUNT = settings(QUICK, max_examples=1_000, phases=[Phase.generate], report_multiple_bugs=False)


def replaced(text: str, *pairs: str) -> str:
    """The text with each first of a pair, which occurs once, replaced by its second."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times; the mutant must follow the script"
        text = text.replace(old, new)
    return text


def mutate(monkeypatch: pytest.MonkeyPatch, file: str, pairs: tuple[str, ...]) -> None:
    """Make every store that is opened from now on run the mutant."""
    read = scripts._read

    def mutated(part: str) -> str:
        return replaced(read(part), *pairs) if part == file else read(part)

    sound = ScriptSet()
    monkeypatch.setattr(scripts, "_read", mutated)
    mutant = ScriptSet()
    assert any(getattr(mutant, verb) != getattr(sound, verb) for verb in vars(sound) if verb != "_clock")


def hunt(machine: Any, how: settings = HUNT) -> None:
    """Run a machine until it finds the mutant.

    Raises:
        Failed: it did not.
    """
    started = time.monotonic()
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=how)
    print(f"found in example {machine.examples - 1}, call {machine.steps}, {time.monotonic() - started:.1f} s")

"""Faults in experiments, put into the shipped scripts on purpose: a recorded walk finds every one."""

from __future__ import annotations

import pytest

from .bench import Bench
from .experiment_walk import ExperimentWalk
from .mutating import mutated
from .test_experiment_walks import ACTS

MUTANTS: dict[str, tuple[str, ...]] = {
    "a pair is scored twice": ("note_pair", "(pair and pair[PAIR_STATE] ~= 'open')", "false"),
    "a label is taken twice": ("'l:' .. number, encode({present, candidate})) == 0", "'l:' .. number, 1) == 2"),
    "pairs count as they come": (
        "if each[PAIR_DEADLINE] > NOW then break end",
        "if each[PAIR_DEADLINE] > NOW then next = at + 1 end",
    ),
    "nothing is ever overdue": ("if each[PAIR_DEADLINE] > NOW then break end", "if true then break end"),
    "what is missing is forgotten": ("tally[TALLY_MISSING] = tally[TALLY_MISSING] + 1", "local _ = tally"),
    "what was not asked is missing": (
        "if word == 'skip' then tally[TALLY_SKIPPED] = tally[TALLY_SKIPPED] + 1",
        "if word == 'skip' then tally[TALLY_MISSING] = tally[TALLY_MISSING] + 1",
    ),
    "the margin is not kept": (
        "local d = each[PAIR_CANDIDATE] - margin * each[PAIR_PRESENT]",
        "local d = each[PAIR_CANDIDATE] - each[PAIR_PRESENT]",
    ),
    "nothing speaks against it": ("bet_on(tally[TALLY_AGAINST], 1, -d)", "bet_on(tally[TALLY_AGAINST], 1, 0)"),
    "nothing is refuted": (">= math.log(20) then", ">= math.log(1e30) then"),
    "labels are held to another margin": ("0.9, candidate - 0.9 * present", "0.9, candidate - 0.97 * present"),
    "no day is whole": ("if each[PAIR_DAY] > day and day >= 0 then close_day() end", ""),
    "a day is closed with what follows it": (
        "if each[PAIR_DAY] > day and day >= 0 then close_day() end",
        "if day >= 0 then close_day() end",
    ),
    "a clock that went back holds days up": ("day = each[PAIR_DAY]", "day = math.max(day, each[PAIR_DAY])"),
    "paused, it samples on": (
        "if state ~= 'running' and state ~= 'suggested' or",
        "if state ~= 'running' and state ~= 'paused' or",
    ),
    "any template is one of it": ("if is_other('basis', basis) then return {'OK', state, 0, 0, 0} end", ""),
    "any version is one of it": ("local why = changed('present')", "local why = false"),
    "it can be begun again from any state": ("may = may or allowed[at] == before", "may = true"),
}
SEEDS = {
    "a label is taken twice": 11, "nothing is ever overdue": 1, "what is missing is forgotten": 1,
    "what was not asked is missing": 13, "nothing is refuted": 2, "no day is whole": 1,
    "a clock that went back holds days up": 12, "any version is one of it": 6,
    "it can be begun again from any state": 2,
}  # fmt: skip
"""Of the walk that finds a fault, where the first one does not: `--record-traces` says which does."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_walk_finds(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, *, record_traces: bool) -> None:
    with mutated(monkeypatch, bench, MUTANTS[name]):
        if record_traces:
            found = next((seed for seed in range(60) if _fails(bench, seed)), None)
            print(f"{name}: {found}")
            assert found is not None, "no walk finds it"
            return
        assert _fails(bench, SEEDS.get(name, 0)), "its walk finds it no more"


def _fails(bench: Bench, seed: int) -> bool:
    try:
        ExperimentWalk(bench, seed).walk(ACTS)
    except AssertionError:
        return True
    return False

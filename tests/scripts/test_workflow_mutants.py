"""Faults in workflows, put into the shipped scripts on purpose: the walks beside the model find every one."""

from __future__ import annotations

import pytest

from .bench import Bench
from .flow_walk import FlowWalk
from .mutating import mutated

MUTANTS: dict[str, tuple[str, ...]] = {
    "a step is not counted": ("steps[at + PLAN_USES] + uses", "steps[at + PLAN_USES]"),
    "the money of a step is not counted": ("steps[at + PLAN_USED] + more,", "steps[at + PLAN_USED],"),
    "the budget of the plan is not counted": ("F[FLOW_USED] = F[FLOW_USED] + more", "F[FLOW_USED] = F[FLOW_USED]"),
    "a settlement is not counted": ("flows.count(id, R, charged - R[R_AMOUNT], ", "flows.count(id, R, 0, "),
    "a join token is used twice": ("J[JOIN_USES] - 1", "J[JOIN_USES]"),
    "a join token never expires": ("if NOW >= J[JOIN_EXPIRES] then", "if false then"),
    "its end comes late": (
        "elseif flow and (flow[FLOW_STATE] ~= 'live' or NOW >= flow[FLOW_EXPIRES]) then code = 'workflow_ended'",
        "elseif flow and flow[FLOW_STATE] ~= 'live' and NOW > flow[FLOW_ENDED] + 1000 then code = 'workflow_ended'",
    ),
    "what is beside the plan is granted": ("if step == 0 then object('escalate'", "if false then object('escalate'"),
    "a use may cost anything": ("elseif bound > left or", "elseif"),
    "the budget of the plan bounds nothing": (" or flow[FLOW_USED] + bound > flow[FLOW_BUDGET]", ""),
    "the opener's profile is not asked": (
        "and (not opener or not opener[G_CAPABILITIES] or string.find(opener[G_CAPABILITIES], held, 1, true))",
        "",
    ),
    "the opener's priority is not asked": (", opener and opener[G_PRIORITY] or 10)", ")"),
    "what members spend is not their opener's": ("if opener and opener ~= G then judge(", "if false then judge("),
    "a smaller plan counts for nothing": ("rows[at + PLAN_TIMES], rows[at + PLAN_UPTO] = steps", "local _, _ = steps"),
}
SEEDS = range(40)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_walk_finds(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with mutated(monkeypatch, bench, MUTANTS[name]):
        assert any(_fails(bench, seed) for seed in SEEDS), "no walk finds it"


def _fails(bench: Bench, seed: int) -> bool:
    try:
        FlowWalk(bench, seed).walk(60)
    except AssertionError:
        return True
    return False

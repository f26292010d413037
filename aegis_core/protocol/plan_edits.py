"""How people write that a plan becomes smaller: ``budget 8``, ``step 2 3``, ``step 2 $0.50``, ``time 30m``."""

from __future__ import annotations

import re

from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.spans import seconds_of
from aegis_core.protocol.workflows import StepChange, WorkflowChange

HOW = "budget 8 · step 2 3 · step 2 $0.50 · time 30m"
"""Examples, for messages: all of it for less, a step fewer times, each use for less, for a shorter time."""

_BEGINS = re.compile(r"(?:budget|step|time)\b", re.IGNORECASE)
_PART = re.compile(r"(budget|step|time)\s*:?\s*(.+)", re.IGNORECASE)
_STEP = re.compile(r"(\d{1,2})(?:\s*=\s*|\s+)(?:(\d{1,7})(?:\s*[x×])?)?\s*(?:[@$]\s*\$?([\d.]{1,24}))?", re.ASCII)


def looks_like_an_edit(text: str) -> bool:
    """Whether a text begins as one does, so that it is not taken for anything else."""
    return _BEGINS.match(text.strip()) is not None


def plan_edit(text: str, content: str) -> WorkflowChange:
    """What a text changes of the plan with this `content`: one thing a line, or several divided by commas.

    Raises:
        InvalidRequestError: a part of it is not understood, so that none of it counts.
    """
    budget, seconds, steps = None, None, list[StepChange]()
    for part in filter(None, (part.strip() for part in re.split(r"[,;\n]", text))):
        match = _PART.fullmatch(part)
        kind, value = (match[1].lower(), match[2].strip()) if match else ("", "")
        if kind == "step":
            steps.append(step_change(value))
        elif kind == "budget" and budget is None:
            budget = value.removeprefix("$")
        elif kind == "time" and seconds is None:
            seconds = seconds_of(value.replace(" ", ""), "time")
        else:
            problem = f"{part[:40]!r} is not understood; write as here: {HOW}"
            raise InvalidRequestError(f"plan: {problem}", field="plan", problem=problem)
    return parse(WorkflowChange, content=content, budget_usd=budget, seconds=seconds, steps=tuple(steps))


def step_change(text: str) -> StepChange:
    """``3 10``, ``3=10@2.50`` or ``3 $2.50``: the step's number, how often it is done at most, and for how much.

    Raises:
        InvalidRequestError: it is no such text.
    """
    match = _STEP.fullmatch(text.strip())
    if match is None or not (match[2] or match[3]):
        problem = "must be a number and times or an amount, such as 3=10, 3=10@2.50 or 3=@2.50"
        raise InvalidRequestError(f"step: {problem}", field="step", problem=problem)
    times = int(match[2]) if match[2] else None
    return parse(StepChange, number=int(match[1]), times=times, upto_usd=match[3])

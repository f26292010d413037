"""An agent that calls the same tool with the same arguments over and over.

Definition: the third and every further equal call (tool and hash of arguments) among ten steps of a session, with no
call between them that may have changed something: of another tool whose name does not begin like one that reads.
Formula: sum of what those tools cost, with the calls of the model that asked for them. Unit: nano-dollars spent.
Minimum: 3 calls of tools. Source: design of this project; one such call in 100 recorded runs of tau-bench.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aegis_core.kaizen.detectors.steps import asked_by, sessions
from aegis_core.kaizen.facts import Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss

WINDOW, TIMES = 10, 3
_READS = re.compile(
    r"(calculate|check|count|describe|fetch|find|get|grep|list|look|query|read|search|show|stat|think|view)(?![a-z])"
)


def find(day: Day) -> Found:
    """Look for loops."""
    losses, evidence = dict[str, Loss](), 0
    for calls in sessions(day).values():
        tools = [(call, step) for call, step in asked_by(calls) if call.arguments is not None]
        evidence += len(tools)
        for at, (call, step) in enumerate(tools):
            before = [earlier for earlier, _ in tools[max(0, at - WINDOW + 1) : at]]
            if _repeats(call, before) >= TIMES - 1:
                losses |= {each.id: Loss.of(each, each.spent) for each in (step, call) if each.spent}
    return Found(evidence, tuple(losses.values()))


def _repeats(call: Call, before: Sequence[Call]) -> int:
    """How often it was called likewise since anything may have changed."""
    times = 0
    for earlier in reversed(before):
        if (earlier.tool, earlier.arguments) == (call.tool, call.arguments):
            times += 1
        elif not _READS.match((earlier.tool or "").lower()):
            break
    return times


DETECTOR = Detector("loops", "Loops: equal calls without progress", "spent", 3, "calls of tools", find)

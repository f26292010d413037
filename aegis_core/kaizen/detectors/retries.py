"""Wasted compute: attempts that had to be made again.

Definition: (a) attempts from the second on, of a call of which an attempt had failed; (b) where an agent says no
attempts, calls of a model that asked for a tool which then failed, so that the step was taken again.
Formula: sum of what they cost. Unit: nano-dollars spent. Minimum: 20 of either. Guard: agents with the label
``polls=yes`` repeat themselves on purpose. Source: design of this project; ReAct steps as in tau-bench.
"""

from __future__ import annotations

from aegis_core.kaizen.detectors.steps import asked_by, sessions
from aegis_core.kaizen.facts import Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss


def find(day: Day) -> Found:
    """Look for attempts after a failure, and for steps whose tool failed."""
    again, failed_steps, evidence = list[Call](), list[Call](), 0
    for calls in sessions(day).values():
        if calls[0].labels.get("polls") == "yes":
            continue
        failed = {call.parent or call.id for call in calls if call.error}
        said = [call for call in calls if call.attempt is not None and call.attempt > 1]
        again += [call for call in said if call.parent in failed]
        steps = {step.id: step for call, step in asked_by(calls) if call.error and step.attempt is None}
        failed_steps += steps.values()
        evidence += len(said) + len(steps)
    losses = [Loss.of(call, call.spent) for call in (*again, *failed_steps) if call.spent]
    return Found(evidence, losses, facts={"attempts": len(again), "tool_errors": len(failed_steps)})


DETECTOR = Detector(
    "retries", "Wasted compute: retries and tool errors", "spent", 20, "later attempts and failed tools", find
)

"""What was spent on tasks that failed.

Definition: calls whose outcome is 0: their own, or the next one told in their session for that type of task.
Formula: sum of what they cost. Unit: nano-dollars spent. Minimum: 30 outcomes told. It is not called avoidable: what
failed work costs is known, not what it would have cost to succeed. Beside it stands what one solved task cost.
"""

from __future__ import annotations

from aegis_core.kaizen.detectors.steps import outcomes, sessions
from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found, Loss


def find(day: Day) -> Found:
    """Add up failed work."""
    judged = [each for calls in sessions(day).values() for each in outcomes(calls)]
    told = [call.outcome for call in day.calls if call.outcome is not None]
    losses = [Loss.of(call, call.spent) for call, outcome in judged if outcome == 0 and call.spent]
    solved = sum(1 for outcome in told if outcome > 0)
    facts: dict[str, int | float | str] = {"tasks": len(told), "failed": len(told) - solved}
    if solved:
        facts["usd_per_solved_task"] = round(sum(call.spent for call, _ in judged) / solved / 1e9, 6)
    return Found(len(told), losses, None if told else "no outcome was told", facts)


DETECTOR = Detector("failed-work", "Failed work", "spent", 30, "outcomes", find, avoidable=False)

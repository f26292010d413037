"""Questions to people that hold money and get no answer.

Definition: a question older, when it ended or when the day did, than three times the median time to an answer.
Formula: sum of what they held. Unit: nano-dollars blocked. Minimum: 10 answered questions.
"""

from __future__ import annotations

from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found, Loss
from aegis_core.kaizen.intervals import median


def find(day: Day) -> Found:
    """Look for questions that lie about."""
    asked = [call for call in day.calls if call.asked]
    answers = [call.answered_at - call.at for call in asked if call.answered_at is not None]
    if not answers:
        return Found(0)
    most = 3 * median(answers)
    losses: list[Loss] = []
    for call in asked:
        until = call.answered_at if call.answered_at is not None else call.ended_at
        age = (day.end if until is None else until) - call.at
        if age > most and call.reserved:
            losses.append(Loss.of(call, call.reserved, age))
    return Found(len(answers), losses, facts={"median_answer_ms": median(answers)})


DETECTOR = Detector("stale-questions", "Questions without an answer", "blocked", 10, "answered questions", find)

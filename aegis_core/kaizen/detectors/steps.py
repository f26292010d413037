"""What several detectors need: the calls of a session in their order, and which call of a model asked for a tool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from aegis_core.kaizen.facts import Call, Day


def sessions(day: Day) -> dict[tuple[str, str], list[Call]]:
    """Calls by agent and session, those without a session apart from each other."""
    found: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in day.calls:
        found[call.agent, call.session or f"\t{call.id}"].append(call)
    return found


def asked_by(calls: Sequence[Call]) -> Iterator[tuple[Call, Call]]:
    """Each call of a tool in a session, and the call of a model before it, which asked for it."""
    step: Call | None = None
    for call in calls:
        if call.is_model:
            step = call
        elif call.tool is not None and step is not None:
            yield call, step


def outcomes(calls: Sequence[Call]) -> list[tuple[Call, float]]:
    """Calls of one session whose outcome is known: their own, or that of the task which they led to."""
    found: list[tuple[Call, float]] = []
    coming: dict[str, float] = {}
    for call in reversed(calls):
        if call.outcome is not None:
            coming[call.task_type] = call.outcome
        if (outcome := coming.get(call.task_type)) is not None:
            found.append((call, outcome))
    return found[::-1]

"""Requests that a rule refused, and granted when they were worded otherwise.

Definition: a request refused by a rule, after which the same session was granted one for the same model, tool, type of
task and arguments within five minutes. Formula: sum of what was asked for. Unit: nano-dollars blocked. Minimum: 5.
"""

from __future__ import annotations

from aegis_core.kaizen.detectors.steps import sessions
from aegis_core.kaizen.facts import Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss

WITHIN_MS = 300_000
_GRANTED = frozenset({"settled", "released", "expired", "open"})


def find(day: Day) -> Found:
    """Look for refusals that only words made."""
    losses: list[Loss] = []
    for calls in sessions(day).values():
        for at, call in enumerate(calls):
            if call.code == "policy" and call.end == "rejected" and _granted_after(call, calls[at + 1 :]):
                losses.append(Loss.of(call, call.reserved))
    return Found(len(losses), losses)


def _granted_after(refused: Call, later: list[Call]) -> bool:
    for call in later:
        if call.at - refused.at > WITHIN_MS:
            return False
        if call.end in _GRANTED and not call.asked and _alike(call) == _alike(refused):
            return True
    return False


def _alike(call: Call) -> tuple[str | None, ...]:
    return call.model, call.tool, call.task_type, call.resource, call.arguments


DETECTOR = Detector(
    "false-refusals", "Refused, then granted in other words", "blocked", 5, "such refusals", find, itself=True
)

"""``confidence_floor``: an agent that is unsure of what it is about to do asks a person."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.rules.base import Conditions, Rule
from aegis_core.policy.ruling import Objection
from aegis_core.protocol import PermissionRequest


class ConfidenceFloor(Rule, frozen=True):
    """A stated confidence below `min_confidence` (0 to 1). A request that states none is not concerned."""

    type: Literal["confidence_floor"] = "confidence_floor"
    effect: Objection = "escalate"
    min_confidence: Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)]

    def compile(self) -> Conditions:
        """A comparison."""
        floor = self.min_confidence

        def test(request: PermissionRequest, _: AgentFacts) -> bool:
            return request.confidence is not None and request.confidence < floor

        def account(request: PermissionRequest, _: AgentFacts) -> str:
            if request.confidence is None:
                return "no confidence is stated"
            return f"confidence {request.confidence:g} is {_side(request.confidence < floor)} {floor:g}"

        return Conditions(test=test, account=account)


def _side(below: bool) -> str:
    return "below" if below else "not below"


RULE = ConfidenceFloor

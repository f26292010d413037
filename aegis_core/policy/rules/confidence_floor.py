"""``confidence_floor``: an agent that is unsure of what it is about to do asks a person."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from aegis_core.policy.case import Case
from aegis_core.policy.rules.base import Conditions, NarrowedRule
from aegis_core.policy.ruling import RuleEffect


class ConfidenceFloor(NarrowedRule, frozen=True):
    """A stated confidence below `min_confidence` (0 to 1). A request that states none is not concerned."""

    type: Literal["confidence_floor"] = "confidence_floor"
    effect: RuleEffect = "escalate"
    min_confidence: Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)]

    def compile(self) -> Conditions:
        """A comparison."""
        floor = self.min_confidence

        def test(case: Case) -> bool:
            confidence = case.request.confidence
            return confidence is not None and confidence < floor

        def account(case: Case) -> str:
            confidence = case.request.confidence
            if confidence is None:
                return "no confidence is stated"
            return f"confidence {confidence:g} is {'below' if confidence < floor else 'not below'} {floor:g}"

        return self.compile_with(test, account)


RULE = ConfidenceFloor

"""``priority_floor``: some requests must be important enough to be made at all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, model_validator

from aegis_core.policy.case import Case
from aegis_core.policy.rules.base import Conditions, NarrowedRule
from aegis_core.policy.ruling import RuleEffect


class PriorityFloor(NarrowedRule, frozen=True):
    """A priority below `min_priority` for the requests that are given.

    An agent cannot pass by claiming more than its operator allows: the priority counts up to the agent's maximum.
    """

    type: Literal["priority_floor"] = "priority_floor"
    effect: RuleEffect = "deny"
    min_priority: Annotated[StrictInt, Field(ge=1, le=10)]

    @model_validator(mode="after")
    def _narrowed(self) -> PriorityFloor:
        self.refuse_unnarrowed()
        return self

    def compile(self) -> Conditions:
        """A comparison, for the requests it is about."""
        floor = self.min_priority

        def test(case: Case) -> bool:
            return case.request.priority < floor or case.facts.max_priority < floor

        def account(case: Case) -> str:
            priority, most = case.request.priority, case.facts.max_priority
            if priority >= floor > most:
                return f"priority {priority} counts as {most} for this agent and is below {floor}"
            return f"priority {priority} is {'below' if priority < floor else 'not below'} {floor}"

        return self.compile_with(test, account)


RULE = PriorityFloor

"""``priority_floor``: some requests must be important enough to be made at all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, model_validator

from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.rules.base import Conditions, Phrases, ResourceTypes, Rule, compile_phrases, types_or_all
from aegis_core.policy.ruling import Objection
from aegis_core.protocol import PermissionRequest


class PriorityFloor(Rule, frozen=True):
    """A priority below `min_priority` for a request of these `phrases`, these `resource_types`, or, given both, both.

    An agent cannot pass by claiming more than its operator allows: the priority counts up to the agent's maximum.
    """

    type: Literal["priority_floor"] = "priority_floor"
    effect: Objection = "deny"
    min_priority: Annotated[StrictInt, Field(ge=1, le=10)]
    phrases: Phrases | None = None
    resource_types: ResourceTypes | None = None

    @model_validator(mode="after")
    def _narrowed(self) -> PriorityFloor:
        if self.phrases is None and self.resource_types is None:
            raise ValueError("phrases: give phrases, resource_types or both")
        return self

    def compile(self) -> Conditions:
        """A comparison, for the requests it is about."""
        floor = self.min_priority

        def test(request: PermissionRequest, facts: AgentFacts) -> bool:
            return request.priority < floor or facts.max_priority < floor

        def account(request: PermissionRequest, facts: AgentFacts) -> str:
            if request.priority >= floor > facts.max_priority:
                return f"priority {request.priority} counts as {facts.max_priority} for this agent and is below {floor}"
            return f"priority {request.priority} is {'below' if request.priority < floor else 'not below'} {floor}"

        return Conditions(
            phrases=compile_phrases(self.phrases),
            resource_types=types_or_all(self.resource_types),
            test=test,
            account=account,
        )


RULE = PriorityFloor

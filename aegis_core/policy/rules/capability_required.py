"""``capability_required``: some acts are for agents alone that their operator trusts with them."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from aegis_core.policy.case import Case
from aegis_core.policy.rules.base import Conditions, NarrowedRule
from aegis_core.policy.ruling import RuleEffect
from aegis_core.protocol.fields import Identifier


class CapabilityRequired(NarrowedRule, frozen=True):
    """A request of those that are given, by an agent without the `capability`. What the request claims is no proof."""

    type: Literal["capability_required"] = "capability_required"
    effect: RuleEffect = "deny"
    capability: Identifier

    @model_validator(mode="after")
    def _narrowed(self) -> CapabilityRequired:
        self.refuse_unnarrowed()
        return self

    def compile(self) -> Conditions:
        """A look at what the operator allows the agent."""
        needed = self.capability

        def test(case: Case) -> bool:
            return needed not in case.facts.capabilities

        def account(case: Case) -> str:
            held = needed in case.facts.capabilities
            return f'the agent {"has" if held else "lacks"} the capability "{needed}"'

        return self.compile_with(test, account)


RULE = CapabilityRequired

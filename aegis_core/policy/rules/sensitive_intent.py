"""``sensitive_intent``: what an agent says it wants to do needs a person's approval."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions, Phrases, Rule, compile_phrases
from aegis_core.policy.ruling import Objection


class SensitiveIntent(Rule, frozen=True):
    """An intent in which one of `phrases` occurs."""

    type: Literal["sensitive_intent"] = "sensitive_intent"
    effect: Objection = "escalate"
    phrases: Phrases

    def compile(self) -> Conditions:
        """Phrases alone."""
        return Conditions(phrases=compile_phrases(self.phrases))


RULE = SensitiveIntent

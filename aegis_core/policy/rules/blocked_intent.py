"""``blocked_intent``: what an agent says it wants to do is refused by its words."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions, Phrases, Rule, compile_phrases
from aegis_core.policy.ruling import Objection


class BlockedIntent(Rule, frozen=True):
    """An intent in which one of `phrases` occurs."""

    type: Literal["blocked_intent"] = "blocked_intent"
    effect: Objection = "deny"
    phrases: Phrases

    def compile(self) -> Conditions:
        """Phrases alone."""
        return Conditions(phrases=compile_phrases(self.phrases))


RULE = BlockedIntent

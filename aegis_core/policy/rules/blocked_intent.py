"""``blocked_intent``: what an agent says it wants to do, or the tool it wants to use, is refused."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from aegis_core.policy.rules.base import NarrowedRule
from aegis_core.policy.ruling import RuleEffect


class BlockedIntent(NarrowedRule, frozen=True):
    """An intent in which one of `phrases` or `regexes` occurs; `tools` alone match the tool and no text."""

    type: Literal["blocked_intent"] = "blocked_intent"
    effect: RuleEffect = "deny"

    @model_validator(mode="after")
    def _narrowed(self) -> BlockedIntent:
        self.refuse_unnarrowed()
        return self


RULE = BlockedIntent

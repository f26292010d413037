"""``sensitive_intent``: what an agent says it wants to do, or the tool it wants to use, needs a person's approval."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from aegis_core.policy.rules.base import NarrowedRule
from aegis_core.policy.ruling import RuleEffect


class SensitiveIntent(NarrowedRule, frozen=True):
    """An intent in which one of `phrases` or `regexes` occurs; `tools` alone match the tool and no text."""

    type: Literal["sensitive_intent"] = "sensitive_intent"
    effect: RuleEffect = "escalate"

    @model_validator(mode="after")
    def _narrowed(self) -> SensitiveIntent:
        self.refuse_unnarrowed()
        return self


RULE = SensitiveIntent

"""``condition``: whatever the other types do not say, in CEL."""

from __future__ import annotations

import logging
from typing import Literal

from aegis_core.policy.case import Case
from aegis_core.policy.conditions import Expression, compile_expression
from aegis_core.policy.rules.base import Conditions, Rule
from aegis_core.policy.ruling import RuleEffect

_log = logging.getLogger("aegis.policy")


class Mismatches:
    """How often conditions met metadata of a type that they cannot compare, in this process."""

    def __init__(self) -> None:
        self.count = 0
        self._told: set[tuple[str, str]] = set()

    def note(self, rule: str, problem: str) -> None:
        """Count one; each kind is logged once."""
        self.count += 1
        if (rule, problem) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add((rule, problem))
            _log.warning('rule "%s": %s', rule, problem)


MISMATCHES = Mismatches()
_MOST_TOLD = 1_000


class Condition(Rule, frozen=True):
    """`expr` is true of the request and the agent, or cannot be worked out.

    Metadata of another type than `expr` compares it with are counted and logged: the rule matches then where it refuses
    or asks a person, and nowhere else. The names it may use are those of `aegis_core.policy.conditions.NAMES`.
    """

    type: Literal["condition"] = "condition"
    effect: RuleEffect = "deny"
    expr: Expression

    def compile(self) -> Conditions:
        """An expression."""
        compiled = compile_expression(self.expr)
        closed = self.effect in {"deny", "escalate"}

        def test(case: Case) -> bool:
            if (problem := compiled.misread(case)) is not None:
                MISMATCHES.note(self.name, problem)
                return closed
            return compiled.holds(case)

        def account(case: Case) -> str:
            return compiled.account(case)

        return Conditions(test=test, account=account)


RULE = Condition

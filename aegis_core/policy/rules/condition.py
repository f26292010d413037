"""``condition``: whatever the other types do not say, in CEL."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.case import Case
from aegis_core.policy.conditions import Expression, compile_expression
from aegis_core.policy.rules.base import Conditions, Rule
from aegis_core.policy.ruling import RuleEffect


class Condition(Rule, frozen=True):
    """`expr` is true of the request and the agent, or cannot be worked out.

    The names it may use are those of `aegis_core.policy.conditions.NAMES`.
    """

    type: Literal["condition"] = "condition"
    effect: RuleEffect = "deny"
    expr: Expression

    def compile(self) -> Conditions:
        """An expression."""
        compiled = compile_expression(self.expr)

        def test(case: Case) -> bool:
            return compiled.holds(case)

        def account(case: Case) -> str:
            return compiled.account(case)

        return Conditions(test=test, account=account)


RULE = Condition

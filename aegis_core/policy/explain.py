"""What every rule made of one request, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aegis_core.policy.case import Case
from aegis_core.policy.compiled import CompiledRule
from aegis_core.policy.composing import clashing, common_models
from aegis_core.policy.ruling import Effect, RuleEffect
from aegis_core.protocol.money import format_usd


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one rule made of a request, `why` in words.

    Attributes:
        matched: all conditions of the rule hold; false for a rule that is switched off.
        observed: the rule is noted and never enforced.
        counted: it matched, and whether its effect takes hold depends on counts that the server keeps.
    """

    rule: str
    type: str
    effect: Effect | RuleEffect
    matched: bool
    why: str
    observed: bool = False
    counted: bool = False


def explain(rules: Sequence[CompiledRule], case: Case, amount_nanos: int | None) -> list[Explanation]:
    """One explanation a rule, in the order of the rules."""
    judged = [(each, *_judge(each, case, amount_nanos)) for each in rules]
    matched = [each for each, holds, _ in judged if holds]
    _, clash = common_models(each for each in matched if not each.rule.observed)
    _, observed_clash = common_models(matched)
    told: list[Explanation] = []
    for each, holds, why in judged:
        rule = each.rule
        effect: Effect | RuleEffect = rule.effect
        fighting = observed_clash if rule.observed else clash
        if holds and each in fighting:
            effect, why = "deny", clashing(fighting)  # noqa: PLW2901 - the clash is what there is to tell
        counted = holds and (each.counter is not None or each.ceiling is not None)
        told.append(Explanation(rule.name, rule.type, effect, holds, why, rule.observed, counted))
    return told


def _judge(each: CompiledRule, case: Case, amount_nanos: int | None) -> tuple[bool, str]:
    """Whether one rule matches, tried condition by condition, and why."""
    kind = case.request.resource_type
    if not each.rule.enabled:
        return False, "the rule is switched off"
    if kind not in each.resource_types:
        return False, f"it is about {', '.join(sorted(each.resource_types))}, not {kind}"
    if each.conditions.tools and each.tool(case) is None:
        tool = case.request.tool
        return False, "no tool is named" if tool is None else f'the tool "{tool}" is not one of its tools'
    if not each.reads(case):
        words = [name for name in ("phrases", "regexes") if getattr(each.conditions, name)]
        return False, f"none of its {' and '.join(words)} occurs in the intent"
    if not each.conditions.test(case):
        return False, each.conditions.account(case)
    limit = each.conditions.above_nanos
    if limit is None:
        cause = each.cause(case)
        return True, cause if each.counter is None else f"{cause}; counted: {each.counter.reason}"
    if amount_nanos is None:
        return False, f"the limit is {format_usd(limit)}; the amount is not known yet"
    over = amount_nanos > limit
    return over, f"{format_usd(amount_nanos)} is {'more' if over else 'not more'} than {format_usd(limit)}"

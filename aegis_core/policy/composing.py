"""From the rules that matched to one ruling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from aegis_core.policy.case import Case
from aegis_core.policy.compiled import CompiledRule
from aegis_core.policy.ruling import CostLimit, Effect, Observed, Ruling

_ALLOWED = Ruling("allow", None, "no rule objects")


def objection(best: CompiledRule, case: Case, standing: Ruling) -> Ruling:
    """The ruling of a rule that objects, beside the limits and counters that hold anyway."""
    effect = cast("Effect", best.effect)  # a rule that decides is enforced
    return Ruling(
        effect, best.rule.name, best.reason(case), standing.limits, standing.counters, ceilings=standing.ceilings
    )


def compose(case: Case | None, best: CompiledRule | None, rules: Sequence[CompiledRule]) -> Ruling:
    """One ruling of everything.

    Args:
        case: the request; None when `rules` hold no notes, which need it for their reasons.
        best: the strictest rule that decides.
        rules: the other rules that matched, in the order of the policy.
    """
    counters = tuple(each.counter for each in rules if each.counter)
    ceilings = tuple(each.ceiling for each in rules if each.ceiling)
    base = Ruling("allow", None, _ALLOWED.reason, _lowest(rules), counters, ceilings=ceilings)
    ruling = base if best is None or case is None else objection(best, case, base)
    if case is None:
        return ruling
    models, clash = common_models(each for each in rules if not each.rule.observed)
    effect, rule, reason = ruling.effect, ruling.rule, ruling.reason
    if clash and (effect != "deny" or best is None or clash[0].order < best.order):
        effect, rule, reason = "deny", clash[0].rule.name, clashing(clash)
    noted = _observed(case, rules)
    return Ruling(effect, rule, reason, base.limits, counters, models, noted, ceilings=ceilings)


def common_models(rules: Iterable[CompiledRule]) -> tuple[tuple[str, ...], list[CompiledRule]]:
    """The models that all of the rules leave; when they leave none, the rules that clash, else none."""
    choosing = [each for each in rules if each.models]
    if not choosing:
        return (), []
    left = tuple(model for model in choosing[0].models if all(model in each.models for each in choosing[1:]))
    return left, [] if left else choosing


def clashing(rules: Sequence[CompiledRule]) -> str:
    """Why no model is left."""
    return f"no model is allowed by all of {', '.join(each.rule.name for each in rules)}"


def _observed(case: Case, rules: Sequence[CompiledRule]) -> tuple[Observed, ...]:
    """What the observed rules would have done. Amounts and counts are not known here."""
    _, clash = common_models(rules)
    noted: list[Observed] = []
    for each in rules:
        if not each.rule.observed or each.limit or each.counter or each.ceiling:
            continue
        if each.models and each in clash:
            noted.append(Observed(each.rule.name, "deny", clashing(clash)))
        else:
            noted.append(Observed(each.rule.name, each.effect, each.reason(case)))
    return tuple(noted)


def _lowest(rules: Iterable[CompiledRule]) -> tuple[CostLimit, ...]:
    """The lowest limit of each effect, enforced ones first; the earlier rule names equal ones."""
    lowest: dict[tuple[bool, str], CostLimit] = {}
    for each in rules:
        if (limit := each.limit) is None:
            continue
        place = (limit.observed, limit.effect)
        if place not in lowest or limit.nanos < lowest[place].nanos:
            lowest[place] = limit
    effects = ("observe", "escalate", "deny")
    places = [(observed, effect) for observed in (False, True) for effect in effects]
    return tuple(lowest[place] for place in places if place in lowest)

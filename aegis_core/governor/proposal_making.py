"""Proposals out of what is known: certificates, findings of the last closed day, and what requests ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from aegis_core.kaizen.facts import Certified
from aegis_core.kaizen.optimizer.ceilings import least_needed, next_ceiling, tolerance_bound
from aegis_core.kaizen.optimizer.recorded import Recorded
from aegis_core.policy.engine import Policy, plain_rule
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.rules.max_cost import MaxCost
from aegis_core.protocol.ceilings import bounds_of
from aegis_core.protocol.kaizen import KaizenReport
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.proposals import ProposalKind
from aegis_core.settings import Settings

EXCEEDED = 0.01
"""Which share of the requests may ask for more than a ceiling."""
LEAST_MOVE = 0.02
"""A ceiling that would move by less stays where it is."""

Auto = Literal["tighten", "substitute"]


@dataclass(frozen=True, slots=True)
class OptimizerTerms:
    """What its owner lets the optimizer do.

    Attributes:
        auto: kinds of changes that need no person. Nothing is loosened without one.
        bounds: by name of a ``max_cost`` rule, between which nano-dollars its limit may be moved; no other is.
        stage_ms: how long each stage of a canary takes.
    """

    auto: frozenset[Auto] = frozenset()
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    stage_ms: int = 24 * 3_600_000


class Draft(NamedTuple):
    """A change that could be proposed."""

    kind: ProposalKind
    title: str
    finding: str
    rules: tuple[Mapping[str, Any], ...]
    evidence: Mapping[str, Any]


def substitutes(certified: Mapping[tuple[str, str], Certified]) -> list[Draft]:
    """A cheaper model where it was shown to do as well; the present one stays allowed."""
    return [
        Draft(
            "substitute", f"Prefer {each.model} to {present} for tasks of type {task_type}", "over-strong",
            ({
                "name": f"kaizen-substitute-{task_type}", "type": "model_override", "resource_types": ["llm_tokens"],
                "task_types": [task_type], "models": [each.model, present],
                "reason": f"{each.model} was shown to do {task_type} as well as {present}",
            },),
            {"task_type": task_type, "present": present, "candidate": each.model},
        )
        for (task_type, present), each in sorted(certified.items())
    ]  # fmt: skip


def eliminations(report: KaizenReport) -> list[Draft]:
    """Loops that a day was found to hold: the third equal call of that tool is refused."""
    found: list[Draft] = []
    for finding in report.findings:
        tool = finding.where[0].tool if finding.where else ""
        if finding.detector == "loops" and finding.state == "found" and tool:
            rule = {
                "name": f"kaizen-repeat-{tool}", "type": "repeat_limit", "effect": "deny", "tools": [tool], "times": 2,
                "window": "10m", "reason": f"the third equal call of {tool} in ten minutes",
            }  # fmt: skip
            evidence = {"finding": finding.id, "count": finding.count, "usd": str(finding.amount_usd)}
            found.append(Draft("tighten", f"Refuse the third equal call of {tool}", finding.id, (rule,), evidence))
    return found


def ceilings(
    policy: Policy, asked: Sequence[Recorded], terms: OptimizerTerms, week_ago: Policy | None = None
) -> list[Draft]:
    """The next step of each ceiling that its owner gave bounds for, where enough was asked under it."""
    earlier = week_ago.rules if week_ago else ()
    before = {rule.name: to_nanos(rule.limit_usd) for rule in earlier if isinstance(rule, MaxCost)}
    found: list[Draft] = []
    for rule in policy.rules:
        if not isinstance(rule, MaxCost) or rule.name not in terms.bounds or not rule.enabled or rule.observed:
            continue
        amounts = amounts_under(policy, rule.name, asked)
        wanted = tolerance_bound(amounts, EXCEEDED)
        if wanted is None:
            continue
        present = to_nanos(rule.limit_usd)
        moved = next_ceiling(present, wanted, *terms.bounds[rule.name], before.get(rule.name))
        if abs(moved - present) < LEAST_MOVE * present:
            continue
        tighter = moved < present
        usd = f"{to_usd(moved).normalize():f}"
        evidence = {
            "requests": len(amounts), "needed": least_needed(EXCEEDED), "bound_usd": str(to_usd(wanted)),
            "exceeded": str(EXCEEDED), "confidence": "0.95",
        }  # fmt: skip
        title = f"{'Lower' if tighter else 'Raise'} the limit of {rule.name} from ${rule.limit_usd} to ${usd}"
        put = plain_rule(rule) | {"limit_usd": usd}
        found.append(Draft("tighten" if tighter else "loosen", title, f"ceiling.{rule.name}", (put,), evidence))
    return found


def amounts_under(policy: Policy, rule: str, asked: Sequence[Recorded]) -> list[int]:
    """What the requests asked for that a limit is about, whatever became of them."""
    return [each.amount for each in asked if _limited_by(policy, rule, each)]


def _limited_by(policy: Policy, rule: str, each: Recorded) -> bool:
    ruling = policy.evaluate(request_of(each), AgentFacts(each.agent))
    return any(limit.rule == rule for limit in ruling.limits)


def request_of(each: Recorded) -> PermissionRequest:
    """A recorded request as it would be asked again."""
    return parse(
        PermissionRequest, agent_id=each.agent, task_intent=each.intent, resource_type=each.resource,
        estimated_cost_usd=to_usd(each.amount), model=each.model if each.resource == "llm_tokens" else None,
        tool=each.tool, arguments_hash=each.arguments, target_resource=each.target, task_type=each.task_type,
        priority=each.priority,
    )  # fmt: skip


def terms_of(settings: Settings) -> OptimizerTerms:
    """What the settings allow."""
    auto: tuple[Auto, ...] = ("tighten", "substitute")
    named = {each.strip() for each in settings.kaizen_auto.split(",")}
    return OptimizerTerms(
        frozenset(each for each in auto if each in named), bounds_of(settings.kaizen_ceilings),
        int(settings.kaizen_stage_hours * 3_600_000),
    )  # fmt: skip

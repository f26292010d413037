"""The plan of a workflow: as people read it, as it is stored, and what the rules say of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from aegis_core.governor.requests import deciders_of
from aegis_core.policy.engine import Policy
from aegis_core.policy.facts import AgentFacts
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.money import to_usd
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.workflows import Plan, PlanStep
from aegis_core.store.arguments import TermsRow
from aegis_core.store.flow_records import PlanRow, Workflow
from aegis_core.store.packing import pack, rows


class PlanRuling(NamedTuple):
    """What the rules say of a plan. `denied`: of its first step that they deny, the number, rule and reason. `terms`
    are those of each rule that would ask about a step; `span` and `remind` in ms."""

    denied: tuple[int, str, str] | None
    terms: list[TermsRow]
    span: int | None
    remind: int


def rule_plan(
    policy: Policy, opener: AgentFacts, name: str, steps: Iterable[PlanRow], now: datetime | None
) -> PlanRuling:
    """Judge each step as its opener's request for as much as one use may cost; members are judged when they ask."""
    terms: list[TermsRow] = []
    spans: list[int] = []
    remind = 0
    for number, step in enumerate(steps, start=1):
        request = parse(
            PermissionRequest, agent_id=opener.agent_id, task_intent=name, resource_type=step.resource or "api_call",
            tool=step.tool or None, estimated_cost_usd=to_usd(step.upto), priority=min(5, opener.max_priority),
        )  # fmt: skip
        ruling = policy.evaluate(request, opener, now)
        limits = [each for each in ruling.limits if step.upto > each.nanos and not each.observed]
        if ruling.effect == "deny":
            return PlanRuling((number, ruling.rule or "", ruling.reason or ""), terms, None, 0)
        if denies := next((each for each in limits if each.effect == "deny"), None):
            return PlanRuling((number, denies.rule, denies.reason), terms, None, 0)
        for asker in policy.askers(request, opener, now):
            if asker.counted or step.upto <= asker.above_nanos:
                continue
            terms.append(TermsRow(asker.terms.quorum, False, *deciders_of(asker.terms)))
            if asker.terms.timeout_seconds:
                spans.append(int(asker.terms.timeout_seconds * 1000))
            remind = max(remind, int((asker.terms.remind_seconds or 0) * 1000))
    return PlanRuling(None, terms, min(spans, default=None), remind)


def steps_of(flow: Workflow) -> list[PlanRow]:
    """The steps of a stored plan, by name."""
    return rows(PlanRow, flow.steps)


def plan_of(key: str, flow: Workflow) -> Plan:
    """A stored plan as people read it."""
    capabilities = None if flow.capabilities is False else tuple(each for each in flow.capabilities.split(",") if each)
    return Plan(
        "wf_" + key, flow.name, to_usd(flow.budget), flow.span / 1000, tuple(_steps(steps_of(flow))),
        tuple(flow.agents), flow.most, capabilities, flow.priority,
    )  # fmt: skip


def _steps(found: Sequence[PlanRow]) -> Iterable[PlanStep]:
    for number, row in enumerate(found, start=1):
        times = None if row.times is False else row.times
        yield PlanStep(
            number, row.tool or None, row.resource or None, times, to_usd(row.upto), to_usd(row.used), row.uses
        )


def trace_of(key: str, flow: Workflow) -> bytes:
    """What people who are asked about a plan are shown, as it is kept with the question."""
    told: dict[str, Any] = {
        "id": key, "budget": flow.budget, "span": flow.span, "agents": list(flow.agents), "most": flow.most,
        "capabilities": flow.capabilities, "priority": flow.priority, "steps": [list(row) for row in steps_of(flow)],
    }  # fmt: skip
    return pack({"intent": flow.name, "resource_type": "compute", "priority": 5, "workflow": told})


def plan_in(said: Mapping[str, Any]) -> Plan | None:
    """The plan that a question is about; None where it is about a request."""
    told: Any = said.get("workflow")
    if told is None:
        return None
    capabilities = None if told["capabilities"] is False else tuple(told["capabilities"].strip(",").split(","))
    return Plan(
        "wf_" + told["id"], said.get("intent", ""), to_usd(told["budget"]), told["span"] / 1000,
        tuple(_steps([PlanRow._make(row) for row in told["steps"]])), tuple(told["agents"]), told["most"],
        capabilities, told["priority"],
    )  # fmt: skip


def content_of_plan(flow: Workflow) -> str:
    """The same for two plans of an agent that people would take for the same."""
    said = (
        flow.opener, flow.name, flow.budget, flow.span, [row[:4] for row in steps_of(flow)], list(flow.agents),
        flow.most, flow.capabilities, flow.priority,
    )  # fmt: skip
    return blake2b(pack(said), digest_size=16).hexdigest()

"""Each refusal's event alone says which rule, budget or ceiling it was, with its figures; and all of it is declared."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from aegis_core import Governor
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.decision_facts import STOPS
from aegis_core.governor.event_catalog import FACTS, KINDS, page
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit
from aegis_core.protocol.journal import JournalRequest
from aegis_core.protocol.profiles import Profile
from aegis_core.store.event_bodies import BODIES
from aegis_core.testing import FakeClock, virtual_governor

Virtual = tuple[Governor, FakeClock, Any]
Facts = dict[str, Any]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

pytestmark = pytest.mark.leaves("grants", "questions", "leases")


async def publish(governor: Governor, *rules: Facts) -> None:
    await governor.port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": rules})), author="ada")


async def by_rule(governor: Governor, agent: GovernedAgent) -> Facts:
    rule = {"type": "sensitive_intent", "phrases": ["gas"]}
    await publish(governor, rule | {"name": "no-gas", "effect": "deny"}, rule | {"name": "no-fees"})
    await agent.request("Buy gas", estimated_cost_usd=1)
    return {"kind": "rule", "name": "no-gas"}


async def by_amount(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "dear", "type": "max_cost", "limit_usd": "2", "effect": "deny"})
    await agent.request("Work", estimated_cost_usd=3)
    return {"kind": "rule", "name": "dear", "unit": "usd", "limit": 2.0, "left": 2.0, "asked": 3.0}


async def by_rate(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "pace", "type": "rate_limit", "limit": 1, "window": "1h"})
    await agent.request("Work", estimated_cost_usd=1)
    await agent.request("Work", estimated_cost_usd=1)
    return {"kind": "rule", "name": "pace", "unit": "requests", "limit": 1, "left": 0, "asked": 1}


async def by_repeats(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "again", "type": "repeat_limit", "times": 1, "window": "1h"})
    for _ in range(2):
        await agent.request("Work", estimated_cost_usd=1, tool="search")
    return {"kind": "rule", "name": "again", "unit": "requests", "limit": 1, "left": 0, "asked": 1}


async def by_spending(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "flow", "type": "spend_rate", "limit_usd": "3", "window": "1h", "effect": "deny"})
    for _ in range(2):
        await agent.request("Work", estimated_cost_usd=2)
    return {"kind": "rule", "name": "flow", "unit": "usd", "limit": 3.0, "left": 1.0, "asked": 2.0}


async def by_budget(governor: Governor, agent: GovernedAgent) -> Facts:
    await governor.set_budget("agent", "a", "day", 4)
    await agent.request("Work", estimated_cost_usd=3)
    await agent.request("Work", estimated_cost_usd=2)
    return {"kind": "budget", "name": "agent", "window": "day", "unit": "usd", "limit": 4.0, "left": 1.0, "asked": 2.0}


async def by_questions(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "ask", "type": "sensitive_intent", "phrases": ["pay"], "asking": {"max_open": 1}})
    for at in range(2):
        await agent.request(f"Pay {at}", estimated_cost_usd=1)
    return {"kind": "ceiling", "name": "max_open_questions", "unit": "questions", "limit": 1, "left": 0, "asked": 1}


async def by_waiting(governor: Governor, agent: GovernedAgent) -> Facts:
    await governor.set_budget("tenant", "-", "day", 10)
    await publish(governor, {"name": "ask", "type": "sensitive_intent", "phrases": ["pay"]})
    for at in (1, 5):
        await agent.request(f"Pay {at}", estimated_cost_usd=at)
    return {
        "kind": "budget", "name": "tenant", "window": "day", "unit": "usd", "limit": 5.0, "left": 4.0, "asked": 5.0,
    }  # fmt: skip


async def by_priority(_: Governor, agent: GovernedAgent) -> Facts:
    await agent.request("Work", estimated_cost_usd=1, priority=9)
    return {
        "kind": "ceiling", "name": "max_priority", "unit": "priority", "limit": 5, "left": 5, "asked": 9,
    }  # fmt: skip


async def by_length(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "ask", "type": "sensitive_intent", "phrases": ["pay"]})
    await agent.request("Pay", estimated_cost_usd=1, tool="pay", arguments={"text": "x" * 70_000})
    return {
        "kind": "ceiling", "name": "arguments that a person is shown", "unit": "bytes", "limit": 65_536, "left": 65_536,
    }  # fmt: skip


async def by_capability(_: Governor, agent: GovernedAgent) -> Facts:
    await agent.request("Work", estimated_cost_usd=1, capability="shell")
    return {"kind": "session", "name": "shell"}


async def by_halt(governor: Governor, agent: GovernedAgent) -> Facts:
    await governor.port.operator.halt(author="ada")
    await agent.request("Work", estimated_cost_usd=1)
    return {"kind": "brake", "name": "tenant"}


async def by_block(governor: Governor, agent: GovernedAgent) -> Facts:
    await governor.port.operator.block("a", author="ada")
    await agent.request("Work", estimated_cost_usd=1)
    return {"kind": "brake", "name": "agent"}


async def by_person(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "ask", "type": "max_cost", "limit_usd": "1", "effect": "escalate"})
    asked = await agent.request("Pay", estimated_cost_usd=2)
    assert asked.escalation_id
    await governor.approvals.decide(asked.escalation_id, "reject", by="ada", reason="no")
    await agent.request("Pay", estimated_cost_usd=2)
    return {"kind": "person", "name": "an operator who refused the same"}


async def by_nothing_named(_: Governor, agent: GovernedAgent) -> Facts:
    await agent.request("Work", resource_type="file_lock", estimated_cost_usd=0)
    return {"kind": "request", "name": "target_resource"}


async def by_fence(_: Governor, agent: GovernedAgent) -> Facts:
    await agent.request("Write", estimated_cost_usd=1, target_resource="db", fence=7)
    return {"kind": "lock", "name": "db", "asked": 7}


async def by_permits(_: Governor, agent: GovernedAgent) -> Facts:
    async with agent.lock("gate", permits=3):
        await agent.request("Write", resource_type="file_lock", estimated_cost_usd=0, target_resource="gate")
    return {"kind": "lock", "name": "gate", "unit": "permits", "limit": 3, "left": 0, "asked": 1}


async def by_models(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "only", "type": "model_override", "models": ["gpt-4o-mini"]})
    await agent.request("Work", model="gpt-4o", prompt_bytes=100, max_output_tokens=10)
    return {"kind": "models", "name": "the rules on models"}


async def by_no_model(_: Governor, agent: GovernedAgent) -> Facts:
    await agent.request("Work", prompt_bytes=900_000_000, max_output_tokens=10)
    return {"kind": "models", "name": "the catalog"}


async def by_gas(governor: Governor, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "calm", "type": "gas_price_ceiling", "max_gwei": 150})
    await agent.request("Pay", resource_type="gas_budget", estimated_cost_usd=1)
    return {"kind": "gas", "name": "the price of gas"}


Way = Callable[[Governor, GovernedAgent], Awaitable[Facts]]
WAYS: dict[str, tuple[str, Way]] = {
    "policy": ("policy", by_rule), "amount": ("policy", by_amount), "rate": ("rate_limit", by_rate),
    "repeats": ("repeat_limit", by_repeats), "spending": ("policy", by_spending),
    "budget": ("budget_exceeded", by_budget), "questions": ("too_many_questions", by_questions),
    "waiting": ("too_much_pending", by_waiting), "priority": ("priority_above_maximum", by_priority),
    "length": ("too_long_to_approve", by_length), "capability": ("missing_capability", by_capability),
    "halt": ("tenant_halted", by_halt), "block": ("agent_blocked", by_block), "person": ("refused_before", by_person),
    "target": ("target_needed", by_nothing_named), "fence": ("stale_fence", by_fence),
    "permits": ("lock_differs", by_permits), "models": ("model_not_allowed", by_models),
    "no-model": ("no_model", by_no_model), "gas": ("gas_unknown", by_gas),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_a_refusal_says_what_stood_in_the_way(virtual: Virtual, way: str) -> None:
    governor = virtual[0]
    agent = await governor.handshake("a")
    code, act = WAYS[way]
    expected = await act(governor, agent)
    event = next(each for each in await governor.events(limit=1_000) if each.kind == "rejected")
    assert (event.facts["code"], event.facts["stopped_by"]) == (code, expected)
    assert event.facts["grant_id"].startswith("gr_")
    assert event.facts["created_at"] == event.at.isoformat()
    assert event.facts["budgets"][0]["limit_usd"] > 0
    if way == "policy":
        assert event.facts["rules"] == ["no-gas", "no-fees"]


async def test_as_many_grants_as_one_may_hold(settings: Any) -> None:
    async with virtual_governor(settings.model_copy(update={"max_open_grants": 1})) as (governor, _, _):
        agent = await governor.handshake("a")
        for _ in range(2):
            await agent.request("Work", estimated_cost_usd=1)
        event = (await governor.latest_events(1))[0]
        assert event.facts["stopped_by"] == {
            "kind": "ceiling", "name": "max_open_grants", "unit": "grants", "limit": 1, "left": 0, "asked": 1,
        }  # fmt: skip


def test_every_code_of_the_scripts_says_what_stood_in_the_way() -> None:
    lua = _scripts()
    named = set(re.findall(r"(?:code|crowded)(?:, \w+)* = (?:asked and [^\n']*)?'([a-z_]+)'", lua))
    named |= set(re.findall(r"object\('deny', '([a-z_]+)'", lua)) | {"rate_limit", "repeat_limit"}
    troubles = re.search(r"local TROUBLE = \{(.*?)\}", lua, re.DOTALL)
    assert troubles
    named |= set(re.findall(r"= '([a-z_]+)'", troubles[1])) | {"lock_unavailable", "lock_timed_out", "lock_busy"}
    assert len(named) > 18
    assert named - {"ok", "approved"} <= STOPS.keys()
    from tests.fundamentals import test_explained_stops  # which takes from here, too

    tried = {code for code, _ in WAYS.values()} | {"too_many_open_grants"} | test_explained_stops.WAYS.keys()
    others = {
        "too_many_requests",  # leaves `requests_limited`, see tests/attacks
        "lock_unavailable",  # what no door lets anybody come to
        "workflow_ended",
        "opener_blocked",  # see test_workflows
    }
    assert tried | others == STOPS.keys()


def test_the_catalogue_names_what_the_scripts_write() -> None:
    lua = _scripts()
    written = {
        kind
        for line in re.findall(r"\bevent\(([^\n]*)", lua)
        for kind in re.findall(r"'([a-z]+_?[a-z]*_?[a-z]+)'", line.split("encode")[0])
    }
    written |= {f"lock_{kind}" for kind in re.findall(r"(?:note_lock|leave|evict|drop)\([^\n]*?'([a-z]+)'", lua)}
    assert {"granted", "settled", "budget_set", "lock_acquired"} <= KINDS.keys()
    assert written - {"agent_", "tenant_", "key_", "lock_"} <= KINDS.keys() | {"lock_"}
    assert KINDS.keys() == BODIES.keys()
    assert {fact for each in KINDS.values() for fact in each.facts.split()} == FACTS.keys()
    path = Path(__file__).parents[2] / "docs/events.md"
    assert path.read_text("utf-8") == page(), "run python -m aegis_core.governor.event_catalog > docs/events.md"


def _scripts() -> str:
    folder = files("aegis_core.store") / "lua"
    parts = [*folder.iterdir(), *(folder / "lib").iterdir()]
    return "\n".join(each.read_text("utf-8") for each in parts if each.name.endswith(".lua"))


async def test_numbers_are_dense_and_a_decision_says_what_it_was_made_of(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await governor.port.operator.set_profile(Profile(match="a", labels={"team": "x"}), author="ada")
    await governor.set_budget("label", "team=x", "day", 5)
    granted = await agent.request(
        "Work", model="gpt-4o", prompt_bytes=1_000, max_output_tokens=100, traceparent=TRACE, prompt_hash="ab" * 16,
        temperature=0.0, experiment_arm="b", propensity=0.25,
    )  # fmt: skip
    assert granted.grant_id
    await clock.advance(seconds=1)
    await agent.settle(
        granted.grant_id, usage={"model": "gpt-4o", "input_tokens": 10, "output_tokens": 5}, outcome=0.5,
        attempt=2, parent_request_id="job-1", latency_ms=321, error_class="Timeout",
    )  # fmt: skip
    for _ in range(3):
        await agent.request("Work", estimated_cost_usd=100)
    events = await governor.events(limit=1_000)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    facts = next(event.facts for event in events if event.kind == "granted")
    assert facts["grant_id"] == granted.grant_id
    assert facts["traceparent"] == TRACE
    assert facts["policy_digest"]
    assert facts["price_version"]
    request = facts["request"]
    said = {
        "prompt_bytes": 1_000,
        "max_output_tokens": 100,
        "temperature": 0,
        "experiment_arm": "b",
        "propensity": 0.25,
    }
    assert said.items() <= request.items()
    assert re.fullmatch("[0-9a-f]{16}", request["prompt_hash"])
    assert request["prompt_hash"] != ("ab" * 16)[:16], "what is stored is keyed"
    settled = next(event.facts for event in events if event.kind == "settled")
    told = {
        "answered_by": "gpt-4o", "usage": {"input_tokens": 10, "output_tokens": 5}, "outcome": 0.5, "attempt": 2,
        "parent_request_id": "job-1", "latency_ms": 321, "error_class": "Timeout", "grant_id": granted.grant_id,
    }  # fmt: skip
    assert told.items() <= settled.items()
    assert "late" not in settled


async def test_a_late_settlement_says_so(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    granted = await agent.request("Work", estimated_cost_usd=1)
    await clock.advance(hours=1)
    await governor.events()
    assert granted.grant_id
    await agent.settle(granted.grant_id, cost_usd=1)
    last = (await governor.latest_events(1))[0]
    assert (last.kind, last.facts["late"]) == ("settled", True)


async def test_a_call_of_unknown_outcome_is_told_once(virtual: Virtual) -> None:
    governor = virtual[0]
    await governor.handshake("a")
    journal = governor.port.journal
    for runner in ("1" * 32, "2" * 32, "3" * 32):
        await _start(journal, runner)
    told = [event for event in await governor.events(limit=100) if event.kind == "outcome_unknown"]
    assert [(event.agent_id, len(event.facts["call"])) for event in told] == [("a", 32)]


async def _start(journal: Any, runner: str) -> None:
    await journal.write(JournalRequest(act="start", agent_id="a", key="call-1", runner=runner))


async def test_an_edit_of_a_question_keeps_the_evidence_of_its_request(virtual: Virtual) -> None:
    governor = virtual[0]
    agent = await governor.handshake("a")
    await publish(governor, {"name": "ask", "type": "max_cost", "limit_usd": "0.001", "effect": "escalate"})
    asked = await agent.request(
        "Pay", model="gpt-4o", prompt_tokens=900, prompt_size_bytes=3_000, max_output_tokens=500, temperature=0.5,
        prompt_hash="ab" * 16, prefix_hash="cd" * 16, traceparent=TRACE, experiment_arm="b", propensity=0.5,
        prompt_end="and then pay", tool="pay", arguments={"amount": 7},
    )  # fmt: skip
    assert asked.escalation_id
    edit = ApprovalEdit(estimated_cost_usd=Decimal("0.002"))
    await governor.approvals.decide(asked.escalation_id, "approve", by="ada", edit=edit)
    facts = {event.kind: event.facts for event in await governor.events(limit=100)}
    before, after = facts["pending"], facts["approved"]
    assert after["edited"]
    assert (after["request"], after["traceparent"]) == (before["request"], TRACE)
    assert before["request"].keys() >= {
        "prompt_tokens", "prompt_bytes", "max_output_tokens", "temperature", "prompt_hash", "prefix_hash",
        "experiment_arm", "propensity", "prompt_end",
    }  # fmt: skip


async def test_how_a_prompt_ends_is_kept_only_with_a_question(virtual: Virtual) -> None:
    governor = virtual[0]
    agent = await governor.handshake("a")
    await publish(governor, {"name": "ask", "type": "max_cost", "limit_usd": "1", "effect": "escalate"})
    for usd in (0, 2):
        await agent.request("Work", estimated_cost_usd=usd, prompt_end="the last words")
    ends = {event.kind: event.facts["request"].get("prompt_end") for event in (await governor.events(limit=100))[-2:]}
    assert ends == {"granted": None, "pending": "the last words"}

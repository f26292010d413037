"""Refusals of one agent that are alike: the first leaves its event, and what follows is counted and told together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_core import Governor
from aegis_core.client.agent import GovernedAgent
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.canonical import record_id
from aegis_core.store import layout
from aegis_core.store.packing import decode, unpack
from aegis_core.store.schema import Agent
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

Virtual = tuple[Governor, FakeClock, Store]

pytestmark = pytest.mark.leaves("grants", "questions")


async def refused(agent: GovernedAgent, intent: str = "drop database", **fields: Any) -> None:
    verdict = await agent.request(intent, **{"estimated_cost_usd": 1, **fields})
    assert verdict.status == "REJECTED", verdict


async def raw(store: Store, tenant: str) -> list[str]:
    """The kinds of what is in the stream, without a look that has the rest told."""
    entries: Any = await store.command("XRANGE", layout.key(tenant, "e"), "-", "+")
    kinds = [dict(fields)[b"k"].decode() for _, fields in entries]
    return [kind for kind in kinds if kind not in {"tenant_opened", "handshake", "profiles_published"}]


async def told(governor: Governor) -> list[dict[str, Any]]:
    return [event.facts for event in await governor.latest_events(100) if event.kind == "refusals_repeated"]


async def test_the_first_is_written_and_the_next_grant_tells_of_the_others(virtual: Virtual) -> None:
    governor, clock, store = virtual
    agent = await governor.handshake("a")
    began = clock.now
    for at in range(5):
        await refused(agent, f"drop database {at}", tool="psql", target_resource="db/main", estimated_cost_usd=at)
        await clock.advance(seconds=1)
    assert await raw(store, governor.tenant) == ["rejected"]
    assert (await agent.request("Work", estimated_cost_usd=1)).granted
    assert await raw(store, governor.tenant) == ["rejected", "refusals_repeated", "granted"]
    event = (await governor.latest_events(2))[0]
    assert event.agent_id == "a"
    first = next(each for each in await governor.events() if each.kind == "rejected")
    assert event.facts["since"] == first.at.isoformat() == began.isoformat()
    assert (event.facts["count"], event.facts["until"][17:19]) == (4, "04")
    kept = {
        name: event.facts[name] for name in ("code", "rule", "resource_type", "tool", "target_resource", "most_usd")
    }
    assert kept == {
        "code": "policy", "rule": "no-database-drop", "resource_type": "llm_tokens", "tool": "psql",
        "target_resource": "db/main", "most_usd": 4.0,
    }  # fmt: skip
    await refused(agent)
    assert (await raw(store, governor.tenant))[-1] == "rejected", "after a grant the next refusal is the first again"


async def test_a_question_tells_of_them_too(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent = await governor.handshake("a")
    for _ in range(3):
        await refused(agent)
    assert (await agent.request("Withdraw the funds", estimated_cost_usd=1)).status == "PENDING"
    assert await raw(store, governor.tenant) == ["rejected", "refusals_repeated", "pending"]


@pytest.mark.parametrize("by", ["sweep", "another agent", "the same again"])
async def test_the_end_of_the_time_tells_of_them_whoever_comes_first(virtual: Virtual, by: str) -> None:
    governor, clock, store = virtual
    agent, other = await governor.handshake("a"), await governor.handshake("b")
    for _ in range(3):
        await refused(agent)
    await clock.advance(seconds=10)
    port: Any = governor.port
    if by == "sweep":
        await port._ledger.sweep()
        assert await raw(store, governor.tenant) == ["rejected", "refusals_repeated"]
    elif by == "another agent":
        await other.request("Work", estimated_cost_usd=0)
        assert await raw(store, governor.tenant) == ["rejected", "refusals_repeated", "granted"]
    else:
        await refused(agent)
        assert await raw(store, governor.tenant) == ["rejected", "refusals_repeated", "rejected"]
    assert [facts["count"] for facts in await told(governor)] == [2]


async def test_who_reads_all_events_reads_of_all_refusals(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent = await governor.handshake("a")
    for _ in range(7):
        await refused(agent)
    page = await governor.events()
    assert [event.kind for event in page][-1] == "rejected", "a page with events is not held up"
    more = await governor.events(after=page[-1].id)
    assert [(event.kind, event.facts["count"]) for event in more] == [("refusals_repeated", 6)]
    assert await governor.events(after=more[-1].id) == (), "and is told once"
    await refused(agent)
    await refused(agent)
    assert (await governor.latest_events(1))[0].facts["count"] == 1
    deadlines = await store.command("ZRANGE", layout.key(governor.tenant, "d"), 0, -1)
    assert not [name for name in deadlines if name.startswith(b"a:")]


async def test_what_differs_is_told_apart(virtual: Virtual) -> None:
    """By code, rule, budget, type, model, tool, target or capability; and by agent. Not by words, amount or session."""
    governor, _, store = virtual
    agent, other = await governor.handshake("a", max_priority=5), await governor.handshake("b")
    await governor.set_budget("agent", "a", "day", 10)
    await governor.set_budget("agent", "a", "week", 15)
    kinds: list[dict[str, Any]] = [
        {"intent": "drop database"}, {"intent": "rm -rf /"}, {"priority": 9}, {"capability": "deploy"},
        {"estimated_cost_usd": 11}, {"tool": "psql", "intent": "drop database"},
        {"target_resource": "db/x", "intent": "drop database"}, {"resource_type": "compute", "intent": "drop database"},
    ]  # fmt: skip
    for _ in range(3):
        for kind in kinds:
            await refused(agent, kind.get("intent", "Work"), **{k: v for k, v in kind.items() if k != "intent"})
    await refused(other)
    assert await raw(store, governor.tenant) == ["budget_set"] * 2 + ["rejected"] * (len(kinds) + 1)
    again = await governor.handshake("a", max_priority=5)
    await refused(again, "please drop database", estimated_cost_usd=3)
    assert (await raw(store, governor.tenant)).count("rejected") == len(kinds) + 1, "words, amount, session"
    found = await told(governor)
    assert sorted(facts["count"] for facts in found) == [2] * (len(kinds) - 1) + [3]
    short = next(facts for facts in found if facts["code"] == "budget_exceeded")
    assert (short["owner"], short["window"]) == ("a", "d")


async def test_of_more_kinds_than_are_counted_each_leaves_its_own(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent = await governor.handshake("a")
    for _ in range(2):
        for number in range(10):
            await refused(agent, tool=f"tool-{number}")
    assert await raw(store, governor.tenant) == ["rejected"] * (8 + 2 + 2)
    record = decode(Agent, unpack(await store.command("GET", layout.key(governor.tenant, "a:a"))))
    assert len(record.refused) == 8
    assert [facts["count"] for facts in await told(governor)] == [1] * 8


async def test_what_another_version_of_the_policy_refuses_is_told_apart(virtual: Virtual) -> None:
    governor, _, _ = virtual
    agent = await governor.handshake("a")
    port: Any = governor.port
    versions: list[int] = []
    for reason in ("not here", "nor there"):
        rules = [{"name": "stop", "type": "blocked_intent", "phrases": ["drop database"], "reason": reason}]
        versions.append(await port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": rules})), author="ops"))
        for _ in range(2):
            await refused(agent)
    events = await governor.latest_events(20)
    assert [event.facts["policy_version"] for event in events if event.kind == "rejected"] == versions
    assert [(facts["policy_version"], facts["count"]) for facts in await told(governor)] == [(at, 1) for at in versions]


async def test_the_same_request_again_is_neither_decided_nor_counted_again(virtual: Virtual) -> None:
    governor, _, _ = virtual
    agent = await governor.handshake("a")
    for _ in range(2):
        await refused(agent)
    for _ in range(3):
        await refused(agent, request_id="one")
    assert [facts["count"] for facts in await told(governor)] == [2]


async def test_a_repeated_refusal_is_remembered_shortly(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent = await governor.handshake("a")
    for name in ("first", "second"):
        await refused(agent, request_id=name)
    left = [
        await store.command("PTTL", layout.key(governor.tenant, f"r:{record_id('a', name)}"))
        for name in ("first", "second")
    ]
    assert left[0] > 60_000 >= left[1] > 0


async def test_a_forgotten_agent_leaves_no_words_behind(virtual: Virtual) -> None:
    governor, clock, store = virtual
    agent = await governor.handshake("a")
    for _ in range(3):
        await refused(agent, target_resource="my-secret-place")
    port: Any = governor.port
    await port.operator.forget("a", author="ops")
    await clock.advance(seconds=30)
    await port._ledger.sweep()
    assert b"my-secret-place" not in await store.command("GET", layout.key(governor.tenant, "a:a"))
    events = await governor.events()
    assert "my-secret-place" not in repr(events)
    kinds = ["tenant_opened", "handshake", "rejected", "refusals_repeated", "agent_forgotten"]
    assert [event.kind for event in events] == kinds
    assert events[3].facts["count"] == 2, "what was only counted is told, so that no refusal is lost"


async def test_a_clock_that_goes_back_loses_nothing(virtual: Virtual) -> None:
    governor, clock, store = virtual
    agent = await governor.handshake("a")
    for _ in range(3):
        await refused(agent)
    await clock.advance(hours=-3)
    await refused(agent)
    assert await raw(store, governor.tenant) == ["rejected", "refusals_repeated", "rejected"]

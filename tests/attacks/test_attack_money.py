"""Attacks on money: claims that are too high, reports that are too low, and questions that lock what others need."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
import redis
from guarding import DEFENDED, Serve, Weaken, bearer
from serving import moved_by_hand

from aegis_core import Settings
from aegis_core.policy.loading import load_policy
from aegis_core.store import layout
from aegis_core.store.schema import EVENT_BYTES
from aegis_core.store.store import Store
from aegis_core.testing import virtual_governor

pytestmark = pytest.mark.leaves("grants", "questions")

API = "/api/v1"


@DEFENDED
def test_the_highest_priority_every_capability_and_fifty_fresh_names(
    serve: Serve, weaken: Weaken, defended: bool
) -> None:
    if not defended:
        weaken("priority > math.min(S[S_PRIORITY], G[G_PRIORITY])", "priority > S[S_PRIORITY]")
    server = serve(tenant_day_usd=20)
    profiles = {"profiles": [{"match": "*", "max_priority": 4, "capabilities": []}]}
    assert server.http.put(f"{API}/profiles", json=profiles, headers=bearer(server.operator_key)).status_code == 200
    granted, codes = 0, set[str]()
    for number in range(50):
        session = server.enter(f"fresh-{number}", max_priority=10, capabilities=["deploy"], session_budget_usd=9_999)
        codes.add(server.ask(session, priority=10, estimated_cost_usd=0).json()["code"])
        codes.add(server.ask(session, capability="deploy", estimated_cost_usd=0).json()["code"])
        granted += server.ask(session, priority=4, estimated_cost_usd=5).json()["status"] == "GRANTED"
    assert granted == 4, "names are free, so the tenant's budget bounds all of them together"
    refused = {"priority_above_maximum", "missing_capability", "budget_exceeded"}
    assert (codes <= refused) is defended


def test_fresh_names_end_at_a_ceiling(serve: Serve) -> None:
    server = serve(max_agents=3)
    for number in range(3):
        server.enter(f"fresh-{number}")
    body = {"agent_id": "one-more"}
    answer = server.http.post(f"{API}/handshake", json=body, headers=bearer(server.agent_key))
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_agents")


@DEFENDED
def test_settling_at_nothing_after_spending(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("(R[R_TRUSTED] or act == 'release' and unheard(R)) and 0 or R[R_AMOUNT]", "0")
    server = serve()
    session = server.enter("a")
    headers = bearer(session["session_token"])
    cheap = server.http.post(f"{API}/grants/{server.grant(session)}/settle", json={"cost_usd": 0}, headers=headers)
    unused = server.http.post(f"{API}/grants/{server.grant(session)}/release", json={}, headers=headers)
    charged = 0.25 if defended else 0
    assert (cheap.json()["charged_usd"], unused.json()["charged_usd"]) == (charged, charged)


@DEFENDED
def test_shaking_hands_again_does_not_reset_a_budget(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("open_session", "if not G then", "if true then")
    server = serve(agent_day_usd=1)
    session = server.enter("a", session_budget_usd=1_000)
    server.grant(session, estimated_cost_usd=1)
    headers = {**bearer(server.agent_key), "X-Aegis-Session": session["session_token"]}
    again = server.http.post(f"{API}/handshake", json={"agent_id": "a", "session_budget_usd": 1_000}, headers=headers)
    assert (server.ask(again.json()).json()["status"] == "REJECTED") is defended


@DEFENDED
def test_a_flood_of_expensive_questions(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("pending > most_pending", "false")
    server = serve(agent_day_usd=1_000)
    flood, other = server.enter("flood"), server.enter("other")
    answers = [server.ask(flood, estimated_cost_usd=19).json() for _ in range(6)]
    assert {answer["status"] for answer in answers} <= {"PENDING", "REJECTED"}
    assert any(answer["code"] == "too_much_pending" for answer in answers) is defended
    held = sum(19 for answer in answers if answer["status"] == "PENDING")
    assert (held <= 50) is defended
    assert server.ask(other, estimated_cost_usd=5).json()["status"] == "GRANTED"  # what is left of half the day


@DEFENDED
@pytest.mark.leaves("leases")
def test_requests_that_queue_for_ones_own_lock(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("pending > most_pending", "false")
    server = serve(agent_day_usd=1_000)
    flood, other = server.enter("flood"), server.enter("other")
    headers = bearer(flood["session_token"])
    lock = server.http.post(f"{API}/locks/mine/acquire", json={"agent_id": "flood"}, headers=headers).json()
    assert lock["state"] == "held"
    wish = {"resource_type": "file_lock", "target_resource": "mine", "estimated_cost_usd": 4.5}
    answers = [server.ask(flood, task_intent=f"touch it {at}", **wish).json() for at in range(22)]
    waiting = [answer for answer in answers if answer["status"] == "PENDING"]
    assert (len(waiting) * 4.5 <= 50) is defended
    assert (server.ask(other, estimated_cost_usd=4.5).json()["status"] == "GRANTED") is defended
    if defended:
        assert {answer["code"] for answer in answers} == {"lock_busy", "too_much_pending"}
        locks = server.http.get(f"{API}/locks", headers=bearer(server.operator_key)).json()["locks"]
        assert [each["queued"] for each in locks] == [len(waiting)], "who is refused waits for nothing"
        path = f"{API}/grants/{waiting[0]['grant_id']}/release"
        assert server.http.post(path, json={"agent_id": "flood"}, headers=headers).status_code == 200
        assert server.ask(flood, task_intent="once more", **wish).json()["status"] == "PENDING", "what ended is free"


@DEFENDED
def test_one_question_of_each_of_many_fresh_names(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("math.max(G[G_PENDING], waiting_in(G[G_WAITING]), whole) + amount", "G[G_PENDING] + amount")
    server = serve(agent_day_usd=1_000)
    answers = [server.ask(server.enter(f"fresh-{at}"), estimated_cost_usd=9.5).json() for at in range(10)]
    held = sum(9.5 for answer in answers if answer["status"] == "PENDING")
    assert (held <= 50) is defended
    other = server.enter("other", key=server.operator_key)
    answer = server.ask(other, estimated_cost_usd=20).json()
    assert (answer["status"] == "PENDING") is defended, "whom another key let in has a share of its own"


@DEFENDED
def test_more_requests_than_anybody_needs(serve: Serve, weaken: Weaken, settings: Settings, defended: bool) -> None:
    if not defended:
        weaken("if before >= most then code", "if false then code")
    with moved_by_hand(settings.url) as clock:
        server = serve(max_requests_per_second=3)
        one, two = server.enter("one"), server.enter("two")
        other = server.enter("other", key=server.operator_key)

        def codes(*agents: dict[str, Any]) -> list[str]:
            wish = {"task_intent": "drop database", "estimated_cost_usd": 0}
            return [server.ask(agent, **wish).json()["code"] for agent in agents]

        answers = codes(one, two, one, two, one, two)
        beyond = "too_many_requests" if defended else "policy"
        assert answers == ["policy"] * 3 + [beyond] * 3, "of all that one key let in"
        assert codes(other) == ["policy"], "another key has a bound of its own"
        clock.advance(1)
        assert codes(one) == ["policy"]
        told = server.http.get(f"{API}/events?latest=200", headers=bearer(server.operator_key)).json()["events"]
    kinds = [event["kind"] for event in told]
    assert kinds.count("requests_limited") == (1 if defended else 0), "said once"
    alike = sum(event["facts"]["count"] for event in told if event["kind"] == "refusals_repeated")
    assert kinds.count("rejected") + alike == (5 if defended else 8), "what is beyond leaves nothing"


@DEFENDED
def test_refusals_that_fill_the_store(serve: Serve, weaken: Weaken, settings: Settings, defended: bool) -> None:
    if not defended:
        weaken("#body + (trace and #trace or 0) > EVENT_BYTES", "false")
    server = serve(events_kept=200)
    session = server.enter("a")
    words = "\U0001f600" * 7_900
    for at in range(40):
        wish = {"task_intent": f"{at} {words}", "estimated_cost_usd": 1_000, "metadata": {"m": words[:4_000]}}
        answer = server.ask(session, target_resource=f"place-{at}", **wish)  # no two are alike
        assert answer.json()["status"] == "REJECTED", answer.text
    with redis.Redis.from_url(settings.url) as client:
        stream = layout.key(settings.tenant, "e")
        used = client.memory_usage(stream, samples=0)
        newest = client.xrevrange(stream, count=1)[0][1]
    assert (used <= 3 * EVENT_BYTES * 200) is defended, f"{used:,} bytes"
    if defended:
        told = server.http.get(f"{API}/events?latest=1", headers=bearer(server.operator_key)).json()["events"][0]
        assert told["facts"]["request"]["intent"].startswith("39 \U0001f600")
        assert told["facts"]["request"]["intent"].endswith("\U0001f600…"), "no character is cut in two"
        assert len(newest[b"q"]) < 2_048


@DEFENDED
def test_the_same_refusal_until_nobody_finds_anything_else(
    serve: Serve, weaken: Weaken, settings: Settings, defended: bool
) -> None:
    """An event for each would soon push everything else out of those that are kept."""
    if not defended:
        weaken("repeated", "if same then", "if false then")
    server = serve(events_kept=100)
    other, flood = server.enter("other"), server.enter("flood")
    server.grant(other, task_intent="what an operator looks for")
    for at in range(300):  # of what is kept, Redis drops a hundred at a time
        wish = {"task_intent": f"{at}: rm -rf /", "estimated_cost_usd": at, "metadata": {"try": at}}
        assert server.ask(flood, **wish).json()["code"] == "policy"
    with redis.Redis.from_url(settings.url) as client:
        assert (client.xlen(layout.key(settings.tenant, "e")) < 20) is defended
        record = client.memory_usage(layout.key(settings.tenant, "a:flood"), samples=0)
    assert record < 4_096
    told = server.http.get(f"{API}/events?latest=400", headers=bearer(server.operator_key)).json()["events"]
    wanted = [event["agent_id"] for event in told if event["kind"] == "granted"]
    assert (wanted == ["other"]) is defended
    if defended:
        refused = [event for event in told if event["agent_id"] == "flood" and event["kind"] != "handshake"]
        alike = [event["facts"] for event in refused if event["kind"] == "refusals_repeated"]
        assert len(refused) - len(alike) + sum(facts["count"] for facts in alike) == 300, "an operator can count them"
        assert max(facts["most_usd"] for facts in alike) == 299


_RULES = {
    "schema": 1,
    "rules": [
        {"name": "words", "type": "blocked_intent", "phrases": ["drop database"]},
        {"name": "dear", "type": "max_cost", "limit_usd": 50, "effect": "deny"},
        {"name": "asked", "type": "sensitive_intent", "tools": ["wire"]},
    ],
}
_REFUSALS: dict[str, dict[str, Any]] = {
    "policy": {"task_intent": "drop database"},
    "limit": {"estimated_cost_usd": 60},
    "budget_exceeded": {"estimated_cost_usd": 40},
    "missing_capability": {"capability": "deploy"},
    "priority_above_maximum": {"priority": 10},
    "no_model": {"resource_type": "llm_tokens", "requirements": {"min_context_tokens": 100_000_000}},
    "target_needed": {"resource_type": "wallet_lock"},
    "stale_fence": {"fence": 7, "target_resource": "db"},
    "too_much_pending": {"tool": "wire", "estimated_cost_usd": 9},
}
"""What is refused by every judge that can refuse."""


@pytest.mark.parametrize("many", [150, pytest.param(2_000, marks=[pytest.mark.deep, pytest.mark.timeout(900)])])
@pytest.mark.parametrize("words", ["the same", "others"])
async def test_refusals_of_every_kind_stay_below_the_ceiling_that_is_documented(
    settings: Settings, words: str, many: int
) -> None:
    kept = 100
    small = settings.model_copy(
        update={"events_kept": kept, "agent_day_usd": Decimal(30), "tenant_day_usd": Decimal(10)}
    )
    async with virtual_governor(small) as (governor, _, store):
        port: Any = governor.port
        await port.publish_policy(load_policy(json.dumps(_RULES)), author="tests")
        await governor.set_budget("tenant", "tenant", "day", 10)
        agents = {kind: await governor.handshake(kind, max_priority=5) for kind in _REFUSALS}
        before = await held(store, settings.tenant)

        async def ask(kind: str, at: int) -> None:
            fields = {"resource_type": "api_call", "estimated_cost_usd": 1, "task_intent": "Work", **_REFUSALS[kind]}
            if words == "others":
                fields["task_intent"] += f" {at} " + "\U0001f600" * 60
                fields |= {"task_type": f"{at}" + "x" * 100, "metadata": {"m": f"{at}" + "\U0001f600" * 200}}
            verdict = await agents[kind].request(fields.pop("task_intent"), **fields)
            assert verdict.status == "REJECTED", verdict

        for at in range(many):
            await asyncio.gather(*(ask(kind, at) for kind in _REFUSALS))
        after = await held(store, settings.tenant)
        told = await governor.latest_events(10_000)
    counts = {event.agent_id: event.facts["count"] for event in told if event.kind == "refusals_repeated"}
    assert counts == dict.fromkeys(_REFUSALS, many - 1)
    assert after["events"] <= 3 * EVENT_BYTES * kept, f"{after['events']:,} bytes of events"
    grown = {head: after[head] - before[head] for head in ("records", "agents", "rest")}
    assert grown["records"] <= 1_024 * many * len(_REFUSALS), f"{grown['records']:,} bytes of decisions"
    assert grown["agents"] <= 512 * len(_REFUSALS), f"{grown['agents']:,} bytes more of agents"
    assert grown["rest"] <= 2_048
    assert sum(left > 60_000 for left in after["left"]) <= len(_REFUSALS), "only the first of a kind is kept for long"


async def held(store: Store, tenant: str) -> dict[str, Any]:
    """The bytes that a tenant's keys take, and the ms that its decisions are kept still."""
    prefix = layout.key(tenant, "")
    found: dict[str, Any] = {"events": 0, "records": 0, "agents": 0, "rest": 0, "left": []}
    heads = {"e": "events", "r": "records", "a": "agents"}
    for name in await store.command("KEYS", f"{prefix}*"):
        head = name.decode().removeprefix(prefix).partition(":")[0]
        found[heads.get(head, "rest")] += await store.command("MEMORY USAGE", name, "SAMPLES", 0) or 0
        if head == "r":
            found["left"].append(await store.command("PTTL", name))
    return found


@DEFENDED
def test_outcomes_that_would_steer_the_choice_of_models_for_others(
    serve: Serve, weaken: Weaken, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    monkeypatch.setattr("aegis_core.governor.outcomes.FRESH_SECONDS", 0)
    if not defended:
        weaken("outcome = R[R_TRUSTED] and R[R_WHY] and outcome", "outcome = R[R_WHY] and outcome")
        weaken("(R[R_TRUSTED] or act == 'release' and unheard(R)) and 0 or R[R_AMOUNT]", "0")
    server = serve(agent_day_usd=1_000)
    liar, other = server.enter("liar"), server.enter("other")
    headers = bearer(liar["session_token"])
    said = {"task_type": "prove", "logic_density": 1, "estimated_cost_usd": 0}
    for _ in range(60):
        grant = server.grant(liar, **said)
        body = {"cost_usd": 0, "outcome": 1}
        assert server.http.post(f"{API}/grants/{grant}/settle", json=body, headers=headers).status_code == 200
    hard = {"task_type": "prove", "logic_density": 8, "estimated_cost_usd": 0}
    chosen = server.ask(other, **hard).json()["recommended_model"]
    assert (chosen == "gpt-5.1") is defended

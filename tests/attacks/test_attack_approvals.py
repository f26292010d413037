"""Attacks on approvals: deciding for oneself, asking around a rule, and wearing operators down."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from guarding import AS_OPERATOR, DEFENDED, Guarded, Serve, Weaken, bearer

pytestmark = pytest.mark.leaves("grants", "questions")

API = "/api/v1"


def decided(server: Guarded, verdict: dict[str, Any], key: str | None = None, **body: Any) -> dict[str, Any]:
    """What an operator's decision answers."""
    path = f"{API}/approvals/{verdict['escalation_id']}/decision"
    said = {"decision": "approve", **body}
    return server.http.post(path, json=said, headers=bearer(key or server.operator_key)).json()


def ruled(server: Guarded, *rules: dict[str, Any]) -> None:
    answer = server.http.put(
        f"{API}/policy",
        json={"schema": 1, "rules": list(rules)},
        headers=bearer(server.operator_key) | {"If-Match": "*"},
    )
    assert answer.status_code == 200, answer.text


def test_deciding_ones_own_request(serve: Serve) -> None:
    server = serve()
    session = server.enter("a")
    verdict = server.ask(session, estimated_cost_usd=6).json()
    path = f"{API}/approvals/{verdict['escalation_id']}/decision"
    for secret in (session["session_token"], server.agent_key):
        answer = server.http.post(path, json={"decision": "approve"}, headers=bearer(secret))
        assert (answer.status_code, answer.json()["code"]) == (403, "operator_only")
    events = server.http.get(f"{API}/events?limit=100", headers=bearer(server.operator_key)).json()["events"]
    traces = [one["facts"] for one in events if one["kind"] == "channel_refused"]
    assert [trace["act"] for trace in traces] == ["operator_only", "operator_only"]
    assert traces[0] == {"channel": "decision_door", "act": "operator_only", "by": "agent:a"}
    assert server.http.post(path, json={"decision": "approve"}).status_code == 401
    for claim in ({"by": "cfo"}, {"decided_by": "cfo"}, {"operator": "cfo"}):
        body = {"decision": "approve", **claim}
        assert server.http.post(path, json=body, headers=bearer(server.operator_key)).status_code == 422
    assert decided(server, verdict)["decided_by"] == "ada"


@DEFENDED
def test_an_easier_rule_beside_a_quorum(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("math.max(Q[Q_QUORUM], quorum)", "Q[Q_QUORUM]")
    server = serve()
    ruled(
        server,
        {"name": "unsure", "type": "confidence_floor", "min_confidence": 0.7},
        {"name": "two", "type": "max_cost", "limit_usd": 5, "asking": {"quorum": 2}},
    )
    verdict = server.ask(server.enter("a"), estimated_cost_usd=6, confidence=0.1).json()
    assert (decided(server, verdict)["status"] == "open") is defended


@DEFENDED
def test_a_hasty_rule_beside_one_that_waits_for_an_answer(serve: Serve, weaken: Weaken, defended: bool) -> None:
    """Silence approves by both, and the new one would not let anybody break it."""
    if not defended:
        weaken("if Q[Q_APPROVES] then span = longest end", "")
    server = serve()
    quiet = {"type": "max_cost", "limit_usd": 5}
    ruled(
        server,
        {**quiet, "name": "patient", "asking": {"on_timeout": "approve", "timeout_seconds": 1_800}},
        {**quiet, "name": "hasty", "asking": {"on_timeout": "approve", "timeout_seconds": 20}},
    )
    verdict = server.ask(server.enter("a"), estimated_cost_usd=6).json()
    path = f"{API}/approvals/{verdict['escalation_id']}"
    question = server.http.get(path, headers=bearer(server.operator_key)).json()
    asked, until = (datetime.fromisoformat(question[name]) for name in ("asked_at", "deadline"))
    assert (until - asked).total_seconds() == (1_800 if defended else 20)


@DEFENDED
def test_a_flood_of_small_questions(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("G[G_QUESTIONS] >= most", "false")
    server = serve()
    session = server.enter("a")
    codes = [
        server.ask(session, estimated_cost_usd=0.01, confidence=0.1, task_intent=f"Ask {n}").json() for n in range(25)
    ]
    waiting = [verdict for verdict in codes if verdict["status"] == "PENDING"]
    assert (len(waiting) == 20) is defended
    refused = [verdict for verdict in codes if verdict["code"] == "too_many_questions"]
    assert bool(refused) is defended
    assert all(verdict["retry_after_seconds"] > 0 for verdict in refused)


@DEFENDED
def test_asking_again_after_a_refusal(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("  if refusal then\n", "  if false then\n")
    server = serve()
    session = server.enter("a")
    decided(server, server.ask(session, estimated_cost_usd=6).json(), decision="reject", reason="no")
    again = [server.ask(session, estimated_cost_usd=6, priority=n, logic_density=n).json() for n in (1, 2, 3)]
    assert all((verdict["code"] == "refused_before") is defended for verdict in again)


def test_other_arguments_under_an_approved_request_id(serve: Serve) -> None:
    server = serve()
    session = server.enter("a")
    wish = {"estimated_cost_usd": 6, "request_id": "one", "tool": "pay", "arguments_hash": "to-acme"}
    decided(server, server.ask(session, **wish).json())
    other = server.ask(session, **{**wish, "arguments_hash": "to-mallory"})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    granted = server.ask(session, **wish).json()
    assert (granted["status"], granted["tool"], granted["arguments_hash"]) == ("GRANTED", "pay", "to-acme")


@DEFENDED
@pytest.mark.parametrize(
    ("shown", "run"),
    [
        ({"task_intent": "Send it to 0x" + "1f" * 32}, {"task_intent": "Send it to 0x" + "2e" * 32}),
        ({"metadata": {"pay_token": "sparrow"}}, {"metadata": {"pay_token": "cuckoo"}}),
        ({"prompt_end": "password: sparrow"}, {"prompt_end": "password: cuckoo"}),
    ],
    ids=["intent", "metadata", "prompt"],
)
def test_other_masked_words_under_an_approved_request_id(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, shown: dict[str, Any], run: dict[str, Any], defended: bool
) -> None:
    """Which approvers see as the same."""
    if not defended:
        monkeypatch.setattr("aegis_core.governor.requests.hmac", SimpleNamespace(digest=lambda *_: b""))
    server = serve()
    ruled(server, {"name": "dear", "type": "max_cost", "limit_usd": 3, "effect": "escalate"})
    session = server.enter("a")
    wish = {"request_id": "r-9", "estimated_cost_usd": 4}
    decided(server, server.ask(session, **wish, **shown).json())
    answer = server.ask(session, **wish, **run)
    assert (answer.status_code == 409) is defended, answer.text


@DEFENDED
def test_an_envelope_of_one_rule_for_another(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("alone = alone and name == V[V_RULE]", "alone = true")
    server = serve()
    session = server.enter("a")
    ahead = {"agent_id": "a", "rule": "low-confidence", "limit_usd": 100}
    made = server.http.post(f"{API}/envelopes", json=ahead, headers=bearer(server.operator_key))
    assert made.status_code == 200, made.text
    assert server.ask(session, estimated_cost_usd=1, confidence=0.1).json()["status"] == "GRANTED"
    verdict = server.ask(session, estimated_cost_usd=6, confidence=0.1).json()
    assert (verdict["status"] == "PENDING") is defended


@DEFENDED
def test_an_operator_beyond_their_limit(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("if ceiling and bound > ceiling then", "if false then")
    server = serve()
    path = f"{API}/operator-limits/ada"
    own = server.http.put(path, json={"approve_up_to_usd": None}, headers=bearer(server.operator_key))
    assert (own.status_code, own.json()["code"]) == (403, "role_needed")
    assert server.http.put(path, json={"approve_up_to_usd": 5}, headers=AS_OPERATOR).status_code == 200
    answer = decided(server, server.ask(server.enter("a"), estimated_cost_usd=6).json())
    assert (answer.get("code") == "above_operator_limit") is defended


def test_watching_another_agents_approval(serve: Serve) -> None:
    server = serve()
    mine, other = server.enter("a"), server.enter("b")
    verdict = server.ask(mine, estimated_cost_usd=6).json()
    path = f"{API}/approvals/{verdict['escalation_id']}"
    answer = server.http.get(path, headers=bearer(other["session_token"]))
    assert (answer.status_code, answer.json()["code"]) == (403, "not_yours")
    assert server.http.get(path, headers=bearer(mine["session_token"])).json()["status"] == "open"
    assert server.http.get(f"{API}/approvals", headers=bearer(mine["session_token"])).status_code == 403

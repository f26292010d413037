"""Attacks on money: claims that are too high, reports that are too low, and questions that lock what others need."""

from __future__ import annotations

import pytest
from guarding import DEFENDED, Serve, Weaken, bearer

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
        weaken("(G[G_PENDING] + amount) * 2 > limit", "false")
    server = serve(agent_day_usd=1_000)
    flood, other = server.enter("flood"), server.enter("other")
    answers = [server.ask(flood, estimated_cost_usd=19).json() for _ in range(6)]
    assert {answer["status"] for answer in answers} <= {"PENDING", "REJECTED"}
    assert any(answer["code"] == "too_much_pending" for answer in answers) is defended
    held = sum(19 for answer in answers if answer["status"] == "PENDING")
    assert (held <= 50) is defended
    assert server.ask(other, estimated_cost_usd=5).json()["status"] == "GRANTED"  # what is left of half the day


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

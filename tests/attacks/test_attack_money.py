"""Attacks on money: claims that are too high, reports that are too low, and questions that lock what others need."""

from __future__ import annotations

from typing import Any

import pytest
from guarding import DEFENDED, Serve, Weaken, bearer
from serving import moved_by_hand

from aegis_core import Settings

pytestmark = pytest.mark.leaves("grants", "questions")

API = "/api/v1"


@DEFENDED
def test_the_highest_priority_every_capability_and_fifty_fresh_names(
    serve: Serve, weaken: Weaken, defended: bool
) -> None:
    if not defended:
        weaken(
            "local most = math.min(S[S_PRIORITY], G[G_PRIORITY], opener and opener[G_PRIORITY] or 10)",
            "local most = S[S_PRIORITY]",
        )
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
        weaken("(proven or R[R_TRUSTED] or act == 'release' and unheard(R)) and 0 or R[R_AMOUNT]", "0")
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
        lost = "if call('ZSCORE', PREFIX .. 'ag', agent) or call('ZCARD', PREFIX .. 'ag') ~= T[T_AGENTS] then "
        weaken("open_session", f"if not G then {lost}return {{'AGENT_LOST', agent}} end", "if true then")
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


def test_what_others_left_of_a_budget_may_be_held_whole(serve: Serve) -> None:
    """The share is of the limit, as the threat model says; one of the rest would keep the last of it from all."""
    server = serve(agent_day_usd=1_000)
    flood, other = server.enter("flood"), server.enter("other")
    for _ in range(13):
        server.grant(other, estimated_cost_usd=4.9)
    answers = [server.ask(flood, estimated_cost_usd=9).json()["code"] for _ in range(5)]
    assert answers == ["approval_needed"] * 4 + ["budget_exceeded"], "$36 of the $36.30 that are left"


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
        weaken("local beyond = before >= most", "local beyond = false")
    with moved_by_hand(settings.url) as clock:
        server = serve(max_requests_per_second=3)
        one, two = server.enter("one"), server.enter("two")
        other = server.enter("other", key=server.operator_key)
        clock.advance(1)

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
def test_outcomes_that_would_steer_the_choice_of_models_for_others(
    serve: Serve, weaken: Weaken, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    monkeypatch.setattr("aegis_core.governor.outcomes.FRESH_SECONDS", 0)
    if not defended:
        weaken("outcome = R[R_TRUSTED] and R[R_WHY] and outcome", "outcome = R[R_WHY] and outcome")
        weaken("(proven or R[R_TRUSTED] or act == 'release' and unheard(R)) and 0 or R[R_AMOUNT]", "0")
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

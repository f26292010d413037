"""Attacks by names: whatever one agent may have, many fresh names under one key must not multiply it for long."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from guarding import DEFENDED, Guarded, Serve, Weaken, bearer
from serving import moved_by_hand

from aegis_core import Settings

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions", "leases")]

API = "/api/v1"


def _shake(server: Guarded, name: str, key: str | None = None) -> httpx.Response:
    return server.http.post(f"{API}/handshake", json={"agent_id": name}, headers=bearer(key or server.agent_key))


def _acquire(server: Guarded, session: dict[str, Any], lock: str, wait: float = 0) -> httpx.Response:
    wish = {"agent_id": session["agent_id"]}
    path = f"{API}/locks/{lock}/acquire?wait={wait}"
    return server.http.post(path, json=wish, headers=bearer(session["session_token"]))


def _start(server: Guarded, session: dict[str, Any], line: str, act: str = "start") -> httpx.Response:
    wish = {"agent_id": session["agent_id"], "act": act, "key": line, "runner": "r"}
    return server.http.post(f"{API}/journal", json=wish, headers=bearer(session["session_token"]))


def _queue(server: Guarded, session: dict[str, Any], lock: str) -> dict[str, Any]:
    """A request that waits for a lock keeps its place until it is asked about no longer."""
    wish = {"resource_type": "file_lock", "target_resource": lock, "estimated_cost_usd": 0}
    return server.ask(session, **wish).json()


def _codes(*answers: httpx.Response) -> list[str]:
    return [answer.json().get("code", "ok") for answer in answers]


@DEFENDED
def test_more_handshakes_than_anybody_needs(serve: Serve, weaken: Weaken, settings: Settings, defended: bool) -> None:
    if not defended:
        weaken("not is_local and refuse_beyond_rate(agent, nil, nil, credential)", "nil")
    with moved_by_hand(settings.url) as clock:
        server = serve(max_requests_per_second=3)
        answers = [_shake(server, f"fresh-{at}") for at in range(5)]
        beyond = "too_many_requests" if defended else "ok"
        assert _codes(*answers) == ["ok"] * 3 + [beyond] * 2
        if defended:
            assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "1")
        assert _codes(_shake(server, "other", server.operator_key)) == ["ok"], "another key has a bound of its own"
        clock.advance(1)
        assert _codes(_shake(server, "fresh-5")) == ["ok"]
        told = server.http.get(f"{API}/events?latest=200", headers=bearer(server.operator_key)).json()["events"]
    kinds = [event["kind"] for event in told]
    assert kinds.count("handshake") == (5 if defended else 7)
    assert kinds.count("requests_limited") == (1 if defended else 0), "said once"


def test_handshakes_in_the_name_of_another_agent(serve: Serve, settings: Settings) -> None:
    """They count with who makes them, so nobody's rate is used up by whoever names it."""
    with moved_by_hand(settings.url) as clock:
        server = serve(max_requests_per_second=3)
        victim = server.enter("victim", key=server.operator_key)
        clock.advance(1)
        assert _codes(*(_shake(server, "victim") for _ in range(4)))[-1] == "too_many_requests"
        assert server.ask(victim).json()["status"] == "GRANTED"


@DEFENDED
def test_more_locks_and_lines_of_the_journal_than_anybody_asks_for(
    serve: Serve, weaken: Weaken, settings: Settings, defended: bool
) -> None:
    if not defended:
        weaken("local beyond = before >= most", "local beyond = false")
    with moved_by_hand(settings.url) as clock:
        server = serve(max_requests_per_second=4)
        one, two = server.enter("one"), server.enter("two")
        clock.advance(1)
        answers = [_acquire(server, one, "a"), _start(server, two, "a"), _start(server, two, "b")]
        assert _codes(*answers, server.ask(one)) == ["ok"] * 4, "all kinds count together"
        refused = [_acquire(server, two, "b"), _start(server, one, "c"), server.ask(two)]
        assert _codes(*refused) == ["too_many_requests" if defended else "ok"] * 3
        assert {answer.status_code for answer in refused[:2]} == ({429} if defended else {200})
        assert _codes(_start(server, two, "a", "finish")) == ["ok"], "how a call ended is always written"
        lease = answers[0].json()
        wish = {"agent_id": "one", "lock_token": lease["lock_token"], "resource": "a"}
        back = server.http.post(f"{API}/release-lock", json=wish, headers=bearer(one["session_token"]))
        assert back.json()["state"] == "released", "nor is anybody kept from giving back"


@DEFENDED
def test_fresh_names_of_one_key_end_before_those_of_the_tenant(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("if credential and tonumber", "if false and tonumber")
    server = serve(max_agents=3, max_agents_per_key=2)
    answers = [_shake(server, f"fresh-{at}") for at in range(3)]
    assert _codes(*answers) == ["ok", "ok", "too_many_agents" if defended else "ok"]
    if defended:
        assert answers[-1].status_code == 429
        assert "AEGIS_MAX_AGENTS_PER_KEY" in answers[-1].json()["detail"]
    other = _codes(_shake(server, "other", server.operator_key))
    assert other == ["ok" if defended else "too_many_agents"]


@DEFENDED
def test_locks_of_many_fresh_names(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("if whose and has_no_room", "if false and has_no_room")
    server = serve(max_locks_per_key=3)
    names = [server.enter(f"fresh-{at}") for at in range(4)]
    answers = [_acquire(server, each, f"lock-{at}") for at, each in enumerate(names)]
    assert _codes(*answers) == ["ok"] * 3 + ["locks_full" if defended else "ok"]
    waits = _queue(server, names[3], "lock-0")
    assert waits["code"] == ("locks_full" if defended else "lock_busy"), "what waits counts, too"
    other = server.enter("other", key=server.operator_key)
    assert _acquire(server, other, "lock-9").json()["state"] == "held"
    if defended:
        wish = {"agent_id": "fresh-0", "lock_token": answers[0].json()["lock_token"], "resource": "lock-0"}
        path = f"{API}/release-lock"
        assert server.http.post(path, json=wish, headers=bearer(names[0]["session_token"])).status_code == 200
        assert _acquire(server, names[3], "lock-3").json()["state"] == "held", "what is given back is free"


@DEFENDED
def test_a_queue_that_one_agent_fills(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("has_places(names[i], 'a:' .. agent, config[C_WAITS])", "false")
    server = serve(max_lock_waits=2)
    flood, other = server.enter("flood"), server.enter("other")
    assert _acquire(server, flood, "shared").json()["state"] == "held"
    answers = [_queue(server, flood, "shared") for _ in range(4)]
    beyond = "too_many_waits" if defended else "lock_busy"
    assert [each["code"] for each in answers] == ["lock_busy"] * 2 + [beyond] * 2
    assert _queue(server, flood, "elsewhere")["status"] == "GRANTED", "each queue has its own places"
    assert _queue(server, other, "shared")["queue_position"] == (2 if defended else 4)
    if defended:
        refused = _acquire(server, flood, "shared", wait=5)
        assert (refused.status_code, refused.json()["code"]) == (409, "too_many_waits")
        assert "AEGIS_MAX_LOCK_WAITS" in refused.json()["detail"]
        path, headers = f"{API}/grants/{answers[0]['grant_id']}/release", bearer(flood["session_token"])
        assert server.http.post(path, json={"agent_id": "flood"}, headers=headers).status_code == 200
        assert _queue(server, flood, "shared")["code"] == "lock_busy", "who leaves may come again"


@DEFENDED
def test_a_queue_that_many_fresh_names_fill(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("if whose and has_places", "if false and has_places")
    server = serve(max_lock_waits_per_key=3)
    other = server.enter("other", key=server.operator_key)
    assert _acquire(server, other, "shared").json()["state"] == "held"
    answers = [_queue(server, server.enter(f"fresh-{at}"), "shared")["code"] for at in range(5)]
    assert answers == ["lock_busy"] * 3 + ["too_many_waits" if defended else "lock_busy"] * 2
    assert _queue(server, other, "shared")["code"] == "lock_busy", "whom another key let in has places of its own"

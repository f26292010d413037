"""Attacks on locks: somebody else's lease, a lock that is another than it was, a holder that will not go."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from guarding import AS_OPERATOR, DEFENDED, Guarded, Serve, Weaken, bearer

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "leases")]


def _acquire(server: Guarded, session: dict[str, Any], **fields: Any) -> httpx.Response:
    wish = {"agent_id": session["agent_id"], **fields}
    path = "/api/v1/locks/wallet/acquire"
    return server.http.post(path, json=wish, headers=bearer(session["session_token"]))


@DEFENDED
def test_releasing_another_agents_lease_with_its_token(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("if H[H_AGENT] ~= agent then return 'NOT_YOURS' end", "")
    server = serve()
    mallory, victim = server.enter("mallory"), server.enter("victim")
    stolen = _acquire(server, victim).json()["lock_token"]
    wish = {"agent_id": "mallory", "resource": "wallet", "lock_token": stolen}
    answer = server.http.post("/api/v1/release-lock", json=wish, headers=bearer(mallory["session_token"]))
    taken = _acquire(server, mallory).json()["state"]
    assert (answer.status_code, taken) == ((403, "busy") if defended else (200, "held"))


@DEFENDED
def test_widening_a_lock_that_is_held(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken(
            "claims",
            "local permitted = used and L[L_PERMITS] or",
            "L[L_PERMITS] = permits or L[L_PERMITS]\nlocal permitted =",
        )
        weaken("if permits and permits ~= L[L_PERMITS] then", "if false then")
    server = serve()
    mallory, victim = server.enter("mallory"), server.enter("victim")
    assert _acquire(server, victim).json()["state"] == "held"
    answer = _acquire(server, mallory, permits=100)
    assert answer.status_code == (409 if defended else 200)
    if not defended:
        assert answer.json()["state"] == "held"


def test_an_agent_that_will_not_give_a_lock_back(serve: Serve) -> None:
    server = serve()
    mallory, victim = server.enter("mallory"), server.enter("victim")
    assert _acquire(server, mallory, ttl_seconds=31_536_000).status_code == 422
    held = _acquire(server, mallory, ttl_seconds=3_600, preemption="never").json()
    assert _acquire(server, victim).json()["state"] == "busy"
    answer = server.http.post("/api/v1/locks/wallet/force-release", json={}, headers=AS_OPERATOR)
    assert answer.json() == {"taken": [{"agent_id": "mallory", "fence": held["fence"]}]}
    assert _acquire(server, victim).json()["fence"] > held["fence"]
    wish = {"agent_id": "mallory", "lock_token": held["lock_token"]}
    renewal = server.http.post("/api/v1/locks/wallet/renew", json=wish, headers=bearer(mallory["session_token"]))
    assert (renewal.status_code, renewal.json()["code"]) == (409, "lock_lost")


@DEFENDED
def test_jumping_the_queue_on_the_rank_of_another_agents_lease(serve: Serve, weaken: Weaken, defended: bool) -> None:
    """Who holds one lock waits for another at the rank of the first; so somebody else's first would be a fine thing."""
    if not defended:
        weaken("if not outer or outer[H_AGENT] ~= agent then", "if not outer then")
    server = serve()
    mallory, victim, bystander = (server.enter(name) for name in ("mallory", "victim", "bystander"))
    old = server.http.post(
        "/api/v1/locks/ledger/acquire", json={"agent_id": "victim"}, headers=bearer(victim["session_token"])
    ).json()["lock_token"]
    _acquire(server, victim)

    def ask(session: dict[str, Any], **more: Any) -> dict[str, Any]:
        wish = {
            "agent_id": session["agent_id"], "task_intent": "Sign", "resource_type": "wallet_lock",
            "target_resource": "wallet", "estimated_cost_usd": 1, **more,
        }  # fmt: skip
        path = "/api/v1/request-permission"
        return server.http.post(path, json=wish, headers=bearer(session["session_token"])).json()

    assert ask(bystander)["queue_position"] == 0
    answer = ask(mallory, within=[{"resource": "ledger", "lock_token": old}])
    if defended:
        assert (answer["status"], answer["code"]) == ("REJECTED", "lock_lost")
    else:
        assert (answer["status"], answer["queue_position"]) == ("PENDING", 0)

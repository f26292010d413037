"""Attacks on who somebody is: other agents' names, other tenants, stolen and ended credentials."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from guarding import AS_OPERATOR, DEFENDED, Guarded, Serve, Weaken, bearer, made_keys
from serving import moved_by_hand

from aegis_core import Settings
from aegis_core.api.auth import Auth, Caller
from aegis_core.store.operators import OperatorStore

pytestmark = pytest.mark.leaves("grants")

API = "/api/v1"


@DEFENDED
def test_impersonation_by_shaking_hands_as_a_live_agent(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("if not S and G and guarded and", "if false and")
    server = serve()
    victim, mallory = server.enter("victim"), server.enter("mallory")
    for shown in ({}, {"X-Aegis-Session": mallory["session_token"]}):
        headers = {**bearer(server.agent_key), **shown}
        answer = server.http.post(f"{API}/handshake", json={"agent_id": "victim"}, headers=headers)
        assert answer.status_code == (403 if defended else 200)
        assert not defended or answer.json()["code"] == "agent_is_live"
    own = {**bearer(server.agent_key), "X-Aegis-Session": victim["session_token"]}
    assert server.http.post(f"{API}/handshake", json={"agent_id": "victim"}, headers=own).status_code == 200
    assert server.enter("victim", key=server.operator_key)["agent_id"] == "victim"


@DEFENDED
def test_impersonation_by_naming_another_agent(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("if S[S_AGENT] ~= agent then return 'NOT_YOURS' end", "")
    server = serve()
    victim, mallory = server.enter("victim"), server.enter("mallory")
    grant = server.grant(victim)
    settled = server.http.post(
        f"{API}/grants/{grant}/settle", json={"cost_usd": 9}, headers=bearer(mallory["session_token"])
    )
    assert settled.status_code == (403 if defended else 200)
    if defended:
        assert server.ask(mallory, agent_id="victim").json()["code"] == "not_yours"
        for path in (f"grants/{grant}", "budget/victim"):
            answer = server.http.get(f"{API}/{path}", headers=bearer(mallory["session_token"]))
            assert answer.json()["code"] == "not_yours"
        renamed = victim["session_token"].replace(
            "aegis_st_" + victim["session_id"], "aegis_st_" + mallory["session_id"]
        )
        assert server.ask({**mallory, "session_token": renamed}).status_code == 401


def _crossings(home: Guarded, key: str, session: dict[str, Any]) -> list[httpx.Response]:
    """What an operator's key and a session of another tenant try on the home tenant."""
    name, http = home.settings.tenant, home.http
    change = {"window": "day", "limit_usd": 0}
    claimed = {**bearer(key), "X-Aegis-Tenant": name}
    swapped = bearer(key.replace(f"_{name}-b", f"_{name}"))
    moved = {**session, "session_token": session["session_token"].replace(f"_{name}-b", f"_{name}")}
    return [
        http.put(f"{API}/budgets/tenant/{name}", json=change, headers=bearer(key)),
        http.post(f"{API}/halt", headers=claimed),
        http.get(f"{API}/agents", headers=swapped),
        http.post(f"{API}/agents/victim/block", headers=bearer(key)),
        http.get(f"{API}/budget/victim", headers=bearer(session["session_token"])),
        home.ask(moved),
    ]


@DEFENDED
def test_tenant_crossing(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:

        async def everybody_at_home(auth: Auth, header: bytes) -> Caller:
            return (await bearer_of(auth, header))._replace(context=auth.contexts.home)

        bearer_of = Auth._bearer
        monkeypatch.setattr(Auth, "_bearer", everybody_at_home)
    home = serve()
    away = home.settings.model_copy(update={"tenant": home.settings.tenant + "-b"})
    key = made_keys(away, ops="operator")["ops"].secret
    victim = home.enter("victim")
    session = home.enter("mallory", key=key)
    if not defended:
        change = {"window": "day", "limit_usd": 0}
        answer = home.http.put(f"{API}/budgets/tenant/{home.settings.tenant}", json=change, headers=bearer(key))
        assert answer.status_code == 200
        assert home.ask(victim).json()["code"] == "budget_exceeded"
        return
    assert session["tenant"] == away.tenant
    assert [answer.status_code for answer in _crossings(home, key, session)] == [404, 404, 401, 404, 403, 401]
    assert home.ask(victim).json()["status"] == "GRANTED"
    agents = home.http.get(f"{API}/agents", headers=bearer(key)).json()["agents"]
    assert [agent["agent_id"] for agent in agents] == ["mallory"]


def test_a_credential_of_a_tenant_that_does_not_exist_makes_none(serve: Serve) -> None:
    home = serve()
    name = home.settings.tenant
    session = home.enter()
    for invented in ("nobody", name + "-c", "%7Bx%7D", "%00", "a%0Ab"):
        for header in (
            home.operator_key.replace(f"_{name}", f"_{invented}"),
            session["session_token"].replace(f"_{name}", f"_{invented}"),
        ):
            answer = home.http.get(f"{API}/budget/a", headers=bearer(header))
            assert answer.status_code == 401
    assert not [key for key in _stored(home) if b"nobody" in key or name.encode() + b"-c" in key]


def _stored(server: Guarded) -> set[bytes]:
    import redis

    with redis.Redis.from_url(server.settings.url) as client:
        return set(client.scan_iter(count=1_000))


@DEFENDED
def test_another_agents_request_id(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(
            "aegis_core.governor.requests.record_id", lambda agent, request_id: f"{hash(request_id):032x}"[-32:]
        )
    server = serve()
    victim, mallory = server.enter("victim"), server.enter("mallory")
    first = server.ask(victim, request_id="payment-7").json()
    taken = server.ask(mallory, request_id="payment-7")
    if not defended:
        assert taken.status_code == 409, "two agents share the ids of their requests"
        return
    assert (taken.json()["agent_id"], taken.json()["grant_id"] != first["grant_id"]) == ("mallory", True)
    assert server.ask(victim, request_id="payment-7").json() == first


@DEFENDED
def test_a_revoked_key(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        read = OperatorStore.owned_keys

        async def forgiving(registry: OperatorStore, key_id: str | None = None) -> Any:
            count, pairs = await read(registry, key_id)
            return count, [(key._replace(revoked=0), whose) for key, whose in pairs]

        monkeypatch.setattr(OperatorStore, "owned_keys", forgiving)
    server = serve()
    stolen = server.http.post(f"{API}/keys", json={"role": "operator"}, headers=AS_OPERATOR).json()
    assert server.http.get(f"{API}/keys", headers=bearer(stolen["secret"])).status_code == 200
    rotated = server.http.post(f"{API}/keys/{stolen['key_id']}/rotate", headers=AS_OPERATOR).json()
    answer = server.http.get(f"{API}/keys", headers=bearer(stolen["secret"]))
    assert answer.status_code == (401 if defended else 200)
    assert server.http.get(f"{API}/keys", headers=bearer(rotated["secret"])).status_code == 200


@DEFENDED
def test_a_stolen_token_ends_with_its_idle_session(settings: Settings, serve: Serve, defended: bool) -> None:
    with moved_by_hand(settings.url) as clock:
        server = serve(session_idle_seconds=1.0 if defended else 600.0)
        session = server.enter("victim")
        assert server.ask(session).json()["status"] == "GRANTED"
        clock.advance(1.5)
        server.enter("passer-by")
        assert server.ask(session).status_code == (401 if defended else 200)


@DEFENDED
def test_a_stolen_token_is_worth_nothing_once_its_agent_is_blocked(
    serve: Serve, weaken: Weaken, defended: bool
) -> None:
    if not defended:
        weaken("elseif G[G_STATUS] ~= 'active' then code =", "elseif false then code =")
    server = serve()
    session = server.enter("victim")
    assert server.http.post(f"{API}/agents/victim/block", headers=bearer(server.operator_key)).status_code == 200
    assert server.ask(session).json()["status"] == ("REJECTED" if defended else "GRANTED")


@DEFENDED
def test_what_is_stored_of_a_token_or_key_opens_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        for module in ("credentials", "governor", "operators"):
            monkeypatch.setattr(f"aegis_core.governor.{module}.hash_secret", lambda secret, _: secret)
    server = serve()
    session = server.enter("victim")
    import redis

    with redis.Redis.from_url(server.settings.url) as client:
        ours = [key for key in _stored(server) if server.settings.tenant.encode() in key]
        stored = b"".join(client.get(key) or b"" for key in ours if client.type(key) == b"string")
    for secret in (session["session_token"], server.agent_key, server.operator_key):
        assert (secret[40:70].encode() in stored) is not defended

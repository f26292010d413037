"""One server, many tenants: each opened by a credential that holds, a bounded number at a time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from guarding import AS_OPERATOR, bearer, guarded, made_keys
from pydantic import SecretStr

import aegis_core
from aegis_core import Settings
from aegis_core.api.tenants import TenantContext, TenantContexts
from aegis_core.connect import open_governor, open_store, operator_of
from aegis_core.protocol.errors import AuthError

API = "/api/v1"


@pytest.mark.leaves("grants")
def test_more_tenants_than_stay_open_are_all_served(settings: Settings) -> None:
    with guarded(settings.model_copy(update={"open_tenants": 2})) as server:
        sessions = []
        for number in range(4):
            other = settings.model_copy(update={"tenant": f"{settings.tenant}-{number}", "tenant_day_usd": 1 + number})
            key = made_keys(other, agents="agent")["agents"].secret
            sessions.append(server.enter("a", key=key))
        for number, session in enumerate(sessions):
            verdict = server.ask(session, estimated_cost_usd=1).json()
            tenant = next(line for line in verdict["budgets"] if line["scope"] == "tenant")
            assert (verdict["status"], tenant["limit_usd"], tenant["remaining_usd"]) == ("GRANTED", 1 + number, number)


async def test_those_who_knock_at_once_open_one_governor_in_one_round_trip(settings: Settings) -> None:
    """Through a server's own contexts, on a Redis that counts what it is asked."""
    others = [settings.model_copy(update={"tenant": f"{settings.tenant}-{number}"}) for number in range(3)]
    keys = [made_keys(other, agents="agent")["agents"].secret for other in others]
    store = await open_store(settings)
    home = await open_governor(store, settings)
    contexts = TenantContexts(TenantContext.of(home, 0), store, most=2)
    try:
        counting: Any = store.clients.any
        found = await asyncio.gather(*(contexts.of_key(keys[0]) for _ in range(20)))
        assert len({id(context) for context, _ in found}) == 1
        for number, key in enumerate(keys):
            await operator_of(store, others[number].tenant).key_of(key)  # so that its function is loaded
            calls = await _calls(counting)
            await contexts.of_key(key)
            again = await _calls(counting)
            opened = number > 0  # the first is open
            assert again - calls == 1 + opened, "one to judge the key, one to open its tenant"
        context, _ = await contexts.of_key(keys[0])
        assert context is not found[0][0], "it made room for the third"
    finally:
        await contexts.aclose()
        await home.aclose()
        await store.aclose()


async def _calls(counting: Any) -> int:
    stats: dict[str, dict[str, int]] = await counting.info("commandstats")
    return stats["cmdstat_fcall"]["calls"]


@pytest.mark.deep
@pytest.mark.leaves("grants")
def test_four_hundred_tenants_in_turn_are_served_as_fast_as_one(settings: Settings) -> None:
    """Rates of the same minute, so that what else the machine does slows both down; the best of three of each."""
    many = 400
    keys = [
        made_keys(settings.model_copy(update={"tenant": f"{settings.tenant}-{number}"}), agents="agent")[
            "agents"
        ].secret
        for number in range(many)
    ]
    with guarded(settings) as server:
        sessions = [server.enter("a", key=key) for key in keys]

        def rate(turns: list[Any]) -> float:
            began = time.perf_counter()
            for session in turns:
                server.ask(session, estimated_cost_usd="0.001").raise_for_status()
            return len(turns) / (time.perf_counter() - began)

        rates = [(rate(sessions[:1] * many), rate(sessions)) for _ in range(3)]
        one, all_in_turn = (max(each) for each in zip(*rates, strict=True))
        assert all_in_turn >= 0.8 * one, rates


def test_visiting_a_tenant_changes_neither_its_policy_nor_its_timings(settings: Settings) -> None:
    other = settings.model_copy(
        update={"tenant": settings.tenant + "-b", "grant_seconds": 77.0, "timezone": "Asia/Tokyo"}
    )
    key = made_keys(other, ops="operator")["ops"].secret
    with guarded(settings) as server:
        server.enter("a", key=key)
        events = server.http.get(f"{API}/events", headers=bearer(key)).json()["events"]
        assert [event["kind"] for event in events] == [
            "tenant_opened", "person_added", "key_created", "handshake",
        ]  # fmt: skip


@pytest.mark.parametrize("tenant", ["caf\u00e9/\u6771\u4eac", "a.b:c@d/e-f_g"])
@pytest.mark.leaves("grants")
def test_any_name_of_a_tenant_travels_in_its_credentials(settings: Settings, tenant: str) -> None:
    named = settings.model_copy(update={"tenant": f"{settings.tenant}-{tenant}"})
    with guarded(named) as server:
        assert server.agent_key.isascii()
        session = server.enter("a", key=server.agent_key)
        assert session["tenant"] == named.tenant
        assert server.ask(session).json()["status"] == "GRANTED"


async def test_a_remote_governor_with_an_agents_key(settings: Settings) -> None:
    with guarded(settings) as server:
        async with aegis_core.connect(server.url, token=server.agent_key, settings=settings) as governor:
            agent = await governor.handshake("a")
            async with agent.permit("Summarise", estimated_cost_usd="0.25") as grant:
                grant.settle(cost_usd="0.25")
            assert (await agent.budget()).budgets[0].spent_usd == grant.verdict.reserved_usd
            again = await governor.handshake("a")
            assert again.session.session_id != agent.session.session_id
            for refused in (governor.agents(), governor.set_budget("agent", "a", "day", 99), governor.events()):
                with pytest.raises(AuthError):
                    await refused
        async with aegis_core.connect(server.url, token=server.agent_key, settings=settings) as other:
            with pytest.raises(AuthError, match="has an open session"):
                await other.handshake("a")
        async with aegis_core.connect(server.url, token=server.operator_key, settings=settings) as desk:
            await desk.label_agent("a", {"team": "research"})
            assert (await desk.set_budget("agent", "a", "day", 99)).limit_usd == 99
            assert (await desk.latest_events(1))[0].facts["by"] == "ada"
        shown = settings.model_copy(update={"api_key": SecretStr(server.agent_key), "operator_secret": None})
        async with aegis_core.connect(server.url, settings=shown) as from_settings:
            assert (await from_settings.handshake("b")).session.tenant == settings.tenant


def test_a_token_of_a_session_does_not_open_another(settings: Settings) -> None:
    with guarded(settings) as server:
        session = server.enter("a")
        answer = server.http.post(f"{API}/handshake", json={"agent_id": "b"}, headers=bearer(session["session_token"]))
        assert (answer.status_code, answer.json()["code"]) == (403, "key_needed")


def test_a_server_with_keys_may_have_other_addresses_and_names(settings: Settings) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; it asks which address this machine would use
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("needs an address beyond loopback")
    with guarded(settings, bind="0.0.0.0") as server:
        url = f"http://{own}:{server.url.rpartition(':')[2]}"
        headers = {**bearer(server.agent_key), "Host": "governor.example"}
        answer = httpx.post(
            f"{url}{API}/handshake", json={"agent_id": "a"}, headers=headers, trust_env=False, timeout=30
        )
        assert answer.status_code == 200
        assert httpx.get(f"{url}{API}/agents", trust_env=False, timeout=30).status_code == 401
        for key in server.http.get(f"{API}/keys", headers=AS_OPERATOR).json()["keys"]:
            server.http.delete(f"{API}/keys/{key['key_id']}", headers=AS_OPERATOR)
        closed = httpx.get(f"{url}{API}/agents", trust_env=False, timeout=30)
        assert (closed.status_code, closed.json()["code"]) == (403, "not_loopback")

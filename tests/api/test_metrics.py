"""What Prometheus reads: figures of one tenant, and no word of an agent."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from guarding import AS_OPERATOR, bearer, guarded, made_keys
from prometheus_client.parser import text_string_to_metric_families
from serving import serving

from aegis_core import Governor, Settings, StoreError
from aegis_core.governor.governor import ResourceGovernor


def figures(page: str) -> dict[str, float]:
    """Every sample by its name and labels."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def page_of(url: str) -> str:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        return (await http.get("/metrics")).text


@pytest.mark.leaves("grants", "questions")
def test_decisions_money_and_open_grants_are_counted(settings: Settings) -> None:
    with guarded(settings) as server:
        session = server.enter("agent-with-a-name")
        grant = server.grant(session, estimated_cost_usd=2)
        server.grant(session)
        server.ask(session, task_intent="drop database")
        server.ask(session, estimated_cost_usd=6)
        headers = bearer(session["session_token"])
        server.http.post(f"/api/v1/grants/{grant}/settle", json={"cost_usd": 2}, headers=headers)
        answer = server.http.get("/metrics", headers=bearer(server.operator_key))
        assert answer.headers["content-type"].startswith("text/plain")
        found = figures(answer.text)
        assert found["aegis_decisions_total code=ok status=GRANTED"] == 2
        assert found["aegis_decisions_total code=policy status=REJECTED"] == 1
        assert found["aegis_decisions_total code=approval_needed status=PENDING"] == 1
        assert found["aegis_request_permission_seconds_count"] == 4
        assert found["aegis_tenant_budget_usd part=limit window=day"] == 100
        assert found["aegis_tenant_budget_usd part=spent window=day"] == 2
        assert found["aegis_tenant_budget_usd part=reserved window=day"] == 6.25
        assert found["aegis_open_grants"] == 2
        assert found["aegis_store_up"] == 1
        assert found["aegis_condition_mismatches"] >= 0
        assert "agent-with-a-name" not in answer.text


@pytest.mark.leaves("grants")
def test_the_figures_of_one_tenant_are_not_those_of_another(settings: Settings) -> None:
    away = settings.model_copy(update={"tenant": settings.tenant + "-b"})
    with guarded(settings) as server:
        server.grant(server.enter())
        key = made_keys(away, ops="operator")["ops"].secret
        theirs = figures(server.http.get("/metrics", headers=bearer(key)).text)
        assert theirs["aegis_open_grants"] == 0
        assert not [name for name in theirs if name.startswith("aegis_decisions_total")]


def test_a_store_that_is_down_is_a_figure(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(*_: object, **__: object) -> None:
        raise StoreError("Redis is gone.", reason="down")

    with serving(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        assert figures(http.get("/metrics").text)["aegis_store_up"] == 1
        monkeypatch.setattr("aegis_core.store.ledger.Ledger.call", down)
        monkeypatch.setattr("aegis_core.api.tenants._FRESH", 0.0)
        for headers in ({}, AS_OPERATOR):
            answer = http.get("/metrics", headers=headers)
            assert (answer.status_code, figures(answer.text)["aegis_store_up"]) == (200, 0)


@pytest.mark.leaves("grants", "questions")
async def test_decisions_of_other_processes_are_counted(settings: Settings, governor: Governor) -> None:
    agent = await governor.handshake("a")
    for at in range(60):
        granted = await agent.request(f"Work {at}", estimated_cost_usd="0.01")
        assert granted.grant_id
        await agent.settle(granted.grant_id, cost_usd="0.005", estimated=at % 2 == 0)
    for _ in range(5):
        await agent.request("drop database", estimated_cost_usd=1)
    asked = await agent.request("Pay", estimated_cost_usd=6)
    assert asked.escalation_id
    with serving(settings) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
            page = (await http.get("/metrics")).text
            await governor.approvals.decide(asked.escalation_id, "reject", by="ada")
            accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
            opened = await http.get("/metrics", headers=accept)
        found = figures(page)
        assert found["aegis_decisions_total code=ok status=GRANTED"] == 60
        assert found["aegis_decisions_total code=policy status=REJECTED"] == 5, "those that are told together, too"
        assert found["aegis_decisions_total code=approval_needed status=PENDING"] == 1
        assert found["aegis_events_total kind=settled"] == 60
        assert found["aegis_charged_usd"] == pytest.approx(0.3)
        assert found["aegis_estimated_usd"] == pytest.approx(0.15)
        assert found["aegis_approvals_open"] == 1
        assert found["aegis_event_last_number"] == found["aegis_events_kept"]
        assert found["aegis_policy_version"] == 1
        assert opened.headers["content-type"].startswith("application/openmetrics-text")
        assert opened.text.endswith("# EOF\n")
        assert "aegis_approval_answers_total 1.0" in opened.text


@pytest.mark.leaves("leases")
async def test_waits_for_locks_are_counted(settings: Settings, governor: Governor) -> None:
    one, other = [await governor.handshake(name) for name in ("a", "b")]

    async def take() -> None:
        async with other.lock("wallet", wait=30):
            pass

    async with one.lock("wallet"):
        waiting = asyncio.create_task(take())
        for _ in range(3_000):
            if (await governor.locks("wallet"))[0].queued:
                break
            await asyncio.sleep(0.01)
    await waiting
    counts = await governor.port.tenant_store.counts()  # type: ignore[attr-defined]
    assert sum(counts.waits.values()) == 1
    assert counts.wait_seconds > 0
    assert counts.events["lock_acquired"] == 2


@pytest.mark.leaves("grants")
async def test_budgets_of_agents_and_labels_only_where_one_asks(settings: Settings, governor: Governor) -> None:
    resources = governor.port
    assert isinstance(resources, ResourceGovernor)
    for name, usd in (("far", "0.01"), ("near", "4"), ("middle", "1")):
        agent = await governor.handshake(name)
        await agent.request("Work", estimated_cost_usd=usd)
    for name, usd in (("team=a", 3), ("team=b", 2)):
        await resources.set_budget("label", name, "month", usd)
    with serving(settings) as url:
        assert "aegis_budget_usd" not in await page_of(url)
    with serving(settings.model_copy(update={"metrics_budgets": 2})) as url:
        found = figures(await page_of(url))
    agents = [name for name in found if name.startswith("aegis_budget_usd") and "scope=agent" in name]
    assert [name.split("name=")[1].split()[0] for name in agents[::3]] == ["near", "middle"]
    assert found["aegis_budget_usd name=near part=reserved scope=agent window=day"] == 4
    assert found["aegis_budget_usd name=team=b part=limit scope=label window=month"] == 2


@pytest.mark.leaves("grants")
async def test_lags_of_those_who_read_events_are_figures(settings: Settings, governor: Governor) -> None:
    resources = governor.port
    assert isinstance(resources, ResourceGovernor)
    port = resources.tenant_store.deliveries.port("siem")
    assert await port.hold(60)
    agent = await governor.handshake("a")
    await agent.request("Work", estimated_cost_usd="0.01")
    counts = await resources.tenant_store.counts()
    assert counts.uncounted == counts.last_number == 3
    assert (counts.webhooks["siem"].behind, counts.webhooks["siem"].dead) == (2, 0)
    with serving(settings) as url:  # which counts, and has no webhook
        async with asyncio.timeout(60):
            while True:
                found = figures(await page_of(url))
                if not found["aegis_events_uncounted"]:
                    break
                await asyncio.sleep(0.05)
    assert found["aegis_webhook_behind_events webhook=siem"] >= 2
    assert found["aegis_webhook_failing webhook=siem"] == 0
    assert found["aegis_events_total kind=events_lost"] == 0

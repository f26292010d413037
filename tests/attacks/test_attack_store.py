"""Attacks on what is stored: requests, refusals, names and claims that would fill it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from genai_prices.data import providers
from guarding import DEFENDED, Serve, Weaken, bearer

from aegis_core import Governor, Settings
from aegis_core.connect import connect
from aegis_core.governor.usage import UsageRow, total_by
from aegis_core.metering.price_book import PriceBook
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import ConflictError, UnknownModelError
from aegis_core.protocol.journal import JournalRequest
from aegis_core.protocol.locks import AcquireLock
from aegis_core.store import layout
from aegis_core.store import words as words_store
from aegis_core.store.schema import EVENT_BYTES
from aegis_core.store.store import Store
from aegis_core.testing import virtual_governor

pytestmark = pytest.mark.leaves("grants", "questions")

API = "/api/v1"


@DEFENDED
def test_refusals_that_fill_the_store(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, settings: Settings, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(words_store, "_MOST", 2**30)
    server = serve(events_kept=100)
    session = server.enter("a")
    words = "\U0001f600" * 7_900
    for at in range(20):
        wish = {"task_intent": f"{at} {words}", "estimated_cost_usd": 1_000, "metadata": {"m": words[:4_000]}}
        answer = server.ask(session, target_resource=f"place-{at}", **wish)  # no two are alike
        assert answer.json()["status"] == "REJECTED", answer.text
    with redis.Redis.from_url(settings.url) as client:
        streams = [layout.key(settings.tenant, name) for name in ("e", "w:a")]
        used = sum(client.memory_usage(stream, samples=0) for stream in streams)
        newest = client.xrevrange(streams[1], count=1)[0][1]
    assert (used <= 3 * EVENT_BYTES * 100) is defended, f"{used:,} bytes"
    if defended:
        told = server.http.get(f"{API}/events?latest=1", headers=bearer(server.operator_key)).json()["events"][0]
        assert told["facts"]["request"]["intent"].startswith("19 \U0001f600")
        assert told["facts"]["request"]["intent"].endswith("\U0001f600…"), "no character is cut in two"
        assert len(newest[b"w"]) < 2_048


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
    heads = {"e": "events", "w": "events", "r": "records", "a": "agents"}
    for name in await store.command("KEYS", f"{prefix}*"):
        head = name.decode().removeprefix(prefix).partition(":")[0]
        found[heads.get(head, "rest")] += await store.command("MEMORY USAGE", name, "SAMPLES", 0) or 0
        if head == "r":
            found["left"].append(await store.command("PTTL", name))
    return found


def _names(count: int) -> list[str]:
    """So many models that have a price, by the names that they are counted by."""
    book, found = PriceBook(), dict[str, None]()
    for model in (model for provider in providers for model in provider.models):
        with suppress(UnknownModelError):
            if book.canonical(model.id) == model.id:
                found[model.id] = None
    return [name for name in found if name != "gpt-4o"][:count]


async def _usage(settings: Settings, days: list[date]) -> list[UsageRow]:
    async with connect(settings=settings) as governor:
        port: Any = governor.port
        return await port.usage(days)


@DEFENDED
def test_naming_many_models_to_fill_the_bill(serve: Serve, weaken: Weaken, settings: Settings, defended: bool) -> None:
    """It is kept for 400 days, and what costs nothing stands in it, too."""
    if not defended:
        weaken("G[G_ROWS] >= BILLED_ROWS", "false")
    server = serve(agent_day_usd=1_000)
    session, other = server.enter("a"), server.enter("b")

    def spend(who: dict[str, Any], model: str, cost: float) -> None:
        grant = server.grant(who, resource_type="llm_tokens", model=model, estimated_cost_usd=cost)
        path, headers = f"{API}/grants/{grant}/settle", bearer(who["session_token"])
        assert server.http.post(path, json={"cost_usd": cost}, headers=headers).status_code == 200

    priced = _names(70)
    for each in priced:
        spend(session, each, 0.001)
    spend(session, priced[7], 0.5)
    spend(other, "gpt-4o", 0.25)
    today = datetime.now(UTC).date()
    days = [today + timedelta(days=each) for each in (-1, 0, 1)]
    rows = total_by(asyncio.run(_usage(settings, days)), "model")
    by_name = {row.name: row for row in rows}
    assert (len(by_name) == 64 + 2) is defended
    assert sum(row.calls for row in rows) == 72
    assert sum(row.cost_usd for row in rows) == Decimal("0.82"), "nothing is lost from it"
    assert by_name[priced[7]].calls == 2, "whose row was there keeps it"
    assert by_name["gpt-4o"].calls == 1, "others have rows of their own"
    if defended:
        assert (by_name["*"].calls, by_name["*"].cost_usd) == (6, Decimal("0.006"))


@DEFENDED
def test_capabilities_that_fill_the_store(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    """Of each of 64 sessions of each agent they are kept."""
    if not defended:
        monkeypatch.setattr("aegis_core.protocol.fields.MAX_CAPABILITIES_BYTES", 1 << 20)
    server = serve()
    names = ["\U00020001" * 100 + f"-{at}" for at in range(64)]
    body = {"agent_id": "a", "capabilities": names}
    answer = server.http.post(f"{API}/handshake", json=body, headers=bearer(server.agent_key))
    assert answer.status_code == (422 if defended else 200), answer.text
    assert ("at most 4,096 are kept" in answer.text) is defended
    if defended:
        server.enter("b", capabilities=[f"may-do-{at}" for at in range(64)])


@pytest.mark.leaves("leases")
async def test_locks_and_journals_end_at_a_ceiling(governor: Governor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis_core.governor.journal.ENTRIES_KEPT", 40)
    port: Any = governor.port
    agent = await governor.handshake("a")
    line = {"agent_id": "a", "act": "start", "runner": "r"}
    for at in range(40):
        await port.journal.write(JournalRequest(key=f"call-{at}", **line), token=agent.session.session_token)
    with pytest.raises(ConflictError) as full:
        await port.journal.write(JournalRequest(key="one-more", **line), token=agent.session.session_token)
    assert full.value.code == "journal_full"
    claim = AcquireLock(agent_id="a", ttl_seconds=60)
    taking = (port.locks.acquire(f"lock-{at}", claim) for at in range(1_001))
    answers = await asyncio.gather(*taking, return_exceptions=True)
    assert [each.code for each in answers if isinstance(each, ConflictError)] == ["locks_full"]


@DEFENDED
async def test_results_in_the_journal_that_fill_the_store(settings: Settings, weaken: Weaken, defended: bool) -> None:
    """Of long ones so many are kept; of older ones only that they are done, so nothing runs a second time."""
    if not defended:
        weaken("#result > LONG_RESULT", "false")
    async with connect(settings=settings) as governor:
        port: Any = governor.port
        agent = await governor.handshake("a")

        async def write(act: Any, at: int, result: str | None = None) -> Any:
            message = JournalRequest(agent_id="a", act=act, key=f"call-{at}", runner="r", result=result)
            return await port.journal.write(message, token=agent.session.session_token)

        long = "\U0001f600" * 16_000
        for at in range(140):
            await write("start", at)
            await write("finish", at, long)
        kept = [await write("look", at) for at in range(140)]
        assert {each.state for each in kept} == {"finished"}
        whole = sum(each.result == long for each in kept)
        assert whole == (128 if defended else 140)
        if defended:
            assert "kept no longer" in kept[0].result
            with pytest.raises(ValueError, match="at most 65,536 bytes"):
                JournalRequest(agent_id="a", act="finish", key="k", runner="r", result="\U0001f600" * 17_000)

"""Events are summed up by the hour: each once, wherever the consumer is killed, and within bounds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import killing
import pytest
from serving import OPERATOR, serving
from terminal import run_aegis
from warm import Warm

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.observing import TenantObservation
from aegis_core.observe.ports import Counted
from aegis_core.observe.rollups import RollupConsumer
from aegis_core.observe.sums import MEASURES, sums_of
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.profiles import Profile
from aegis_core.store import layout
from aegis_core.store.packing import unpack
from aegis_core.store.store import Store, open_store
from aegis_core.testing import FakeClock

pytestmark = pytest.mark.leaves("grants", "questions", "leases")
Virtual = tuple[Governor, FakeClock, Store]
CONSUMER = [killing.__file__, "rollups"]


def resources(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


async def work(governor: Governor, rounds: int = 6) -> None:
    """Some of everything that is summed up."""
    port = resources(governor)
    rules = [
        {"name": "no-fees", "type": "blocked_intent", "phrases": ["pay fees"]},
        {"name": "asks", "type": "sensitive_intent", "phrases": ["wire money"]},
    ]
    await port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": rules})), author="ada")
    await port.operator.set_profile(Profile(match="ann", labels={"team": "x", "env": "test"}), author="ada")
    for name in ("ann", "bob"):
        agent = await governor.handshake(name)
        for at in range(rounds):
            task: Any = {"task_type": ("draft", "review")[at % 2], "model": ("gpt-4o", "gpt-4o-mini")[at % 2]}
            granted = await agent.request("Work", estimated_cost_usd="0.1", **task)
            assert granted.grant_id
            if at % 3 == 2:
                await agent.release(granted.grant_id)
            else:
                usage: Any = {
                    "model": task["model"],
                    "input_tokens": 100 + at,
                    "output_tokens": 5,
                    "cached_input_tokens": 50,
                }
                await agent.settle(granted.grant_id, usage=usage, outcome=0.25, attempt=1 + at % 2, latency_ms=40)
            await agent.request(f"pay fees {at}", estimated_cost_usd=1)
        asked = await agent.request("wire money", estimated_cost_usd=1)
        await governor.approvals.decide(str(asked.escalation_id), "reject", by="ada")
        locked = await agent.request("Work", resource_type="wallet_lock", target_resource="purse", estimated_cost_usd=0)
        assert locked.grant_id
        await agent.release(locked.grant_id)


async def stored(store: Store, tenant: str) -> dict[str, Any]:
    """Every row of every hour, and how far was counted."""
    found: dict[str, Any] = {}
    for key in await store.command("KEYS", layout.key(tenant, "h:*")):
        flat: Any = await store.command("HGETALL", key)
        pairs = flat.items() if hasattr(flat, "items") else zip(flat[::2], flat[1::2], strict=True)
        hour = key.decode().rpartition(":")[2]
        found |= {
            f"{hour} {name.decode()}": int(value) if name.startswith(b"#") else unpack(value) for name, value in pairs
        }
    names = ("cursor", "number", "rows", "missed")
    found |= zip(names, await store.command("HMGET", layout.key(tenant, "hc"), *names), strict=True)
    return found


async def count_again(governor: Governor, store: Store) -> dict[str, Any]:
    """What an undisturbed run makes of the same events."""
    keys = await store.command("KEYS", layout.key(governor.tenant, "h*"))
    if keys:
        await store.command("DEL", *keys)
    assert await RollupConsumer(resources(governor).observation).look()
    return await stored(store, governor.tenant)


async def test_sums_are_those_of_the_events_and_of_the_bill(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    await work(governor)
    agent = await governor.handshake("late")
    for cost in ("0.5", None):
        granted = await agent.request("Work", estimated_cost_usd=1, task_type="draft")
        await clock.advance(hours=2)
        await governor.latest_events(1)
        if cost is not None:
            await agent.settle(str(granted.grant_id), cost_usd=cost)
    assert await RollupConsumer(resources(governor).observation).look() == len(await governor.events(limit=1_000))
    page = await governor.activity(since="3d")
    days = [clock_day.date() for clock_day in (page.since, page.until)]
    bill = await resources(governor).usage(dict.fromkeys(days))
    assert page.total.charged_usd == sum((row.cost_usd for row in bill), Decimal(0))
    assert page.total.estimated_usd == sum((row.estimated_usd for row in bill), Decimal(0)) == Decimal(1)
    assert (page.behind, page.missed) == (0, 0)
    total = page.total
    assert (total.granted, total.rejected, total.pending, total.declined) == (2 * 7 + 2, 12, 2, 2)
    assert (total.settled, total.released, total.expired, total.late) == (8 + 1, 6, 2, 1)
    assert (total.outcomes, total.outcome, total.latencies, total.latency_seconds) == (8, 2.0, 8, 0.32)
    assert (total.output_tokens, total.cached_input_tokens, total.leases) == (40, 400, 2)
    assert (total.retries, total.expired_usd) == (4, Decimal(1))
    by = {row.names["agent"]: row.sums for row in page.rows}
    assert set(by) == {"ann", "bob", "late"}
    assert by["late"].charged_usd == Decimal("1.5")
    one = await governor.activity(since="3d", by="rule", agent="ann")
    assert {row.names["rule"]: row.sums.rejected for row in one.rows}["no-fees"] == 6
    assert {row.names["lock"] for row in (await governor.activity(since="3d", by="lock")).rows} == {"", "purse"}
    teams = await governor.activity(since="3d", by="label:team,task_type", model="gpt-4o")
    assert {(row.names["label:team"], row.names["task_type"]) for row in teams.rows} == {("x", "draft"), ("", "draft")}
    hours = (await governor.activity(since="3d", by="hour")).rows
    assert [row.names["hour"] for row in hours] == sorted(row.names["hour"] for row in hours)
    assert len(hours) == 3


@pytest.mark.parametrize("cuts", [(1,), (7,), (2, 5, 11)], ids=str)
async def test_it_is_all_the_same_in_how_many_parts_events_are_counted(virtual: Virtual, cuts: tuple[int, ...]) -> None:
    await work(virtual[0], 4)
    left = list(await virtual[0].events(limit=1_000))
    whole, parts, at = _added(left), dict[Any, list[int]](), 0
    assert len(whole) > 10
    while left:
        some, left = left[: cuts[at % len(cuts)]], left[cuts[at % len(cuts)] :]
        at += 1
        for key, sums in _added(some).items():
            parts[key] = [a + b for a, b in zip(parts.get(key, [0] * len(MEASURES)), sums, strict=True)]
    assert list(parts.items()) == list(whole.items()), "in the same order, too"


def _added(events: Any) -> dict[Any, list[int]]:
    return {(each.hour, each.names): each.sums for each in sums_of(events)}


@pytest.mark.parametrize("place", ["hold", "page", "sent", "committed"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_consumer_that_is_killed_loses_nothing_and_counts_nothing_twice(
    warm: Warm, settings: Settings, place: str, times: int
) -> None:
    store = await open_store(settings)
    async with aegis_core.connect(settings=settings) as governor:
        await work(governor)
        command = [*CONSUMER, settings.url, settings.tenant, "0", place, str(times)]
        killed = await asyncio.to_thread(warm.run, command, Path.cwd(), os.environ)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        before = await stored(store, settings.tenant)
        command[-2:] = ["end", "1"]
        ended = await asyncio.to_thread(warm.run, command, Path.cwd(), os.environ)
        assert ended.returncode == 0, ended.stderr
        after = await stored(store, settings.tenant)
        assert before["cursor"] != after["cursor"], "it was killed on the way"
        assert after == await count_again(governor, store)
    await store.aclose()


async def test_a_holder_that_was_overtaken_writes_nothing(virtual: Virtual) -> None:
    governor, clock, store = virtual
    await work(governor, 2)
    port: Any = resources(governor)
    observation, other = (TenantObservation(port._ledger) for _ in range(2))
    slow = await observation.hold(10)
    assert slow is not None
    assert await other.hold(10) is None
    await clock.advance(seconds=11)
    fresh = await other.hold(10)
    assert fresh is not None
    assert fresh.fence == slow.fence + 1
    consumer = RollupConsumer(other)
    assert await consumer.look()
    counted = await stored(store, governor.tenant)
    assert await RollupConsumer(observation).look() is None
    events = await observation.page("0", 5)
    order = Counted("0", events[-1].id, 5, 0, sums_of(events))
    assert not await observation.commit(slow.fence, order), "an old fence"
    assert not await other.commit(fresh.fence, order), "another cursor"
    assert await stored(store, governor.tenant) == counted
    await consumer.leave()
    assert await observation.hold(10) is not None


async def test_rows_are_bounded_and_what_is_beyond_them_is_summed_up_together(
    virtual: Virtual, monkeypatch: pytest.MonkeyPatch
) -> None:
    governor = virtual[0]
    for name in ("one", "two"):
        agent = await governor.handshake(name)
        for at in range(100):
            await agent.request("Work", estimated_cost_usd=0, task_type=f"made-up-{at}")
    assert await RollupConsumer(resources(governor).observation).look()
    page = await governor.activity(by="agent,task_type", limit=5_000)
    rows = {(row.names["agent"], row.names["task_type"]): row.sums.requests for row in page.rows}
    for name in ("one", "two"):
        mine = {task: count for (agent, task), count in rows.items() if agent == name}
        assert len(mine) == 64 + 1, "of one agent, and one for the others"
        assert sum(mine.values()) == 100
        assert mine["*"] == 100 - 64
    assert page.total.requests == 200


async def test_the_oldest_hours_make_room(virtual: Virtual) -> None:
    governor, clock, store = virtual
    agent = await governor.handshake("a")
    consumer = RollupConsumer(resources(governor).observation)
    name = layout.key(governor.tenant, "hc")
    for hour in range(4):
        for at in range(3):
            granted = await agent.request("Work", estimated_cost_usd=0, task_type=f"task-{hour}-{at}")
            await agent.release(str(granted.grant_id))
        await consumer.look()
        await clock.advance(hours=1)
    assert int(await store.command("HGET", name, "rows")) == 12
    hours = sorted(await store.command("KEYS", layout.key(governor.tenant, "h:*")))
    assert all([await store.command("PTTL", each) > 0 for each in hours])
    await store.command("HSET", name, "rows", 200_000)  # as if there were many more
    await agent.request("Work", estimated_cost_usd=0)
    await consumer.look()
    left = sorted(await store.command("KEYS", layout.key(governor.tenant, "h:*")))
    assert left[:-1] == hours[1:], "of three rows, which are enough"
    assert int(await store.command("HGET", name, "rows")) == 200_000 + 1 - 3
    await clock.advance(days=401)
    agent = await governor.handshake("a")
    for _ in range(60):
        await agent.request("Work", estimated_cost_usd=0)
        await consumer.look()
    assert len(await store.command("KEYS", layout.key(governor.tenant, "h:*"))) == 1, "none is older than 400 days"


async def test_what_was_gone_before_it_was_counted_is_said(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent = await governor.handshake("a")
    consumer = RollupConsumer(resources(governor).observation)
    await consumer.look()
    for _ in range(5):
        await agent.request("Work", estimated_cost_usd=0)
    assert (await governor.activity()).behind == 5
    await store.command("XTRIM", layout.key(governor.tenant, "e"), "MAXLEN", 2)
    await consumer.look()
    page = await governor.activity()
    assert (page.missed, page.behind, page.total.requests) == (3, 0, 2)


async def test_a_query_that_cannot_be_answered_says_why(governor: Governor) -> None:
    for wrong in ({"since": "500d"}, {"since": "1h", "until": "2h"}, {"by": "nobody"}, {"by": "agent,agent"}):
        with pytest.raises(InvalidRequestError, match=r"since|by"):
            await governor.activity(**wrong)


def test_it_is_counted_by_a_server_and_read_alike_everywhere(settings: Settings) -> None:
    async def ask() -> None:
        async with aegis_core.connect(settings=settings) as governor:
            await work(governor, 3)

    asyncio.run(ask())

    async def read(url: str) -> tuple[Any, Any]:
        remote = aegis_core.connect(url, tenant=settings.tenant, token=OPERATOR)
        async with remote as far, aegis_core.connect(settings=settings) as near:
            while (found := await far.activity(by="agent,model")).behind:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return found, await near.activity(by="agent,model")

    with serving(settings) as url:
        far, near = asyncio.run(read(url))
    assert far == near
    assert far.total.requests == 2 * (3 + 3 + 2)


def test_the_commands_count_and_show(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask() -> None:
        async with aegis_core.connect(settings=settings) as governor:
            await work(governor, 2)

    asyncio.run(ask())
    environment = {"AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant}

    def aegis(*arguments: str) -> tuple[int, str, str]:
        return run_aegis(monkeypatch, capsys, *arguments, environment=environment)

    assert "Nothing happened" in aegis("activity")[1]
    code, out, _ = aegis("observe", "--once")
    assert code == 0
    assert "events counted, 0 removed" in out
    code, out, err = aegis("activity", "--by", "agent,model", "--since", "2h")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:4] == ["agent", "model", "requests", "refused"]
    assert ["ann", "gpt-4o", "1", "0"] in [line[:4] for line in lines]
    page = json.loads(aegis("activity", "--by", "rule", "--json")[1])
    assert {row["names"]["rule"]: row["sums"]["rejected"] for row in page["rows"]}["no-fees"] == 4
    code, _, err = aegis("activity", "--by", "nobody")
    assert code == 1
    assert "by: must be of hour, agent" in err

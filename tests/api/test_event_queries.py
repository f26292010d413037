"""Events found by time and by what they say: alike in the library, over HTTP and on the command line."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from serving import serving
from terminal import run_aegis

from aegis_core import Governor, Settings, connect
from aegis_core.protocol.errors import InvalidRequestError, NotFoundError
from aegis_core.protocol.events import Event, EventQuery

pytestmark = pytest.mark.leaves("grants")


async def work(governor: Governor) -> None:
    for name in ("ann", "bob"):
        agent = await governor.handshake(name)
        granted = await agent.request("Work", model="gpt-4o-mini", estimated_cost_usd=1)
        assert granted.grant_id
        await agent.settle(granted.grant_id, cost_usd="0.5")
        await agent.request("Work", estimated_cost_usd=1_000)
        await agent.request("drop database", estimated_cost_usd=1)


QUERIES: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "agent": ({"agent": "ann", "kind": "granted,settled"}, [("granted", "ann"), ("settled", "ann")]),
    "code": ({"code": "budget_exceeded"}, [("rejected", "ann"), ("rejected", "bob")]),
    "back": ({"code": "budget_exceeded", "order": "desc"}, [("rejected", "bob"), ("rejected", "ann")]),
    "rule": ({"rule": "no-database-drop", "agent": "bob"}, [("rejected", "bob")]),
    "model": ({"model": "gpt-4o-mini", "kind": "granted"}, [("granted", "ann"), ("granted", "bob")]),
    "since": ({"since": "1h", "kind": "handshake", "limit": 1}, [("handshake", "ann")]),
    "until": ({"until": "1h"}, []),
    "nobody": ({"agent": "eve"}, []),
}


def told(events: tuple[Event, ...]) -> list[tuple[str, str | None]]:
    return [(event.kind, event.agent_id) for event in events]


@pytest.mark.parametrize("which", QUERIES)
async def test_queries_of_the_library(governor: Governor, which: str) -> None:
    await work(governor)
    fields, expected = QUERIES[which]
    assert told((await governor.find_events(**fields)).events) == expected


async def test_pages_in_both_directions_meet_every_event_once(governor: Governor) -> None:
    await work(governor)
    every = [event.id for event in await governor.events(limit=500)]
    for order, wanted in (("asc", every), ("desc", every[::-1])):
        found: list[str] = []
        after = None
        while True:
            page = await governor.port.find_events(EventQuery(order=order, after=after, limit=3))  # type: ignore[arg-type]
            found += [event.id for event in page.events]
            after = page.next
            if not page.more:
                break
        assert found == wanted


async def test_a_minute_is_a_range(governor: Governor) -> None:
    await work(governor)
    every = await governor.events(limit=500)
    ms = [int(event.id.partition("-")[0]) for event in every]
    since, until = ms[3], ms[-1]
    wanted = [event.id for event, at in zip(every, ms, strict=True) if since <= at < until]
    text = [f"{at // 1000}.{at % 1000:03}" for at in (since, until)]
    since_text, until_text = (datetime.fromtimestamp(float(each), UTC).isoformat() for each in text)
    page = await governor.find_events(since=since_text, until=until_text)
    assert [event.id for event in page.events] == wanted


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"after": "99999999999999-0"}, "after: lies after the newest event of this tenant"),
        ({"after": "nonsense"}, "after: "),
        ({"since": "yesterday"}, "since: must be a time in UTC"),
        ({"until": "25:99"}, "until: must be a time in UTC"),
        ({"limit": 0}, "limit: "),
        ({"kind": "No Kind"}, "kind: "),
    ],
)
async def test_what_is_no_query_says_why(governor: Governor, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=problem):
        await governor.find_events(**fields)


async def test_nothing_lies_before_the_first(governor: Governor) -> None:
    await work(governor)
    for first in ("0", "0-0", "0-0.1"):
        page = await governor.find_events(after=first, order="desc")
        assert (page.events, page.more, page.trimmed) == ((), False, False)


async def test_a_cursor_of_another_tenant_is_no_place(governor: Governor) -> None:
    """It lies between events of this tenant, by its time, and its number is not that of the event there."""
    await work(governor)
    every = await governor.events(limit=500)
    middle, number = every[len(every) // 2], every[len(every) // 2].number
    assert number is not None
    ms, _, nth = middle.id.partition("-")
    between = f"{ms}-{int(nth) + 500}"  # of an event that another tenant had in this millisecond
    last = [event.number for event in every if event.id.startswith(f"{ms}-")][-1]
    for strange, there in (
        (f"{middle.id}.{number + 1}", number), (f"{middle.id}.{number - 1}", number),
        (f"{between}.{number - 1}", last), (f"{between}.{10**6}", last),
    ):  # fmt: skip
        for order in ("asc", "desc"):
            with pytest.raises(InvalidRequestError, match=f"is not of event {there} of this tenant"):
                await governor.find_events(after=strange, order=order)  # type: ignore[arg-type]
    page = await governor.find_events(after=f"{middle.id}.{number}", limit=1)
    assert page.events[0].number == number + 1
    stream: Any = governor.port.reader._stream  # type: ignore[attr-defined]
    await stream._store.command("XDEL", stream._key, middle.id)  # as `forget` did to events of older versions
    page = await governor.find_events(after=f"{middle.id}.{number}", limit=1)
    assert (page.trimmed, page.events[0].number) == (False, number + 1)


async def test_a_cursor_before_the_trim_says_so(governor: Governor) -> None:
    await work(governor)
    every = await governor.events(limit=500)
    stream: Any = governor.port.reader._stream  # type: ignore[attr-defined]
    await stream._store.command("XTRIM", stream._key, "MAXLEN", len(every) - 4)
    page = await governor.find_events(after=every[1].id)
    assert (page.trimmed, page.events[0].number) == (True, 5)
    assert not (await governor.find_events(after=every[4].id)).trimmed
    assert not (await governor.find_events(after=every[3].id)).trimmed or every[3].number == 4


async def test_over_http(settings: Settings, governor: Governor) -> None:
    await work(governor)
    with serving(settings) as url:
        async with connect(url, settings=settings) as remote:
            for fields, expected in QUERIES.values():
                assert told((await remote.find_events(**fields)).events) == expected
            refused = (await remote.find_events(code="budget_exceeded")).events[0]
            assert await remote.port.event(refused.id) == refused
            with pytest.raises(NotFoundError, match="no such event"):
                await remote.port.event("1-1")
            with pytest.raises(InvalidRequestError, match="newest event"):
                await remote.find_events(after="99999999999999-0")
            with pytest.raises(InvalidRequestError, match="since: must be a time"):
                await remote.port.find_events(EventQuery.model_construct(since="never"))


def test_on_the_command_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AEGIS_URL", settings.url)
    monkeypatch.setenv("AEGIS_TENANT", settings.tenant)

    def aegis(*arguments: str) -> tuple[int, str, str]:
        return run_aegis(monkeypatch, capsys, "events", *arguments)

    async def prepare() -> None:
        async with connect(settings=settings) as governor:
            await work(governor)

    asyncio.run(prepare())
    lines = aegis("--code", "budget_exceeded", "--since", "1h")[1].splitlines()
    assert len(lines) == 2
    assert "$9.50 of $10.00 left of agent day" in lines[0]
    newest = [json.loads(line) for line in aegis("--limit", "2", "--json")[1].splitlines()]
    assert [event["facts"]["code"] for event in newest] == ["budget_exceeded", "policy"]
    granted = json.loads(aegis("--kind", "granted", "--agent", "bob", "--json")[1])
    code, shown, _ = aegis("show", granted["id"])
    assert code == 0
    assert f"grant_id: {granted['facts']['grant_id']}" in shown
    assert "budget agent  window day" in shown
    assert "later:" in shown
    assert " settled " in shown
    assert aegis("show", "1-1") == (1, "", "aegis: There is no such event; old ones are kept no longer.\n")
    assert "since: must be a time in UTC" in aegis("--since", "soon")[2]
    assert "Example:" in aegis("show", "--help")[1]

"""Events as they happen: complete and in order for every viewer, with a word where retention was faster."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from serving import serving

from aegis_core import Governor, Settings
from aegis_core.api import connections, event_stream
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.events import cursor_of

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants")]


async def seen(http: httpx.AsyncClient, **headers: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    kind, number = "message", ""
    async with http.stream("GET", "/api/v1/events/stream", params={"after": "0"}, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            name, _, text = line.partition(": ")
            if name == "event":
                kind = text
            elif name == "id":
                number = text
            elif name == "data":
                told = json.loads(text)
                assert kind != "message" or f"{told['id']}.{told['number']}" == number
                yield kind, told
                kind = "message"


async def resumed(http: httpx.AsyncClient, last: str, most: int) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    async for each in seen(http, **{"Last-Event-ID": last}):
        found.append(each)
        if len(found) == most:
            break
    return found


async def view(http: httpx.AsyncClient, last: int) -> list[int]:
    numbers: list[int] = []
    async for kind, event in seen(http):
        assert kind == "message"
        numbers.append(event["number"])
        if event["number"] == last:
            break
    return numbers


async def test_every_viewer_sees_each_event_once_and_in_order(settings: Settings, governor: Governor) -> None:
    agent = await governor.handshake("a")
    last = 2 + 60
    with serving(settings) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            viewers = [asyncio.create_task(view(http, last)) for _ in range(10)]
            for at in range(60):
                await agent.request(f"Work {at}", estimated_cost_usd="0.01")
            for numbers in await asyncio.gather(*viewers):
                assert numbers == list(range(1, last + 1))


async def test_a_resume_from_before_the_trim_says_so(settings: Settings, governor: Governor) -> None:
    agent = await governor.handshake("a")
    for at in range(10):
        await agent.request(f"Work {at}", estimated_cost_usd="0.01")
    every = await governor.events(limit=100)
    stream: Any = governor.port.reader._stream  # type: ignore[attr-defined]
    await stream._store.command("XTRIM", stream._key, "MAXLEN", 4)
    with serving(settings) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            cases = (
                (cursor_of(every[2]), True), (every[2].id, True), (cursor_of(every[-6]), True),
                (cursor_of(every[-5]), False), (cursor_of(every[-3]), False), (every[-3].id, False),
            )  # fmt: skip
            for last, gap in cases:  # retention took only the fourth of them itself, and nothing after it
                found = await resumed(http, last, 2)
                assert [kind for kind, _ in found] == [*(["gap"] * gap), "message", "message"][:2]
                if gap:
                    assert found[0][1] == {"first_id": every[-4].id, "first_number": every[-4].number}
            future = await http.get("/api/v1/events/stream", headers={"Last-Event-ID": "99999999999999-0"})
            assert (future.status_code, future.json()["code"]) == (422, "invalid_request")


async def test_what_was_forgotten_leaves_no_gap(settings: Settings, governor: Governor) -> None:
    agent = await governor.handshake("a")
    for at in range(4):
        await agent.request(f"Work {at}", estimated_cost_usd="0.01")
    every = await governor.events(limit=100)
    assert isinstance(governor.port, ResourceGovernor)
    await governor.port.operator.forget("a", author="ada")
    with serving(settings) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            for each in every:
                rest = await resumed(http, cursor_of(each), len(every) - each.number + 1)
                assert [kind for kind, _ in rest] == ["message"] * len(rest)
                assert [event["number"] for _, event in rest] == list(range(each.number + 1, len(every) + 2))


async def test_there_are_at_most_so_many_viewers(
    settings: Settings, governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert governor
    monkeypatch.setattr(event_stream, "MOST_VIEWERS", 0)
    with serving(settings) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            answer = await http.get("/api/v1/events/stream")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_viewers")


async def test_a_viewer_that_never_reads_keeps_nobody_waiting_and_loses_its_place(
    settings: Settings, governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MOST_VIEWERS", 2)
    monkeypatch.setattr(connections, "WRITE_SECONDS", 0.5)
    made = connections.BoundedConnection.connection_made

    def little_room(self: Any, transport: Any) -> None:  # else the system keeps megabytes for who does not read
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        made(self, transport)

    monkeypatch.setattr(connections.BoundedConnection, "connection_made", little_room)
    agent = await governor.handshake("a")
    last = 2 + 150
    with serving(settings) as url, socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        silent.connect(("127.0.0.1", urlsplit(url).port))
        silent.sendall(b"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            viewer = asyncio.create_task(view(http, last))
            for at in range(last - 2):
                await agent.request(f"Work {at} {'x' * 900}", estimated_cost_usd="0.01")
            assert await viewer == list(range(1, last + 1))
            async with http.stream("GET", "/api/v1/events/stream") as other:
                assert other.status_code == 200
                while await status_of_another(http) != 200:  # noqa: ASYNC110 - until the server gives it up
                    await asyncio.sleep(0.05)


async def status_of_another(http: httpx.AsyncClient) -> int:
    async with http.stream("GET", "/api/v1/events/stream") as answer:
        return answer.status_code

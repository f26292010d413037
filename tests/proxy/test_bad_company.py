"""Clients that read nothing, upstreams that say nothing or say it twice: an answer in time, and the money right."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from payloads import MAKERS, Spent
from stands import Handler, Stand, charged, estimated, event_of, proxying

from aegis_core.proxy import exchange, upstreams

SAID: Any = [{"role": "user", "content": "Hello there"}]
CHAT: dict[str, Any] = {"model": "gpt-5.5", "messages": SAID, "max_completion_tokens": 9_000}
MESSAGE: dict[str, Any] = {"model": "claude-opus-4-6", "messages": SAID, "max_tokens": 9_000}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg"


@pytest.mark.parametrize(
    ("api", "path", "body"),
    [
        ("openai_chat", "/v1/chat/completions", CHAT),
        ("openai_responses", "/v1/responses", {"model": "gpt-5.5", "input": "Hello"}),
        ("anthropic", "/v1/messages", MESSAGE),
    ],
)
def test_a_usage_that_is_said_twice_is_charged_once(stand: Stand, api: str, path: str, body: dict[str, Any]) -> None:
    def act(handler: Handler, _: Any) -> None:
        handler.bill(api)
        _, chunks = MAKERS[api](Spent(), "m")
        at = -2 if api == "anthropic" else -1
        handler.stream([*chunks[:at], chunks[at], *chunks[at:]])

    stand.provider.act = act
    key = stand.key()
    assert stand.post(path, key, {**body, "stream": True}).status_code == 200
    ends = stand.ended(key.terms.agent_id)
    assert (estimated(ends), charged(ends)) == ([False], stand.provider.billed_usd)


def test_two_usages_that_contradict_each_other_cost_the_reservation(stand: Stand) -> None:
    def act(handler: Handler, _: Any) -> None:
        _, chunks = MAKERS["openai_chat"](Spent(), "m")
        less = {**chunks[-1], "usage": {**chunks[-1]["usage"], "completion_tokens": 3, "total_tokens": 1_203}}
        handler.stream([*chunks, less])

    stand.provider.act = act
    key = stand.key()
    assert stand.post("/v1/chat/completions", key, {**CHAT, "stream": True}).status_code == 200
    (end,) = stand.ended(key.terms.agent_id)
    assert (estimated([end]), charged([end])) == ([True], Decimal(str(end.facts["amount_usd"])))


def test_a_client_that_never_reads_is_charged_what_was_billed(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than all buffers on the way hold, so that the proxy must give its client up to read on."""
    monkeypatch.setattr(exchange, "STALL_SECONDS", 0.3)

    def act(handler: Handler, _: Any) -> None:
        _, chunks = MAKERS["anthropic"](Spent(), "m")
        handler.bill("anthropic")
        handler.begin_stream()
        for chunk in chunks[:3]:
            handler.chunk(event_of(chunk))
        filler = event_of({"type": "ping", "filler": "x" * 65_536})
        for _ in range(512):
            handler.chunk(filler)
        for chunk in chunks[3:]:
            handler.chunk(event_of(chunk))
        handler.wfile.write(b"0\r\n\r\n")

    stand.provider.act = act
    key = stand.key()
    body = json.dumps({**MESSAGE, "stream": True}).encode()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.connect(("127.0.0.1", stand.http.base_url.port))
        head = (
            f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key.secret}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        raw.sendall(head.encode() + body)
        ends = stand.ended(key.terms.agent_id)
    assert (estimated(ends), charged(ends)) == ([False], stand.provider.billed_usd)


@pytest.fixture
def impatient(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A proxy whose patience with upstreams is short; its URL."""
    monkeypatch.setattr(upstreams, "READ_SECONDS", 0.3)
    with proxying(stand.settings) as url:
        yield url


@pytest.mark.parametrize("begins", [False, True])
def test_an_upstream_that_hangs_costs_the_reservation(stand: Stand, impatient: str, begins: bool) -> None:
    go = threading.Event()

    def act(handler: Handler, _: Any) -> None:
        if begins:
            handler.begin_stream()
            handler.chunk(event_of(MAKERS["anthropic"](Spent(), "m")[1][0]))
        go.wait(60)
        handler.close_connection = True

    stand.provider.act = act
    key = stand.key()
    headers = {"x-api-key": key.secret or ""}
    try:
        sent = {**MESSAGE, "stream": begins}
        if begins:
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.post(f"{impatient}/v1/messages", json=sent, headers=headers, timeout=60, trust_env=False)
        else:
            answer = httpx.post(f"{impatient}/v1/messages", json=sent, headers=headers, timeout=60, trust_env=False)
            assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")
            assert "It may bill that" in answer.json()["error"]["message"]
    finally:
        go.set()
    (end,) = stand.ended(key.terms.agent_id)
    assert (end.kind, estimated([end]), charged([end])) == ("settled", [True], Decimal(str(end.facts["amount_usd"])))


def test_a_client_that_leaves_within_its_request_asks_for_nothing(stand: Stand) -> None:
    key = stand.key()
    with socket.create_connection(("127.0.0.1", stand.http.base_url.port or 0), timeout=20) as raw:
        head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key.secret}\r\ncontent-length: 500\r\n\r\n"
        raw.sendall(head.encode() + b'{"model":"claude-opus-4-6","max_tokens":9')
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(100) == b"", "there is nobody to answer"
    assert stand.post("/v1/messages", key, MESSAGE).status_code == 200
    stand.ended(key.terms.agent_id)
    assert len(stand.events(key.terms.agent_id, "granted", "rejected")) == len(stand.provider.asked) == 1


def test_thirty_megabytes_go_on_as_they_came(stand: Stand) -> None:
    """A picture is counted as one, however many bytes it has."""
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL + "A" * 30_000_000},
    }
    body = json.dumps({**MESSAGE, "messages": [{"role": "user", "content": [picture]}]}).encode()
    key = stand.key(budget="1")
    answer = stand.post("/v1/messages", key, body, content_type="application/json")
    assert answer.status_code == 200, answer.text
    assert stand.provider.asked[-1].body == body
    stand.ended(key.terms.agent_id)

"""What the events of a proxy's calls say for those who look at them later, and that no words of a prompt are kept."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import redis
from plain import plain
from planted import kept
from stands import Handler, Stand

PLANTED = "Xylophone-Quartz"
TEXT = f"{PLANTED}. " + "Say it in a sentence. " * 20 + PLANTED
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SAID = [{"role": "user", "content": TEXT}]
PARTS = [{"role": "user", "parts": [{"text": TEXT}]}]
SURFACES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "gpt-5.5", "messages": SAID, "max_completion_tokens": 900}),
    "responses": ("/v1/responses", {"model": "gpt-5.5", "input": TEXT, "max_output_tokens": 900}),
    "messages": ("/v1/messages", {"model": "claude-opus-4-6", "messages": SAID, "max_tokens": 900}),
    "generate": (
        "/v1beta/models/gemini-3-pro-preview:generateContent",
        {"contents": PARTS, "generationConfig": {"maxOutputTokens": 900, "temperature": 0.25}},
    ),
}
"""By API: a path, and a body."""


@pytest.fixture
def server(server_url: str) -> Iterator[redis.Redis]:
    with plain(server_url) as client:
        yield client


@pytest.mark.parametrize("api", SURFACES)
def test_a_call_tells_what_can_be_known_of_it(stand: Stand, server: redis.Redis, api: str) -> None:
    path, body = SURFACES[api]
    if api != "generate":
        body = {**body, "temperature": 0.25}
    key = stand.key()
    agent = key.terms.agent_id
    answer = stand.post(path, key, body, traceparent=TRACE, x_stainless_retry_count="1")
    assert answer.status_code == 200, answer.text
    (ended,) = stand.ended(agent)
    (granted,) = stand.events(agent, "granted")
    request = granted.facts["request"]
    assert (granted.facts["traceparent"], request["temperature"]) == (TRACE, 0.25)
    assert request["prompt_bytes"] > len(TEXT)
    assert {"prompt_tokens", "max_output_tokens"} <= request.keys()
    assert re.fullmatch("[0-9a-f]{16}", request["prompt_hash"])
    assert re.fullmatch("[0-9a-f]{16}", request["prefix_hash"])
    assert request["prompt_hash"] != request["prefix_hash"]
    assert ended.facts["attempt"] == 2
    assert ended.facts["latency_ms"] >= 0
    assert ended.facts["usage"]
    everything = kept(server, stand.settings.tenant)
    assert granted.facts["grant_id"].removeprefix("gr_").encode() in everything
    assert PLANTED.encode() not in everything


def test_a_text_that_is_only_counted_has_a_name_too(stand: Stand, server: redis.Redis) -> None:
    key = stand.key()
    body = {"model": "text-embedding-3-small", "input": TEXT}
    first, second = (stand.post("/v1/embeddings", key, body) for _ in range(2))
    assert first.status_code == second.status_code
    found = [event.facts["request"]["prompt_hash"] for event in stand.events(key.terms.agent_id, "granted")]
    assert len(found) == 2
    assert found[0] == found[1]
    assert PLANTED.encode() not in kept(server, stand.settings.tenant)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "00-abc",
        TRACE + "-01",
        TRACE.upper(),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "ff" + TRACE[2:],
        "\xe9" * 55,
    ],
    ids=["empty", "short", "long", "capitals", "zeros", "ff", "other"],
)
def test_a_broken_trace_stops_no_call(stand: Stand, sent: str) -> None:
    key = stand.key()
    path, body = SURFACES["chat"]
    answer = stand.http.post(
        path,
        json=body,
        headers=[(b"authorization", f"Bearer {key.secret}".encode()), (b"traceparent", sent.encode("latin-1"))],
    )
    assert answer.status_code == 200
    (granted,) = stand.events(key.terms.agent_id, "granted")
    assert "traceparent" not in granted.facts


def test_the_trace_of_a_later_version_is_read(stand: Stand) -> None:
    key = stand.key()
    path, body = SURFACES["chat"]
    stand.post(path, key, body, traceparent="cc" + TRACE[2:] + "-what-comes-then")
    (granted,) = stand.events(key.terms.agent_id, "granted")
    assert granted.facts["traceparent"] == "cc" + TRACE[2:]


@pytest.mark.parametrize(("status", "kind"), [(429, "released"), (500, "released"), (418, "settled")])
def test_a_failure_names_its_status(stand: Stand, server: redis.Redis, status: int, kind: str) -> None:
    def act(handler: Handler, body: Any) -> None:
        handler.whole({"error": {"message": f"No: {TEXT}", "type": "server_error"}}, status)

    stand.provider.act = act
    key = stand.key()
    path, body = SURFACES["chat"]
    assert stand.post(path, key, body).status_code == status
    (ended,) = stand.ended(key.terms.agent_id)
    assert (ended.kind, ended.facts["error_class"]) == (kind, f"http.{status}")
    assert ended.facts["latency_ms"] >= 0
    assert PLANTED.encode() not in kept(server, stand.settings.tenant)


def test_a_stream_that_breaks_off_names_its_error(stand: Stand) -> None:
    def act(handler: Handler, body: Any) -> None:
        handler.begin_stream()
        handler.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"So"}}]}\n\n')
        handler.close_connection = True

    stand.provider.act = act
    key = stand.key()
    path, body = SURFACES["chat"]
    headers = {"authorization": f"Bearer {key.secret}"}
    with (
        suppress(httpx.RemoteProtocolError),
        stand.http.stream("POST", path, json={**body, "stream": True}, headers=headers) as answer,
    ):
        list(answer.iter_raw())
    (ended,) = stand.ended(key.terms.agent_id)
    assert (ended.facts["error_class"], ended.facts["estimated"]) == ("aegis_core.ReadError", True)


def test_rules_know_a_call_again_by_the_keyed_name_of_its_prompt(stand: Stand) -> None:
    """Clients change other members of their bodies from try to try."""
    key = stand.key()
    path, body = SURFACES["chat"]
    asked = [stand.post(path, key, {**body, "user": name}) for name in ("a", "b")]
    assert [answer.status_code for answer in asked] == [200, 200]
    found = [event.facts["request"] for event in stand.events(key.terms.agent_id, "granted")]
    assert found[0]["arguments_hash"] == found[1]["arguments_hash"]
    assert found[0]["arguments_hash"].startswith(found[0]["prompt_hash"])


def test_a_key_that_does_not_hold_is_told(stand: Stand) -> None:
    path, body = SURFACES["chat"]
    for _ in range(3):
        assert stand.post(path, "aegis_px_of-nobody", body).status_code == 401
    until = time.monotonic() + 30
    while not (found := [each for each in stand.run(stand.port.latest_events(50)) if each.kind == "login_failed"]):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert (found[0].facts["code"], found[0].facts["address"], found[0].facts["count"]) == ("bad_key", "127.0.0.1", 1)

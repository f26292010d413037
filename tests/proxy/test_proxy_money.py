"""Money is right however a call ends: charged what was billed, free where nothing was computed, else as reserved."""

from __future__ import annotations

import json
import socket
import threading
import time
from decimal import Decimal
from typing import Any

import httpx
import pytest
from payloads import MAKERS, Spent
from stands import Handler, Stand, charged, estimated, event_of, proxying, upstreams_of

import aegis_core
from aegis_core.governor.proxy_keys import KeyTerms

SAID: Any = [{"role": "user", "content": "Hello there"}]
CHAT: dict[str, Any] = {"model": "gpt-5.5", "messages": SAID, "max_completion_tokens": 9_000}
MESSAGE: dict[str, Any] = {"model": "claude-opus-4-6", "messages": SAID, "max_tokens": 9_000}
GENERATE: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("/v1/chat/completions", CHAT),
    "openai_responses": ("/v1/responses", {"model": "gpt-5.5", "input": "Hello there"}),
    "anthropic": ("/v1/messages", MESSAGE),
    "gemini": ("/v1beta/models/gemini-3.8-flash:generateContent", GENERATE),
}
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{api: (path, {**body, "stream": True}) for api, (path, body) in CALLS.items()},
    "gemini": ("/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse", GENERATE),
}


def one_end(stand: Stand, agent: str) -> tuple[str, bool, Decimal, Decimal]:
    """How the only grant of an agent ended: kind, whether estimated, charged, reserved."""
    (event,) = stand.ended(agent)
    return event.kind, *estimated([event]), charged([event]), Decimal(str(event.facts["amount_usd"]))


@pytest.mark.parametrize(
    ("api", "status", "free"),
    [
        *(("openai_chat", status, True) for status in (400, 401, 404, 413, 429, 500, 503)),
        *(("anthropic", status, True) for status in (400, 401, 404, 413, 429, 500, 503)),
        ("anthropic", 529, True), ("openai_chat", 529, False), ("openai_chat", 408, False), ("openai_chat", 504, False),
        ("gemini", 500, False), ("gemini", 429, True), ("openai_chat", 302, False),
    ],
)  # fmt: skip
def test_an_error_of_the_upstream_goes_on_as_it_is_and_costs_what_the_table_says(
    stand: Stand, api: str, status: int, free: bool
) -> None:
    def act(handler: Handler, _: Any) -> None:
        handler.whole({"error": {"message": "no"}}, status, Retry_After="7", X_Request_Id="req_1", Location="http://x/")

    stand.provider.act = act
    key = stand.key()
    path, body = CALLS[api]
    answer = stand.post(path, key, body)
    assert (answer.status_code, answer.json()) == (status, {"error": {"message": "no"}})
    assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("7", "req_1")
    assert answer.headers["x-aegis-source"] == "upstream"
    assert "location" not in answer.headers
    kind, guessed, cost, reserved = one_end(stand, key.terms.agent_id)
    assert (kind, guessed, cost) == (("released", False, 0) if free else ("settled", True, reserved))


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("after", [0, 2])
def test_a_stream_that_breaks_off_costs_the_reservation(stand: Stand, api: str, after: int) -> None:
    def act(handler: Handler, _: Any) -> None:
        _, chunks = MAKERS[api](Spent(), "m")
        handler.stream(chunks[:after] or [{"choices": []}], ends=False)

    stand.provider.act = act
    key = stand.key()
    path, body = STREAMS[api]
    with pytest.raises(httpx.RemoteProtocolError):
        stand.post(path, key, body)
    kind, guessed, cost, reserved = one_end(stand, key.terms.agent_id)
    assert (kind, guessed, cost) == ("settled", True, reserved)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("wrong", ["html", "nothing", "negative", "no usage", "cut JSON", "compressed", "null"])
def test_an_answer_that_cannot_be_read_costs_the_reservation(stand: Stand, wrong: str, streamed: bool) -> None:
    whole, chunks = MAKERS["openai_chat"](Spent(), "m")
    if wrong == "negative":
        whole["usage"]["prompt_tokens"] = chunks[-1]["usage"]["prompt_tokens"] = -5
    if wrong == "no usage":
        del whole["usage"]
        chunks = chunks[:-1]
    data = json.dumps(whole).encode()
    sent = {"html": b"<html>ok</html>", "nothing": b"", "cut JSON": data[:-9], "null": b"null"}.get(wrong, data)

    def act(handler: Handler, _: Any) -> None:
        if streamed and wrong in {"negative", "no usage"}:
            handler.stream(chunks)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        handler.send_header("Content-Length", str(len(sent)))
        if wrong == "compressed":
            handler.send_header("Content-Encoding", "br")
        handler.end_headers()
        handler.wfile.write(sent)

    stand.provider.act = act
    key = stand.key()
    with stand.http.stream(
        "POST", CALLS["openai_chat"][0], json={**CHAT, "stream": streamed}, headers={"x-api-key": key.secret or ""}
    ) as answer:
        got = b"".join(answer.iter_raw())
    assert answer.status_code == 200
    if not (streamed and wrong in {"negative", "no usage"}):
        assert got == sent
    kind, guessed, cost, reserved = one_end(stand, key.terms.agent_id)
    assert (kind, guessed, cost) == ("settled", True, reserved)


def test_a_bill_above_the_reservation_is_charged_whole(stand: Stand) -> None:
    """The bytes of a rare script may be more tokens than were reserved; the provider's bill is the truth."""
    stand.provider.spent = Spent(fresh=60_000, said=10)
    key = stand.key()
    assert stand.post(*CALLS["anthropic"][:1], key, {**MESSAGE, "max_tokens": 20}).status_code == 200
    kind, guessed, cost, reserved = one_end(stand, key.terms.agent_id)
    assert (kind, guessed) == ("overrun", False)
    assert cost == stand.provider.billed_usd > reserved


@pytest.mark.parametrize("kind", ["cached", "written", "thoughts", "tier"])
def test_what_is_billed_otherwise_is_charged_otherwise(stand: Stand, kind: str) -> None:
    api = "openai_chat" if kind == "tier" else "anthropic"
    stand.provider.spent = {
        "cached": Spent(fresh=3, read=900), "written": Spent(fresh=3, hour=900), "thoughts": Spent(thoughts=300),
        "tier": Spent(tier="priority"),
    }[kind]  # fmt: skip
    more: dict[str, Any] = {"service_tier": "priority"} if kind == "tier" else {}
    if kind == "written":
        mark = {"type": "ephemeral", "ttl": "1h"}
        more["system"] = [{"type": "text", "text": "word " * 900, "cache_control": mark}]
    key = stand.key()
    for streamed in (False, True):
        path, body = (STREAMS if streamed else CALLS)[api]
        assert stand.post(path, key, {**body, **more}).status_code == 200
    ends = stand.ended(key.terms.agent_id, 2)
    assert estimated(ends) == [False, False]
    assert charged(ends) == stand.provider.billed_usd


def test_an_upstream_that_is_not_there_costs_nothing(stand: Stand) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{listener.getsockname()[1]}"
    key = stand.key()
    folder = stand.settings.proxy_keys_file
    assert folder is not None
    with proxying(upstreams_of(stand.settings, refusing, folder.parent)) as url:
        answer = httpx.post(
            f"{url}/v1/messages", json=MESSAGE, headers={"x-api-key": key.secret or ""}, trust_env=False, timeout=30
        )
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "api_error"
    assert "nothing was sent or charged" in answer.json()["error"]["message"]
    assert "x-should-retry" not in answer.headers
    kind, _, cost, _ = one_end(stand, key.terms.agent_id)
    assert (kind, cost) == ("released", 0)


def test_an_upstream_that_closes_without_a_word_costs_the_reservation(stand: Stand) -> None:
    stand.provider.act = lambda handler, _: setattr(handler, "close_connection", True)
    key = stand.key()
    answer = stand.post(*CALLS["anthropic"][:1], key, MESSAGE)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "false")
    assert "It may bill that" in answer.json()["error"]["message"]
    kind, guessed, cost, reserved = one_end(stand, key.terms.agent_id)
    assert (kind, guessed, cost) == ("settled", True, reserved)


@pytest.mark.parametrize("api", STREAMS)
def test_a_client_that_leaves_is_charged_what_was_billed(stand: Stand, api: str) -> None:
    stand.provider.pause = 0.05
    key = stand.key()
    path, body = STREAMS[api]
    with stand.http.stream("POST", path, json=body, headers={"x-api-key": key.secret or ""}) as answer:
        next(answer.iter_raw())
    kind, guessed, cost, _ = one_end(stand, key.terms.agent_id)
    assert (kind, guessed, cost) == ("settled", False, stand.provider.billed_usd)


def test_a_client_that_leaves_before_the_first_byte_is_charged_what_was_billed(stand: Stand) -> None:
    left = threading.Event()
    plain: Any = stand.provider

    def act(handler: Handler, body: Any) -> None:
        left.wait(20)
        plain.act = None
        handler.bill("anthropic")
        handler.whole(MAKERS["anthropic"](Spent(), "m")[0])

    stand.provider.act = act
    key = stand.key()
    with pytest.raises(httpx.ReadTimeout):
        stand.http.post("/v1/messages", json=MESSAGE, headers={"x-api-key": key.secret or ""}, timeout=0.3)
    left.set()
    kind, guessed, cost, _ = one_end(stand, key.terms.agent_id)
    assert (kind, guessed, cost) == ("settled", False, stand.provider.billed_usd)


def test_the_next_call_sees_what_the_last_one_really_cost(stand: Stand) -> None:
    """Each call is charged before its client sees the end of the answer, so a budget for several is not refused one."""
    stand.provider.spent = Spent(fresh=7, said=40)
    path = CALLS["anthropic"][0]
    bodies = [{**MESSAGE, "messages": [{"role": "user", "content": f"Hello {n}"}]} for n in range(8)]  # none is known
    first = stand.key()
    assert stand.post(path, first, bodies[-1]).status_code == 200
    (end,) = stand.ended(first.terms.agent_id)
    cost, reserved = charged([end]), Decimal(str(end.facts["amount_usd"]))
    key = stand.key(budget=str(reserved + 5 * cost), min_output_tokens=9_000)
    assert [stand.post(path, key, body).status_code for body in bodies[:7]] == [200] * 6 + [402]
    assert stand.left(key.terms.agent_id) == reserved - cost


def test_a_grant_is_kept_alive_while_its_call_is_on_its_way(stand: Stand) -> None:
    """Its deadline, in the middle of the answer, would charge the estimate."""
    settings = stand.settings.model_copy(update={"grant_seconds": 0.4, "tenant": f"{stand.settings.tenant}-brief"})

    async def kinds() -> list[str]:
        async with aegis_core.connect(settings=settings) as governor:
            return [event.kind for event in await governor.latest_events(100)]

    async def made() -> Any:
        async with aegis_core.connect(settings=settings) as governor:
            port: Any = governor.port
            return await port.operator.proxy_keys.create(KeyTerms(agent_id="slow"), author="test")

    def act(handler: Handler, _: Any) -> None:
        _, chunks = MAKERS["anthropic"](Spent(), "m")
        handler.begin_stream()
        for chunk in chunks[:-1]:
            handler.chunk(event_of(chunk))
        while stand.run(kinds()).count("extended") < 3:  # beyond its first deadline
            time.sleep(0.02)
        handler.chunk(event_of(chunks[-1]))
        handler.wfile.write(b"0\r\n\r\n")

    stand.provider.act = act
    key = stand.run(made())
    with proxying(settings) as url:
        sent = {**MESSAGE, "stream": True}
        answer = httpx.post(
            f"{url}/v1/messages", json=sent, headers={"x-api-key": key.secret}, timeout=60, trust_env=False
        )
    assert answer.status_code == 200
    found = stand.run(kinds())
    assert found[-1] == "settled"
    assert "expired" not in found

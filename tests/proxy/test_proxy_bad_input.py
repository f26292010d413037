"""Bad input has a clear answer in the client's own shape, the money right, and nothing of a prompt is kept anywhere."""

from __future__ import annotations

import gzip
import json
import logging
import socket
from typing import Any

import pytest
from plain import plain
from stands import PROVIDER_KEY, Stand, charged

SAID: Any = [{"role": "user", "content": "Hello there"}]
MESSAGE: dict[str, Any] = {"model": "claude-opus-4-6", "messages": SAID, "max_tokens": 900}
SECRET = "hunter2-sk-live-0123456789abcdefXYZ"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1beta/models/g:generateContent"])
@pytest.mark.parametrize("body", [b"", b"[1]", b'{"model":"m","model":"n"}', b"<html>", b"\xff\xfe", b'{"model":'])
def test_a_body_that_is_no_json_is_told_so(stand: Stand, path: str, body: bytes) -> None:
    answer = stand.post(path, stand.key(), body)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")
    assert "cannot be read as JSON" in answer.json()["error"]["message"]
    assert stand.provider.asked == []


@pytest.mark.parametrize(
    "more",
    [
        {"MAX_TOKENS": 128_000}, {"maxTokens": 128_000}, {"Messages": []}, {"Stream": True}, {"Model": "gpt-5.5-pro"},
        {"N": 9}, {"max_tokens ": 1, "maxtokens": 5},
    ],
)  # fmt: skip
def test_a_name_that_another_reader_may_take_for_one_that_counts_is_refused(stand: Stand, more: Any) -> None:
    answer = stand.post("/v1/messages", stand.key(), MESSAGE | more)
    assert answer.status_code == 400
    assert "may be read as" in answer.json()["error"]["message"]
    assert stand.provider.asked == []


@pytest.mark.parametrize("model", [None, "", 7, ["a"], "a b", "x" * 400, "../v1/files", "m\ud800"])
def test_a_model_that_is_none_is_refused(stand: Stand, model: Any) -> None:
    answer = stand.post("/v1/messages", stand.key(), json.dumps(MESSAGE | {"model": model}).encode())
    assert answer.status_code == 402
    assert stand.provider.asked == []


def test_a_body_that_is_encoded_is_refused(stand: Stand) -> None:
    sent = gzip.compress(json.dumps(MESSAGE).encode())
    answer = stand.post("/v1/messages", stand.key(), sent, content_encoding="gzip")
    assert (answer.status_code, answer.json()["error"]["type"]) == (415, "invalid_request_error")


def test_a_body_that_is_too_long_is_refused_however_it_comes(stand: Stand) -> None:
    key = stand.key()
    most = stand.settings.proxy_max_body_mb * 1024 * 1024
    answer = stand.http.post(
        "/v1/messages", content=iter([b"x" * (1024 * 1024)] * (most // 1024 // 1024 + 1)),
        headers={"x-api-key": key.secret or ""},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")
    with socket.create_connection(stand.http.base_url.netloc.decode().split(":")) as raw:
        head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key.secret}\r\ncontent-length: {most + 1}\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_goes_on_with_its_length(stand: Stand) -> None:
    key = stand.key()
    raw = json.dumps(MESSAGE).encode()
    answer = stand.http.post(
        "/v1/messages", content=iter([raw[:5], raw[5:6], raw[6:]]), headers={"x-api-key": key.secret or ""}
    )
    assert answer.status_code == 200
    asked = stand.provider.asked[-1]
    assert (asked.body, asked.header("content-length")) == (raw, str(len(raw)))
    assert asked.header("transfer-encoding") is None
    stand.ended(key.terms.agent_id)


@pytest.mark.parametrize(
    "head",
    [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n", "content-length: 5\r\ncontent-length: 6\r\n",
        "transfer-encoding: chunked, identity\r\n", "transfer-encoding : chunked\r\n", "content-length: +5\r\n",
    ],
)  # fmt: skip
def test_a_request_whose_length_may_be_read_in_two_ways_reaches_nobody(stand: Stand, head: str) -> None:
    key = stand.key()
    with socket.create_connection(stand.http.base_url.netloc.decode().split(":"), timeout=20) as raw:
        raw.sendall(f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key.secret}\r\n{head}\r\n".encode())
        raw.sendall(b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        assert raw.recv(100)[:12] in {b"HTTP/1.1 400", b"HTTP/1.0 400", b""}
    assert stand.provider.asked == []


def test_headers_and_query_go_on_but_for_ours_and_those_of_the_connection(stand: Stand) -> None:
    key = stand.key()
    sent = [
        ("x-api-key", key.secret or ""), ("anthropic-beta", "a-1,b-2"), ("anthropic-beta", "c-3"), ("X-App", "cli"),
        ("x-aegis-session", "s1"), ("connection", "keep-alive, x-hop"), ("x-hop", "1"), ("accept-encoding", "br"),
        ("te", "trailers"), ("proxy-authorization", "Basic eA=="), ("x-forwarded-for", "10.0.0.1"), ("cookie", "a=b"),
        ("x-http-method-override", "DELETE"),
    ]  # fmt: skip
    answer = stand.http.post("/v1/messages?beta=true&x=%2F&x=a%20b", json=MESSAGE, headers=sent)
    assert answer.status_code == 200
    asked = stand.provider.asked[-1]
    assert asked.path == "/v1/messages?beta=true&x=%2F&x=a%20b"
    names = {name.lower() for name, _ in asked.headers}
    assert [value for name, value in asked.headers if name.lower() == "anthropic-beta"] == ["a-1,b-2", "c-3"]
    assert {"x-app", "cookie", "user-agent", "content-type"} <= names
    ours = {"x-aegis-session", "x-hop", "te", "proxy-authorization", "x-forwarded-for", "x-http-method-override"}
    assert not ours & names
    assert asked.header("accept-encoding") == "identity"
    assert (asked.header("x-api-key"), asked.header("authorization")) == (PROVIDER_KEY, None)
    stand.ended(key.terms.agent_id)


@pytest.mark.parametrize(
    ("headers", "query", "passed"),
    [
        ({"authorization": "Bearer {key}"}, "", "{provider}"),
        ({"authorization": "bearer  {key}"}, "", "{provider}"),
        ({"x-api-key": "{key}"}, "", "{provider}"),
        ({"x-goog-api-key": "{key}"}, "", "{provider}"),
        ({"api-key": "{key}"}, "", "{provider}"),
        ({}, "?key={key}&beta=true", "{provider}"),
        ({"x-api-key": "{key}", "authorization": "Bearer sk-mine"}, "", "{provider}"),  # Claude Code sends both
        ({"x-api-key": "sk-mine", "authorization": "Bearer {key}"}, "?key=mine", "{provider}"),
        ({"x-aegis-key": "{key}"}, "", "{provider}"),
        ({"x-aegis-key": "{key}", "x-api-key": "sk-mine"}, "", "sk-mine"),
        ({"x-aegis-key": "{key}", "x-api-key": "{key}", "authorization": "Bearer sk-mine"}, "", "{provider}"),
    ],
)
def test_our_key_may_stand_wherever_a_client_puts_one_and_is_not_forwarded(
    stand: Stand, headers: dict[str, str], query: str, passed: str
) -> None:
    key = stand.key()
    put = {name: value.format(key=key.secret) for name, value in headers.items()}
    answer = stand.http.post(f"/v1/messages{query.format(key=key.secret)}", json=MESSAGE, headers=put)
    assert answer.status_code == 200
    asked = stand.provider.asked[-1]
    assert asked.header("x-api-key") == passed.format(provider=PROVIDER_KEY)
    whole = json.dumps([asked.path, asked.headers])
    assert (key.secret or "") not in whole
    assert ("sk-mine" in whole) == (passed == "sk-mine")
    assert "key=" not in asked.path
    assert ("beta=true" in asked.path) == ("beta=true" in query)
    stand.ended(key.terms.agent_id)


def test_two_of_our_keys_or_a_header_twice_are_refused(stand: Stand) -> None:
    one, two = stand.key().secret or "", stand.key().secret or ""
    for sent in ([("x-api-key", one), ("authorization", f"Bearer {two}")], [("x-api-key", one), ("x-api-key", one)]):
        answer = stand.http.post("/v1/messages", json=MESSAGE, headers=sent)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    assert stand.provider.asked == []


def test_a_session_is_the_clients_own_and_only_groups(stand: Stand) -> None:
    key, other = stand.key(), stand.key()
    for name, value in (
        ("x-claude-code-session-id", "one"), ("x-claude-code-session-id", "two"), ("session-id", "one"),
        ("x-no", "three"),
    ):  # fmt: skip
        assert stand.http.post(
            "/v1/messages", json=MESSAGE, headers={"x-api-key": key.secret or "", name: value}
        ).is_success
    stand.http.post(
        "/v1/messages", json=MESSAGE, headers={"x-api-key": other.secret or "", "x-claude-code-session-id": "one"}
    )
    sessions = [event.facts["session_id"] for event in stand.events(key.terms.agent_id, "granted")]
    assert len(set(sessions)) == 3
    assert sessions[0] == sessions[2], "the same name is the same session, whichever header it comes in"
    assert {event.facts["session_id"] for event in stand.events(other.terms.agent_id, "granted")}.isdisjoint(sessions)
    stand.ended(key.terms.agent_id, 4)
    stand.ended(other.terms.agent_id)


def test_a_client_with_another_session_for_each_call_keeps_to_so_many(stand: Stand) -> None:
    key = stand.key()
    for number in range(70):
        assert stand.post("/v1/messages", key, MESSAGE, x_session_id=f"s{number}").is_success
    granted = stand.events(key.terms.agent_id, "granted")
    assert len(granted) == 70
    assert len({event.facts["session_id"] for event in granted}) == 61  # the last one is the key's own
    assert {event.facts["request"]["metadata"]["caller"] for event in granted} == {key.key_id}
    stand.ended(key.terms.agent_id, 70)


def test_events_split_anywhere_are_read_and_go_on_as_they_came(stand: Stand) -> None:
    """In the middle of a character, of a name, of a line's end."""
    from payloads import MAKERS, Spent

    _, chunks = MAKERS["anthropic"](Spent(), "m")
    chunks[2]["delta"]["text"] = "é\U0001f600中"
    raw = b": hello\r\n\r\n" + b"".join(
        f"event: {chunk['type']}\r\ndata: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n".encode() for chunk in chunks
    )

    def act(handler: Any, _: Any) -> None:
        handler.bill("anthropic")
        handler.begin_stream()
        for at in range(0, len(raw), 7):
            handler.chunk(raw[at : at + 7])
        handler.wfile.write(b"0\r\n\r\n")

    stand.provider.act = act
    key = stand.key()
    answer = stand.post("/v1/messages", key, MESSAGE | {"stream": True})
    assert answer.content == raw
    ends = stand.ended(key.terms.agent_id)
    assert charged(ends) == stand.provider.billed_usd


def test_nothing_of_a_prompt_or_a_key_is_stored_or_logged(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("aegis", "uvicorn", "uvicorn.error"):
        logging.getLogger(name).propagate = True
    caplog.set_level(logging.DEBUG)
    key = stand.key()
    poor = stand.key(budget="0", min_output_tokens=1)
    said = [{"role": "user", "content": f"my password is {SECRET}"}]
    for whose in (key, poor):
        for more in ({}, {"stream": True}, {"tools": [{"type": SECRET}]}, {"max_tokens": SECRET}):
            stand.post("/v1/messages", whose, MESSAGE | {"messages": said} | more)
        stand.post("/v1/messages", whose, SECRET.encode())
    stand.ended(key.terms.agent_id, 2)
    texts = caplog.text + "".join(str(getattr(record, "facts", "")) for record in caplog.records)
    server = plain(stand.settings.url)
    with server:
        blobs = b""
        for name in server.scan_iter(match=f"ae:{{{stand.settings.tenant}}}:*"):
            blobs += server.dump(name) or b""
    for secret in (SECRET, PROVIDER_KEY, (key.secret or "")[:60]):
        assert secret not in texts
        assert secret.encode() not in blobs

"""Attacks on the way in: pages of browsers, names that are no names, and bodies that are too large."""

from __future__ import annotations

import logging
import re
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from guarding import DEFENDED, Serve, bearer
from pydantic import SecretStr
from serving import serving

from aegis_core import ConfigurationError, Settings
from aegis_core.api import gate, logs, routing
from aegis_core.api.gate import RequestGate
from aegis_core.api.secret import operator_secret

API = "/api/v1"


@DEFENDED
@pytest.mark.parametrize(
    "header", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
def test_a_page_of_another_origin(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, header: dict[str, str], defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(RequestGate, "_judge_origin", lambda *_: None)
    with serving(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=30, headers=header) as page:
        for answer in (page.post(f"{API}/handshake", json={"agent_id": "a"}), page.get(f"{API}/events")):
            assert answer.status_code == (403 if defended else 200)
            assert not defended or answer.json()["code"] == "foreign_origin"


def test_a_form_that_a_page_posts_without_asking(settings: Settings) -> None:
    with serving(settings) as url:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            answer = httpx.post(
                f"{url}{API}/handshake",
                content=b'{"agent_id": "a"}',
                headers={"Content-Type": kind},
                trust_env=False,
                timeout=30,
            )
            assert (answer.status_code, answer.json()["code"]) == (415, "not_json")


@DEFENDED
def test_dns_rebinding(settings: Settings, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(RequestGate, "_stranger", lambda *_: None)
    with serving(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as page:
        # The page's own name leads to 127.0.0.1 now, so to the browser this is the page's own server.
        rebound = {"Host": "evil.example", "Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}
        for answer in (
            page.post(f"{API}/handshake", json={"agent_id": "a"}, headers=rebound),
            page.get("/metrics", headers=rebound),
        ):
            assert answer.status_code == (403 if defended else 200)


TWICE = [
    '{"agent_id": "a", "agent_id": "b"}',
    '{"agent_id": "a", "\\u0061gent_id": "a"}',
    '{"agent_id": "a", "capabilities": [], "capabilities": ["deploy"]}',
]


@DEFENDED
@pytest.mark.leaves("grants")
def test_a_message_that_says_two_things(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(routing, "first_repeat", lambda pairs: None)
    server = serve()
    headers = {**bearer(server.agent_key), "Content-Type": "application/json"}
    for number, text in enumerate(TWICE):
        body = text.replace('"a"', f'"a{number}"')
        answer = server.http.post(f"{API}/handshake", content=body, headers=headers)
        assert answer.status_code == (422 if defended else 200), answer.text
        assert ("is given twice" in answer.text) is defended
    session = server.enter("c")
    wish = (
        '{"agent_id": "c", "task_intent": "x", "resource_type": "compute", "estimated_cost_usd": 0, "metadata": {%s}}'
    )
    token = {**bearer(session["session_token"]), "Content-Type": "application/json"}
    answer = server.http.post(f"{API}/request-permission", content=wish % '"to": "ann", "to": "eve"', headers=token)
    assert answer.status_code == (422 if defended else 200)


@DEFENDED
def test_two_credentials_in_one_request(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(gate, "_SHOWN_ONCE", frozenset())
    server = serve()
    both = [("Authorization", f"Bearer {server.agent_key}"), ("Authorization", f"Bearer {server.operator_key}")]
    assert server.http.get(f"{API}/keys", headers=both).status_code == (400 if defended else 200)
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as line:
        line.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert line.recv(4_096).startswith(b"HTTP/1.1 400" if defended else b"HTTP/1.1 200")


@DEFENDED
def test_a_credential_in_a_path_for_readers_of_the_log(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, heard: pytest.LogCaptureFixture, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(logs, "mask_text", lambda text: text)
    server = serve()
    log = logging.getLogger("aegis")
    monkeypatch.setattr(log, "propagate", True)  # the server has set up its own
    monkeypatch.setattr(log, "level", logging.INFO)
    server.http.get(f"{API}/budget/{server.agent_key}")
    paths: list[str] = []
    deadline = time.monotonic() + 30
    while not any(path.startswith(f"{API}/budget/") for path in paths):  # the line is written after the answer
        assert time.monotonic() < deadline, paths
        time.sleep(0.01)
        facts = [getattr(record, "facts", {}) for record in list(heard.records)]
        paths = [fact["path"] for fact in facts if "path" in fact]
    assert (not any(server.agent_key in path for path in paths)) is defended


@pytest.mark.parametrize("secret", ["", "hunter2", "fifteen-letters"])
def test_an_operator_secret_that_can_be_guessed(settings: Settings, secret: str) -> None:
    short = settings.model_copy(update={"operator_secret": SecretStr(secret)})
    with pytest.raises(ConfigurationError, match="fewer than 16 characters"):
        operator_secret(short)


def test_the_documentation_loads_nothing_from_elsewhere_and_is_framed_by_nobody(serve: Serve) -> None:
    server = serve()
    page = server.http.get("/docs")
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(parts) == 4
    for part in parts:
        assert re.fullmatch(r"docs/[\w.-]+", part), part
        answer = server.http.get(f"/{part}")
        assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
    rules = page.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(rules)
    assert page.headers["X-Frame-Options"] == "DENY"
    assert server.http.get("/docs/../pyproject.toml").status_code == server.http.get("/docs/redoc").status_code == 404


def test_what_is_answered_without_a_credential_where_there_are_keys(serve: Serve) -> None:
    server = serve()
    assert server.http.get(f"{API}/health").json() == {"status": "ok"}
    for path in (f"{API}/ready", f"{API}/ready?verbose=true"):
        assert {name: said for name, said in server.http.get(path).json().items() if said} == {"status": "ready"}
    document = server.http.get("/openapi.json").json()
    assert server.http.get("/docs").status_code == 200
    for path, operations in document["paths"].items():
        if path not in {f"{API}/health", f"{API}/ready"}:
            for method in operations:
                asked = re.sub(r"{\w+}", "x", path)
                assert server.http.request(method, asked).status_code == 401, (method, path)


def test_with_keys_a_rebound_page_has_nothing_to_show(serve: Serve) -> None:
    server = serve()
    rebound = {"Host": "evil.example", "Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}
    for path in (f"{API}/events", f"{API}/agents", f"{API}/policy", "/metrics"):
        assert server.http.get(path, headers=rebound).status_code == 401
    assert server.http.post(f"{API}/handshake", json={"agent_id": "a"}, headers=rebound).status_code == 401


def _keys(settings: Settings) -> set[bytes]:
    import redis

    with redis.Redis.from_url(settings.url) as client:
        return {key for key in client.scan_iter(count=1_000) if settings.tenant.encode() in key}


HOSTILE = [
    "a}:t",
    "{b}",
    "a\nFLUSHALL\n",
    "a\r\nDEL x",
    "a\x00",
    "\x00",
    "a\t",
    "ae:{x}:t",
    "*",
    "a\u2028b",
    "a b",
    "'; --",
    "%00",
]


FIELDS = ("agent_id", "request_id", "session_id", "model")


@DEFENDED
@pytest.mark.leaves("grants")
def test_names_that_would_reach_other_keys_of_redis(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    server = serve()
    if not defended:
        monkeypatch.setattr("aegis_core.protocol.fields._IDENTIFIER", re.compile(r"[\s\S]{1,128}"))
        answer = server.http.post(f"{API}/handshake", json={"agent_id": "a}:t"}, headers=bearer(server.agent_key))
        assert answer.status_code == 200
        assert any(b"a}:t" in key for key in _keys(server.settings))
        return
    session = server.enter("a")
    grant, before = server.grant(session), _keys(server.settings)
    token, operator = bearer(session["session_token"]), bearer(server.operator_key)
    wish = {"agent_id": "a", "task_intent": "x", "resource_type": "compute", "estimated_cost_usd": 0}
    for name in HOSTILE:
        bodies: list[tuple[str, dict[str, Any], dict[str, str]]] = [
            ("handshake", {"agent_id": name}, bearer(server.agent_key)),
            ("handshake", {"agent_id": "b", "capabilities": [name]}, bearer(server.agent_key)),
            *[("request-permission", {**wish, field: name}, token) for field in FIELDS],
            (f"grants/{grant}/settle", {"agent_id": name, "cost_usd": 0}, token),
            ("keys", {"role": "agent", "name": name}, operator),
        ]  # fmt: skip
        for path, body, headers in bodies:
            answer = server.http.post(f"{API}/{path}", json=body, headers=headers)
            assert answer.status_code == 422, (path, body, answer.text)
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        for method, path, body, headers in (
            ("GET", f"grants/{quoted}", None, token),
            ("GET", f"budget/{quoted}", None, operator),
            ("POST", f"agents/{quoted}/block", None, operator),
            ("DELETE", f"keys/{quoted}", None, operator),
            ("PUT", f"budgets/agent/{quoted}", {"window": "day", "limit_usd": 1}, operator),
            ("PUT", f"budgets/label/{quoted}", {"window": "day", "limit_usd": 1}, operator),
        ):
            answer = server.http.request(method, f"{API}/{path}", json=body, headers=headers)
            assert answer.status_code in {404, 422}, (path, answer.text)
    assert _keys(server.settings) == before


@DEFENDED
@pytest.mark.leaves("grants")
def test_a_body_of_eleven_megabytes(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(gate, "MAX_BODY", 1 << 30)
    server = serve()
    session = server.enter("a")
    size = 11 * 1024 * 1024
    announced = server.ask(session, task_intent="x" * size)
    chunks = (b"x" * 65_536 for _ in range(size // 65_536))
    headers = {**bearer(session["session_token"]), "Content-Type": "application/json"}
    streamed = server.http.post(f"{API}/request-permission", content=chunks, headers=headers)
    codes = [answer.json()["code"] for answer in (announced, streamed)]
    assert codes == (["too_large", "too_large"] if defended else ["invalid_request", "malformed_json"])
    assert server.ask(session).json()["status"] == "GRANTED"

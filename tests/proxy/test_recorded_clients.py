"""Requests that agents and SDKs were recorded to send, through the proxy: forwarded but for what is spliced, or 426."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spliced import SPLICED, changed
from stands import PROVIDER_KEY, Stand, api_of

RECORDED = Path(__file__).parents[3] / "shared" / "design" / "recorded"
CREDENTIALS = {"authorization", "x-api-key", "x-goog-api-key"}
LEFT_OUT = {"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "keep-alive", "expect"}
GONE = {"idempotency-key"}

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="needs the recorded requests beside the checkout")


def recorded() -> list[Any]:
    """Each request that has a path of its own, with the client's name."""
    found: list[Any] = []
    for file in sorted(RECORDED.glob("[!_]*.json")) if RECORDED.is_dir() else ():
        for number, request in enumerate(json.loads(file.read_text())["requests"]):
            if request["method"] in {"GET", "POST"}:
                found.append(pytest.param(request, id=f"{file.stem}-{number}"))
    return found


@pytest.mark.parametrize("request_", recorded())
def test_what_a_client_sent_goes_on_as_it_was(stand: Stand, request_: dict[str, Any]) -> None:
    key = stand.key()
    headers = [(name.lower(), value.replace("…", "x")) for name, value in request_["headers"]]
    sent = {name: value for name, value in headers if name not in LEFT_OUT}
    shown = [name for name in sent if name in CREDENTIALS]
    for name in shown:
        sent[name] = f"Bearer {key.secret}" if name == "authorization" else key.secret
    if not shown:  # it stands in the query
        sent["x-goog-api-key"] = key.secret
    names = {name: value for name, value in sent.items() if "x-aegis" not in name}
    if request_["method"] == "GET" and "responses" in request_["path"]:
        names |= {"connection": "Upgrade", "upgrade": "websocket"}
        assert stand.http.get(request_["path"], headers=names).status_code == 426
        return
    body = json.dumps(request_["body"]).encode() if isinstance(request_["body"], dict) else b""
    answer = stand.http.request(request_["method"], request_["path"], headers=names, content=body)
    assert answer.status_code == 200, answer.text
    (asked,) = stand.provider.asked
    assert asked.path == request_["path"]
    credentials = [value for name, value in asked.headers if name.lower() in CREDENTIALS]
    assert [PROVIDER_KEY in value for value in credentials] == [True]
    forwarded = {name.lower(): value for name, value in asked.headers}
    kept = {name: value for name, value in names.items() if name not in CREDENTIALS | LEFT_OUT | GONE}
    assert {name: forwarded.get(name) for name in kept} == kept
    if body and asked.path.partition("?")[0].endswith(("messages", "responses", "completions", "Content")):
        assert changed(request_["body"], asked.json) <= SPLICED[api_of(asked.path.partition("?")[0])]
        stand.ended(key.terms.agent_id)

"""With an Idempotency-Key a call is made once, and a repeat gets the same answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from stands import Handler, Stand, charged

from aegis_core.proxy import calls

MESSAGE: dict[str, Any] = {
    "model": "claude-opus-4-6", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 900,
}  # fmt: skip


def send(stand: Stand, key: Any, name: str, **more: Any) -> httpx.Response:
    headers = {"x-api-key": key.secret, "idempotency-key": name}
    return httpx.post(f"{stand.url}/v1/messages", json=MESSAGE | more, headers=headers, timeout=60, trust_env=False)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_repeat_is_answered_as_the_first_one_was(stand: Stand, streamed: bool) -> None:
    key, other = stand.key(), stand.key()
    one, two = send(stand, key, "a", stream=streamed), send(stand, key, "a", stream=streamed)
    assert (one.status_code, one.content) == (two.status_code, two.content)
    assert one.headers["x-aegis-grant"] == two.headers["x-aegis-grant"]
    assert len(stand.provider.asked) == 1
    assert send(stand, other, "a").status_code == 200, "of another key it is another call"
    assert send(stand, key, "b").status_code == 200
    assert len(stand.provider.asked) == 3
    ends = stand.ended(key.terms.agent_id, 2) + stand.ended(other.terms.agent_id)
    assert charged(ends) == stand.provider.billed_usd


def test_a_repeat_waits_for_the_first_one(stand: Stand) -> None:
    key, go = stand.key(), threading.Event()

    def act(handler: Handler, _: Any) -> None:
        go.wait(20)
        handler.bill("anthropic")
        handler.whole({"type": "message", "usage": {"input_tokens": 1_200, "output_tokens": 40}, "model": "m"})

    stand.provider.act = act
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(send, stand, key, "a") for _ in range(3)]
        while not stand.provider.asked:
            pass
        go.set()
        assert {each.result().text for each in sent} == {sent[0].result().text}
    assert len(stand.provider.asked) == 1
    stand.ended(key.terms.agent_id)


def test_a_repeat_does_not_wait_for_ever(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WAIT_SECONDS", 0.05)
    key, go = stand.key(), threading.Event()

    def act(handler: Handler, _: Any) -> None:
        go.wait(20)
        handler.whole({"error": {}}, 400)

    stand.provider.act = act
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, stand, key, "a")
        while not stand.provider.asked:
            pass
        answer = send(stand, key, "a")
        assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "false")
        go.set()
        assert first.result().status_code == 400
    assert send(stand, key, "a").status_code == 400, "what failed may be tried again"
    assert len(stand.provider.asked) == 2
    stand.ended(key.terms.agent_id, 2)


def test_the_same_key_for_another_call_is_refused(stand: Stand) -> None:
    key = stand.key()
    assert send(stand, key, "a").status_code == 200
    answer = send(stand, key, "a", max_tokens=901)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "use a new one" in answer.json()["error"]["message"]
    assert len(stand.provider.asked) == 1
    stand.ended(key.terms.agent_id)

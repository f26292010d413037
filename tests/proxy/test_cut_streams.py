"""Streams of keys that ask for it are cut once they have cost more than was reserved; their repeats are refused."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from payloads import MAKERS, Spent
from stands import Handler, Provider, Stand, charged, estimated, event_of, providing, proxying, upstreams_of

SAID: Any = [{"role": "user", "content": "Hello there"}]
CHAT: dict[str, Any] = {"model": "gpt-5.5", "messages": SAID, "max_completion_tokens": 9_000}


def endless(provider: Provider, api: str) -> None:
    """The provider does not heed the cap, and streams until its client leaves."""

    def act(handler: Handler, body: Any) -> None:
        if not (body.get("stream") or "stream" in handler.path):
            handler.whole(MAKERS[api](Spent(), "m")[0])
            return
        _, chunks = MAKERS[api](Spent(fresh=7), "m")
        handler.begin_stream()
        words = chunks[1:-3] if api == "anthropic" else chunks[:-2]
        if api == "anthropic":
            handler.chunk(event_of(chunks[0]))
        for turn in range(100_000):  # until the socket is closed
            for each in words:
                if api == "gemini":
                    each["usageMetadata"]["candidatesTokenCount"] += turn
                handler.chunk(event_of(each))

    provider.act = act


def test_a_stream_is_cut_when_its_reservation_is_exhausted_and_its_repeat_is_refused(stand: Stand) -> None:
    endless(stand.provider, "openai_chat")
    key = stand.key(cut_streams=True)
    with openai.OpenAI(base_url=f"{stand.url}/v1", api_key=key.secret, timeout=30) as client:
        headers = {"x-session-id": "s-1"}
        stream = client.chat.completions.create(
            model="gpt-5.5", messages=SAID, max_completion_tokens=50, stream=True, extra_headers=headers
        )
        parts = []
        with pytest.raises(openai.APIError, match=r"Aegis cut this answer of gpt-5\.5"):
            parts.extend(stream)
        assert len(parts) > 50, "not before it had cost what was reserved"
        (end,) = stand.ended(key.terms.agent_id)
        reserved = Decimal(str(end.facts["amount_usd"]))
        assert (estimated([end]), charged([end]) >= reserved) == ([True], True)
        assert len(stand.provider.asked) == 1
        with pytest.raises(openai.APIStatusError, match="Aegis cut this answer") as again:
            client.chat.completions.create(  # not streamed, and with another cap, as clients try again
                model="gpt-5.5", messages=SAID, max_completion_tokens=60, extra_headers=headers
            )
    assert again.value.status_code == 402
    assert len(stand.provider.asked) == 1


def test_without_a_session_the_very_same_call_is_refused(stand: Stand) -> None:
    endless(stand.provider, "anthropic")
    key = stand.key(cut_streams=True)
    body = {"model": "claude-opus-4-6", "messages": SAID, "max_tokens": 50, "stream": True}
    answer = stand.post("/v1/messages", key, body)
    assert answer.content.count(b"event: error\n") == 1
    said = json.loads(answer.content.rpartition(b"data: ")[2])
    assert (said["type"], said["error"]["type"]) == ("error", "billing_error")
    assert stand.post("/v1/messages", key, body).status_code == 402
    assert len(stand.provider.asked) == 1
    stand.ended(key.terms.agent_id)
    stand.provider.act = None
    assert stand.post("/v1/messages", key, {**body, "max_tokens": 51}).status_code == 200
    stand.ended(key.terms.agent_id, 2)


@pytest.mark.parametrize("cuts", [False, True])
def test_a_stream_within_its_reservation_is_not_cut(stand: Stand, cuts: bool) -> None:
    """The provider's counts end below the cap, however its words are parted."""
    stand.provider.spent = Spent(fresh=7, said=40)
    key = stand.key(cut_streams=cuts)
    for path, body in (
        ("/v1/chat/completions", {**CHAT, "stream": True, "max_completion_tokens": 40}),
        ("/v1/responses", {"model": "gpt-5.5", "input": "Hello", "stream": True, "max_output_tokens": 40}),
        ("/v1/messages", {"model": "claude-opus-4-6", "messages": SAID, "stream": True, "max_tokens": 40}),
        ("/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
         {"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 40}}),
    ):  # fmt: skip
        answer = stand.post(path, key, body)
        assert answer.status_code == 200
        assert b"Aegis cut" not in answer.content
    ends = stand.ended(key.terms.agent_id, 4)
    assert not any(estimated(ends))
    assert charged(ends) == stand.provider.billed_usd


def test_a_key_that_does_not_ask_for_it_has_no_stream_cut(stand: Stand) -> None:
    """It is charged what is billed, as an overrun."""
    stand.provider.spent = Spent(fresh=7, said=5_000)
    key = stand.key()
    body = {**CHAT, "stream": True, "max_completion_tokens": 40}
    answer = stand.post("/v1/chat/completions", key, body)
    assert answer.content.endswith(b"data: [DONE]\n\n")
    (end,) = stand.ended(key.terms.agent_id)
    assert (end.kind, charged([end])) == ("overrun", stand.provider.billed_usd)


def test_the_repeat_of_a_call_whose_model_was_replaced_is_refused_too(stand: Stand) -> None:
    endless(stand.provider, "gemini")
    key = stand.key(cut_streams=True, route="rewrite")
    body = {"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 40}}
    path = "/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse"
    answer = stand.post(path, key, body)
    assert answer.headers["x-aegis-model"] == "gemini-2.5-flash"
    assert json.loads(answer.content.rpartition(b"data: ")[2])["error"]["status"] == "FAILED_PRECONDITION"
    again = stand.post(path, key, body)
    assert (again.status_code, again.headers["x-aegis-code"]) == (402, "reservation_exhausted")
    assert len(stand.provider.asked) == 1
    stand.ended(key.terms.agent_id)


def test_the_repeat_of_a_call_whose_fallback_was_cut_is_refused_too(stand: Stand, tmp_path: Path) -> None:
    stand.provider.act = lambda handler, _: handler.whole({"error": {"message": "overloaded"}}, 503)
    key = stand.key(cut_streams=True)
    headers = {"authorization": f"Bearer {key.secret}", "x-session-id": "s-1"}
    with providing() as other:
        endless(other, "openai_chat")
        settings = upstreams_of(stand.settings, stand.provider.url, tmp_path, "second")
        settings = settings.model_copy(
            update={
                "proxy_upstreams": settings.proxy_upstreams | {"second": other.url},
                "proxy_fallbacks": {"openai/gpt-5.5": "second/gpt-4o-mini"},
            }
        )
        with proxying(settings) as url, httpx.Client(base_url=url, headers=headers, trust_env=False) as http:
            body = {**CHAT, "stream": True, "max_completion_tokens": 40}
            cut = http.post("/v1/chat/completions", json=body, timeout=30)
            assert b"Aegis cut this answer of gpt-5.5" in cut.content, "by the name that its client knows"
            again = http.post("/v1/chat/completions", json={**body, "stream": False}, timeout=30)
            assert (again.status_code, again.headers["x-aegis-code"]) == (402, "reservation_exhausted")
        assert (len(stand.provider.asked), len(other.asked)) == (1, 1)
    first, second = stand.ended(key.terms.agent_id, 2)
    assert (first.kind, estimated([second])) == ("released", [True])

"""Refusals reach people: in the client's own exception, with our sentence, after exactly one request."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from stands import MODELS, Stand

SAID: Any = [{"role": "user", "content": "Hello there"}]
CHAT: dict[str, Any] = {"model": "gpt-5.5", "messages": SAID}
MESSAGE: dict[str, Any] = {"model": "claude-opus-4-6", "messages": SAID, "max_tokens": 900}
GENERATE: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}
PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", CHAT),
    "responses": ("/v1/responses", {"model": "gpt-5.5", "input": "Hello there"}),
    "anthropic": ("/v1/messages", MESSAGE),
    "gemini": ("/v1beta/models/gemini-3.8-flash:generateContent", GENERATE),
}


def message_of(answer: httpx.Response) -> str:
    return answer.json()["error"]["message"]


def raised_by(api: str, url: str, key: str) -> tuple[Any, str]:
    """The status and the text of what an official SDK raises."""
    found: Any
    if api in {"openai", "responses"}:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=30) as client:
            create: Any = client.chat.completions.create if api == "openai" else client.responses.create
            with pytest.raises(openai.APIError) as found:
                create(**PATHS[api][1])
            return found.value.status_code, str(found.value)
    if api == "anthropic":
        with anthropic.Anthropic(base_url=url, api_key=key, timeout=30) as claude:
            with pytest.raises(anthropic.APIError) as found:
                claude.messages.create(**MESSAGE)
            return found.value.status_code, str(found.value)
    google = genai.Client(api_key=key, http_options=genai.types.HttpOptions(base_url=url, timeout=30_000))
    with pytest.raises(genai.errors.APIError) as refused:
        google.models.generate_content(model=MODELS["gemini"], contents="Hello there")
    return refused.value.code, str(refused.value)


@pytest.mark.parametrize("api", PATHS)
def test_a_budget_that_does_not_reach_is_one_request_and_our_sentence(stand: Stand, api: str) -> None:
    key = stand.key(budget="0.000001", min_output_tokens=1)
    status, text = raised_by(api, stand.url, key.secret or "")
    assert status == 402
    assert "Aegis refused this call of" in text
    assert "is left until" in text
    assert stand.provider.asked == []
    assert len(stand.events(key.terms.agent_id, "rejected")) == 1


def test_a_refusal_says_in_headers_whose_it_is_and_that_trying_again_is_no_use(stand: Stand) -> None:
    key = stand.key(budget="0.000001", min_output_tokens=1)
    for path, body in PATHS.values():
        answer = stand.post(path, key, body)
        said = answer.headers
        assert (answer.status_code, said["x-should-retry"], said["x-aegis-source"]) == (402, "false", "aegis")
        assert said["x-aegis-code"] == "budget_exceeded"
        assert "retry-after" not in said
        assert said["request-id"] == said["x-request-id"]
        assert said["x-aegis-left-usd"] == "0.000001000"


def test_a_cap_is_asked_for_only_where_the_client_sent_none(stand: Stand) -> None:
    key = stand.key(budget="0.000001", min_output_tokens=1)
    capped = stand.post("/v1/chat/completions", key, {**CHAT, "max_completion_tokens": 500})
    assert "give the model a cap" not in message_of(capped)
    assert "give the model a cap" in message_of(stand.post("/v1/chat/completions", key, CHAT))


def test_each_provider_has_its_own_shape(stand: Stand) -> None:
    key = stand.key(budget="0.000001", min_output_tokens=1)
    found = {api: stand.post(path, key, body).json() for api, (path, body) in PATHS.items()}
    assert found["openai"]["error"]["type"] == "insufficient_quota"
    assert found["openai"]["error"]["code"] == "budget_exceeded"
    assert (found["anthropic"]["type"], found["anthropic"]["error"]["type"]) == ("error", "billing_error")
    assert found["anthropic"]["request_id"]
    assert (found["gemini"]["error"]["code"], found["gemini"]["error"]["status"]) == (402, "FAILED_PRECONDITION")
    assert found["gemini"]["error"]["details"][0]["reason"] == "BUDGET_EXCEEDED"


@pytest.mark.parametrize(
    ("agent", "status", "expected"),
    [
        ("codex_exec/0.171.0 (Debian)", 402, 400),
        ("litellm/1.81.10", 400, 400),
        ("x", 429, 429),
        ("claude-cli/2", 402, 402),
    ],
)
def test_a_client_is_refused_with_the_status_at_which_it_stops(
    stand: Stand, agent: str, status: int, expected: int
) -> None:
    key = stand.key(budget="0.000001", refusal_status=status, min_output_tokens=1)
    path, body = PATHS["responses"]
    answer = stand.post(path, key, body, user_agent=agent)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (expected, "false")


def test_a_storm_of_retries_reaches_redis_once(stand: Stand) -> None:
    key = stand.key(budget="0.000001", min_output_tokens=1)
    path, body = PATHS["anthropic"]
    answers = {stand.post(path, key, body).text for _ in range(5)}
    assert len(answers) == 1
    other = stand.post(path, key, {**body, "max_tokens": 901})
    assert other.status_code == 402
    stand.key(key.terms.agent_id, budget="1")
    assert stand.post(path, key, {**body, "max_tokens": 902}).status_code == 200
    stand.ended(key.terms.agent_id)
    assert len(stand.events(key.terms.agent_id, "rejected")) == 1
    (more,) = stand.events(key.terms.agent_id, "refusals_repeated")  # those that are alike are told together
    assert more.facts["count"] == 1


@pytest.mark.parametrize("api", PATHS)
def test_a_wrong_key_is_refused_in_the_shape_of_its_provider(stand: Stand, api: str) -> None:
    path, body = PATHS[api]
    good = stand.key().secret or ""
    wrong = good.replace("_", "0", 3) if api == "openai" else good[:20] + "A" * 60
    for shown in ("sk-ant-whatever", wrong, "aegis_px_", good.rpartition("_")[0] + "_other"):
        answer = stand.post(path, shown, body)
        assert (answer.status_code, answer.headers["x-should-retry"]) == (401, "false")
        assert "aegis proxy keys create" in message_of(answer) or "tenant" in message_of(answer)
    assert stand.provider.asked == []


def test_a_revoked_key_ends_within_a_second(stand: Stand) -> None:
    key = stand.key()
    path, body = PATHS["openai"]
    assert stand.post(path, key, body).status_code == 200
    stand.run(stand.port.operator.proxy_keys.revoke(key.key_id, author="test"))
    while stand.post(path, key, body).status_code == 200:  # at most for a second
        pass
    assert stand.post(path, key, body).status_code == 401
    stand.ended(key.terms.agent_id)


def test_a_model_that_a_key_may_not_call_is_not_called(stand: Stand) -> None:
    key = stand.key(models=("claude-*", "gpt-5.5-mini"))
    answer = stand.post("/v1/chat/completions", key, CHAT)
    assert answer.status_code == 402
    assert message_of(answer) == (
        "Aegis refused this call: the key may call claude-*, gpt-5.5-mini only, not gpt-5.5. Choose one of those."
    )
    assert stand.post("/v1/messages", key, {**MESSAGE, "model": "Claude-Opus-4-6"}).status_code == 200
    assert len(stand.provider.asked) == 1


def test_a_model_without_a_price_is_never_free(stand: Stand) -> None:
    key = stand.key()
    answer = stand.post("/v1/chat/completions", key, {**CHAT, "model": "nobody-knows-1"})
    assert answer.status_code == 402
    assert "no price is known for the model 'nobody-knows-1'" in message_of(answer)
    assert "AEGIS_PRICES_FILE" in message_of(answer)
    assert stand.provider.asked == []


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (
            "/v1/responses",
            {"tools": [{"type": "web_search"}], "input": "x"},
            "nothing bounds how often web_search runs",
        ),
        ("/v1/responses", {"background": True, "input": "x"}, "answers later and elsewhere"),
        ("/v1/responses", {"service_tier": "ultrafast", "input": "x"}, "ultrafast"),
        ("/v1/chat/completions", {"messages": SAID, "tools": [{"type": "teleport"}]}, "'teleport' is a hosted tool"),
        ("/v1/chat/completions", {"messages": SAID, "max_tokens": "many"}, "is no whole number"),
        ("/v1/chat/completions", {"messages": SAID, "max_tokens": 1e9}, "is no whole number"),
    ],
)
def test_what_nobody_can_bound_is_refused_with_a_sentence(stand: Stand, path: str, body: Any, says: str) -> None:
    answer = stand.post(path, stand.key().secret or "", {"model": "gpt-5.5", **body})
    assert answer.status_code == 402
    assert says in message_of(answer)
    assert stand.provider.asked == []


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("POST", "/v1/messages/batches", "Batches cannot be bounded"),
        ("POST", "/v1/files", "Files and organisations cannot be bounded"),
        ("GET", "/v1/files/file-1/content", "Files and organisations"),
        ("POST", "/v1/images/generations", "Pictures, speech"),
        ("POST", "/v1/audio/transcriptions", "Pictures, speech"),
        ("POST", "/v1/realtime/sessions", "Realtime"),
        ("POST", "/model/anthropic.claude/converse", "Bedrock and Vertex AI"),
        ("POST", "/v1beta/models/gemini-3.8-flash:batchGenerateContent", "This method of Gemini"),
        ("GET", "/v1/responses/resp_1", "does not know this path"),
        ("POST", "/chat/completions", "A base URL ends as the client expects it"),
        ("POST", "/v1//messages", "does not know this path"),
        ("POST", "/v1/%6dessages", "does not know this path"),
        ("DELETE", "/v1/messages", "forwards no DELETE"),
        ("GET", "/", "does not know this path"),
    ],
)
def test_other_paths_are_refused_and_not_forwarded(stand: Stand, method: str, path: str, says: str) -> None:
    headers = {"x-api-key": stand.key().secret or ""}
    answer = stand.http.request(method, path, headers=headers, json={"a": 1})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (404, "false")
    assert says in message_of(answer)
    assert stand.provider.asked == []


def test_a_websocket_is_told_to_post_instead(stand: Stand) -> None:
    headers = {
        "authorization": f"Bearer {stand.key().secret}", "upgrade": "websocket", "connection": "Upgrade",
        "sec-websocket-key": "x" * 24, "sec-websocket-version": "13",
    }  # fmt: skip
    answer = stand.http.get("/v1/responses", headers=headers)
    assert answer.status_code == 426


def test_listing_and_counting_are_free_and_need_a_key(stand: Stand) -> None:
    key = stand.key(budget="0")
    headers = {"authorization": f"Bearer {key.secret}"}
    for path in ("/v1/models", "/v1beta/models"):
        answer = stand.http.get(path, headers=headers)
        assert answer.json()["data"][0]["id"] == "gpt-5.5"
        assert stand.http.get(path).status_code == 401
    assert stand.post("/v1/messages/count_tokens", key, MESSAGE).json()["input_tokens"] == 7
    assert stand.post("/v1beta/models/g:countTokens", key, GENERATE).json()["totalTokens"] == 7
    assert stand.events(key.terms.agent_id, "granted", "rejected") == []
    assert len(stand.provider.asked) == 4

"""Another model than the one that was named: a cheaper one where the key says so, or the fallback of one that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from payloads import MAKERS, Spent
from rows import listed_price
from stands import Handler, Stand, charged, estimated, providing, proxying, upstreams_of
from typer.testing import CliRunner

from aegis_core import Settings
from aegis_core.cli import app
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.proxy.fallbacks import open_fallbacks
from aegis_core.proxy.upstreams import open_upstreams

SAID: Any = [{"role": "user", "content": "Hello there"}]
CHAT: dict[str, Any] = {"model": "gpt-5.5", "messages": SAID, "max_completion_tokens": 9_000}

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def bills(stand: Stand, api: str = "openai_chat") -> None:
    """The provider bills the model that it is asked for."""

    def act(handler: Handler, body: Any) -> None:
        model = body.get("model") or handler.path.rpartition("/")[2].partition(":")[0]
        stand.provider.billed += listed_price(stand.provider.spent, model, datetime.now(UTC))
        whole, chunks = MAKERS[api](stand.provider.spent, model)
        if body.get("stream"):
            handler.stream(chunks)
        else:
            handler.whole(whole)

    stand.provider.act = act


# --- a key whose calls are routed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_key_may_have_the_recommended_model_called(stand: Stand, streamed: bool) -> None:
    bills(stand)
    kept, rerouted = stand.key(), stand.key(route="rewrite")
    body = {**CHAT, "stream": True} if streamed else CHAT
    answer = stand.post("/v1/chat/completions", kept, body)
    assert stand.provider.asked[-1].json["model"] == "gpt-5.5"
    stand.ended(kept.terms.agent_id)
    stand.provider.billed = 0
    answer = stand.post("/v1/chat/completions", rerouted, body)
    asked = stand.provider.asked[-1].json
    assert asked["model"] == "gpt-4.1-mini", "OpenAI's cheapest of the tier for ordinary work"
    assert {**asked, "model": "gpt-5.5"} == {**stand.provider.asked[-2].json}, "nothing else is changed"
    assert answer.headers["x-aegis-model"] == answer.headers["x-aegis-recommended-model"] == asked["model"]
    ends = stand.ended(rerouted.terms.agent_id)
    assert (estimated(ends), charged(ends)) == ([False], stand.provider.billed_usd)
    reserved = Decimal(answer.headers["x-aegis-reserved-usd"])
    assert charged(ends) < reserved < Decimal("0.1"), "reserved at the price of the model that is called"


def test_the_path_of_gemini_names_another_model(stand: Stand) -> None:
    bills(stand, "gemini")
    key = stand.key(route="rewrite")
    body = '{"contents":[{"role":"user","parts":[{"text":"Hello"}]}],"generationConfig":{"maxOutputTokens":900}}'
    answer = stand.post("/v1beta/models/gemini-3-pro-preview:generateContent?alt=json", key, body.encode())
    assert answer.status_code == 200, answer.text
    asked = stand.provider.asked[-1]
    assert asked.path == "/v1beta/models/gemini-2.5-flash:generateContent?alt=json"
    assert asked.body.decode() == body
    ends = stand.ended(key.terms.agent_id)
    assert charged(ends) == stand.provider.billed_usd


@pytest.mark.parametrize(
    "more",
    [
        {"model": "gpt-4.1-nano"},  # no other costs as little
        {"reasoning_effort": "high"}, {"temperature": 0.2}, {"max_tokens": 900}, {"service_tier": "flex"},
        {"messages": [{"role": "user", "content": [PICTURE]}]},
    ],
    ids=["cheapest", "reasoning", "temperature", "max_tokens", "tier", "picture"],
)  # fmt: skip
def test_a_call_that_only_some_models_take_keeps_its_own(stand: Stand, more: dict[str, Any]) -> None:
    bills(stand)
    key = stand.key(route="rewrite")
    body = {**CHAT, **more}
    answer = stand.post("/v1/chat/completions", key, body)
    assert answer.status_code == 200, answer.text
    assert stand.provider.asked[-1].json["model"] == body["model"]
    assert "x-aegis-model" not in answer.headers
    stand.ended(key.terms.agent_id)


def test_only_models_of_the_key_take_the_place(stand: Stand) -> None:
    bills(stand)
    key = stand.key(route="rewrite", models=("gpt-5.5", "gpt-4o-mini"))
    assert stand.post("/v1/chat/completions", key, CHAT).status_code == 200
    assert stand.provider.asked[-1].json["model"] == "gpt-4o-mini"
    alone = stand.key(route="rewrite", models=("gpt-5.5",))
    assert stand.post("/v1/chat/completions", alone, CHAT).status_code == 200
    assert stand.provider.asked[-1].json["model"] == "gpt-5.5"
    for each in (key, alone):
        stand.ended(each.terms.agent_id)


def test_an_answer_is_no_longer_than_the_other_model_can_give(stand: Stand) -> None:
    bills(stand)
    key = stand.key(route="rewrite", models=("gpt-5.5", "gpt-4o-mini"))
    assert stand.post("/v1/chat/completions", key, {**CHAT, "max_completion_tokens": 30_000}).status_code == 200
    asked = stand.provider.asked[-1].json
    assert (asked["model"], asked["max_completion_tokens"]) == ("gpt-4o-mini", 16_384)
    stand.ended(key.terms.agent_id)


def test_an_approved_call_goes_to_the_model_that_was_approved(stand: Stand) -> None:
    bills(stand)
    rules = [{"name": "dear", "type": "max_cost", "limit_usd": "0.001", "effect": "escalate"}]
    before = stand.port._rules.policy
    stand.run(stand.port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": rules})), author="ada"))
    key = stand.key(route="rewrite")
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(stand.post, "/v1/chat/completions", key, CHAT)
            while not (found := stand.run(stand.port.approvals.list(agent_id=key.terms.agent_id))) or waiting.done():
                assert not waiting.done(), waiting.result().text
            stand.run(stand.port.approvals.decide(found[0].approval_id, "approve", by="ada"))
            answer = waiting.result()
        assert answer.status_code == 200, answer.text
        assert stand.provider.asked[-1].json["model"] == answer.headers["x-aegis-model"] != "gpt-5.5"
        assert charged(stand.ended(key.terms.agent_id)) == stand.provider.billed_usd
    finally:
        stand.run(stand.port.publish_policy(before, author="ada"))


# --- fallbacks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def falling(stand: Stand, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A proxy whose OpenAI is the stand's provider, and whose fallback is another one; the URL, and that one."""
    with providing() as other:
        settings = upstreams_of(stand.settings, stand.provider.url, tmp_path, "vllm")
        keys = json.loads((tmp_path / "keys.json").read_text())
        (tmp_path / "keys.json").write_text(json.dumps(keys | {"second": "sk-of-the-second-one"}))
        urls = settings.proxy_upstreams | {"second:openai": other.url}
        fallbacks = {"openai/gpt-5.5": "second/gpt-4o-mini", "vllm/gpt-4o": "second/gpt-4o"}
        settings = settings.model_copy(update={"proxy_upstreams": urls, "proxy_fallbacks": fallbacks})
        with proxying(settings) as url:
            yield url, other


def post(url: str, secret: str | None, body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30, trust_env=False)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_fallback_answers_with_a_grant_of_its_own(
    stand: Stand, falling: tuple[str, Any], status: int, streamed: bool
) -> None:
    url, other = falling
    stand.provider.act = lambda handler, _: handler.whole({"error": {"message": "overloaded"}}, status)
    key = stand.key()
    answer = post(url, key.secret, {**CHAT, "stream": streamed})
    assert answer.status_code == 200
    assert answer.headers["x-aegis-fallback"] == "second/gpt-4o-mini"
    (asked,) = other.asked
    assert asked.json["model"] == "gpt-4o-mini"
    assert asked.header("authorization") == "Bearer sk-of-the-second-one"
    first, second = stand.ended(key.terms.agent_id, 2)
    assert (first.kind, charged([first]), second.kind, estimated([second])) == ("released", 0, "settled", [False])
    assert charged([second]) == Decimal(listed_price(Spent(), "gpt-4o-mini", datetime.now(UTC))).scaleb(-9)
    assert len(stand.events(key.terms.agent_id, "granted")) == 2
    assert first.facts["error_class"] == f"http.{status}"
    assert (second.facts["attempt"], second.facts["parent_request_id"]) == (2, first.facts["request_id"])


def test_what_a_failed_try_may_have_cost_is_charged_beside_the_fallback(stand: Stand, falling: tuple[str, Any]) -> None:
    url, other = falling
    stand.provider.act = lambda handler, _: setattr(handler, "close_connection", True)
    key = stand.key()
    assert post(url, key.secret, CHAT).status_code == 200
    first, second = stand.ended(key.terms.agent_id, 2)
    assert (estimated([first, second]), len(other.asked)) == ([True, False], 1)
    assert charged([first]) == Decimal(str(first.facts["amount_usd"]))


@pytest.mark.parametrize("why", ["budget", "allow-list", "status", "other model"])
def test_without_a_fallback_the_error_goes_on_as_it_is(stand: Stand, falling: tuple[str, Any], why: str) -> None:
    url, other = falling
    status = 400 if why == "status" else 503

    def act(handler: Handler, _: Any) -> None:
        if why == "budget":  # gone in the meantime
            stand.key(key.terms.agent_id, budget="0")
        handler.whole({"error": {"message": "overloaded"}}, status)

    stand.provider.act = act
    key = stand.key(models=("gpt-5.5",)) if why == "allow-list" else stand.key()
    answer = post(url, key.secret, {**CHAT, "model": "gpt-4o"} if why == "other model" else CHAT)
    assert (answer.status_code, answer.json()) == (status, {"error": {"message": "overloaded"}})
    assert other.asked == []
    (end,) = stand.ended(key.terms.agent_id)
    assert (end.kind, charged([end])) == ("released", 0)


def test_a_clients_own_credential_goes_to_no_other_upstream(stand: Stand, falling: tuple[str, Any]) -> None:
    url, other = falling
    stand.provider.act = lambda handler, _: handler.whole({"error": {"message": "overloaded"}}, 503)
    headers = {"authorization": "Bearer sk-of-the-user", "x-aegis-key": stand.key().secret or ""}
    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers, timeout=30, trust_env=False)
    assert (answer.status_code, other.asked) == (503, [])


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"openai/gpt-5.5": "gpt-4o"}, "give UPSTREAM/MODEL; upstreams are"),
        ({"openai/": "openai/gpt-4o"}, "such as openai/some-model-1"),
        ({"openai/gpt-5.5": "anthropic/claude-opus-4-6"}, "speak different APIs"),
        ({"openai/gpt-5.5": "openai/gpt-5.5"}, "another model, or another upstream"),
        ({"gemini/a": "gemini/b/../c"}, "give UPSTREAM/MODEL"),
    ],
)
def test_a_fallback_that_cannot_be_is_none(said: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        open_fallbacks(said, open_upstreams({}, None, {}))


def test_the_command_says_it(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEGIS_URL", settings.url)
    monkeypatch.setenv("AEGIS_TENANT", settings.tenant)
    create = ("proxy", "keys", "create", "--agent", "ada", "--json")
    made = CliRunner().invoke(app, (*create, "--route", "rewrite", "--cut-streams"))
    found = json.loads(made.stdout)
    assert (found["route"], found["cut_streams"]) == ("rewrite", True)
    wrong = CliRunner().invoke(app, (*create, "--route", "cheapest"))
    assert (wrong.exit_code, "rewrite" in str(wrong.exception)) == (1, True)

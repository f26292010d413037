"""SDKs and LangChain with and without the proxy: the same answers, requests that differ in what is spliced, one bill.

Each provider answers with a tool call beside its text where tools are offered. A refusal is the client's own exception
with our sentence, after exactly one request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from payloads import MAKERS, Spent
from spliced import SPLICED, changed
from stands import MODELS, Handler, Stand, charged, estimated

SAID: Any = [{"role": "user", "content": "What is the weather in Bern?"}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION: dict[str, Any] = {"name": "get_weather", "description": "Get weather for a city.", "parameters": SCHEMA}
NAMED = {"name": "get_weather", "arguments": '{"city": "Bern"}'}

OWN_HEADERS = {"host", "content-length", "connection", "accept-encoding"}
"""Headers that belong to a connection, or by which nothing is compressed."""
CREDENTIALS = {"authorization", "x-api-key", "x-goog-api-key"}


def openai_chat(url: str, key: str, *, streamed: bool, tools: bool) -> Any:
    more: dict[str, Any] = {"tools": [{"type": "function", "function": FUNCTION}]} if tools else {}
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=30) as client:
        create: Any = client.chat.completions.create
        return plain(create(model=MODELS["openai_chat"], messages=SAID, stream=streamed, **more))


def openai_responses(url: str, key: str, *, streamed: bool, tools: bool) -> Any:
    more: dict[str, Any] = {"tools": [{"type": "function", "strict": False, **FUNCTION}]} if tools else {}
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=30) as client:
        create: Any = client.responses.create
        return plain(create(model=MODELS["openai_responses"], input=SAID, stream=streamed, **more))


def anthropic_sdk(url: str, key: str, *, streamed: bool, tools: bool) -> Any:
    tool = {"name": "get_weather", "description": FUNCTION["description"], "input_schema": SCHEMA}
    more: dict[str, Any] = {"tools": [tool]} if tools else {}
    with anthropic.Anthropic(base_url=url, api_key=key, timeout=30) as client:
        create: Any = client.messages.create
        return plain(create(model=MODELS["anthropic"], messages=SAID, max_tokens=64_000, stream=streamed, **more))


def google_genai(url: str, key: str, *, streamed: bool, tools: bool) -> Any:
    options = genai.types.HttpOptions(base_url=url, timeout=30_000)
    client = genai.Client(api_key=key, http_options=options)
    models: Any = client.models
    config: Any = {"tools": [{"function_declarations": [FUNCTION]}]} if tools else None
    ask = models.generate_content_stream if streamed else models.generate_content
    return plain(ask(model=MODELS["gemini"], contents="What is the weather in Bern?", config=config))


def langchain(api: str) -> Callable[..., Any]:
    """A chat model of LangChain that calls this API."""

    def call(url: str, key: str, *, streamed: bool, tools: bool) -> Any:
        model: Any
        if api == "anthropic":
            from langchain_anthropic import ChatAnthropic

            model = ChatAnthropic(model=MODELS[api], base_url=url, api_key=key, stream_usage=True)  # type: ignore[call-arg,arg-type]
        elif api == "gemini":
            from langchain_google_genai import ChatGoogleGenerativeAI

            model = ChatGoogleGenerativeAI(model=MODELS[api], base_url=url, google_api_key=key)  # type: ignore[arg-type]
        else:
            from langchain_openai import ChatOpenAI

            model = ChatOpenAI(
                model=MODELS[api], base_url=f"{url}/v1", api_key=key,  # type: ignore[arg-type]
                use_responses_api=api == "openai_responses", stream_usage=False,
            )  # fmt: skip
        if tools:
            model = model.bind_tools([{"type": "function", "function": FUNCTION}])
        found = list(model.stream(SAID)) if streamed else [model.invoke(SAID)]
        return [part.model_dump(mode="json", exclude={"id"}) for part in found]  # LangChain's own id is of a run

    return call


CLIENTS: dict[str, tuple[str, Callable[..., Any], tuple[type[Exception], ...]]] = {
    "openai chat": ("openai_chat", openai_chat, (openai.APIStatusError,)),
    "openai responses": ("openai_responses", openai_responses, (openai.APIStatusError,)),
    "anthropic": ("anthropic", anthropic_sdk, (anthropic.APIStatusError,)),
    "google-genai": ("gemini", google_genai, (genai.errors.APIError,)),
    "langchain-openai chat": ("openai_chat", langchain("openai_chat"), (openai.APIStatusError,)),
    "langchain-openai responses": ("openai_responses", langchain("openai_responses"), (openai.APIStatusError,)),
    "langchain-anthropic": ("anthropic", langchain("anthropic"), (anthropic.APIStatusError,)),
    "langchain-google": ("gemini", langchain("gemini"), (Exception,)),  # of its own, which it does not name in public
}


def plain(found: Any) -> list[Any]:
    """An answer, or all parts of a stream, as values that can be compared."""
    listed = [found] if hasattr(found, "model_dump") else list(found)
    return [part.model_dump(mode="json", warnings=False, exclude={"sdk_http_response"}) for part in listed]


def with_tool_call(api: str, whole: dict[str, Any], chunks: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """An answer that calls the tool, too."""
    if api == "openai_chat":
        call = {"id": "call_1", "type": "function", "function": NAMED}
        message = {**whole["choices"][0]["message"], "tool_calls": [call]}
        delta = {"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}, "finish_reason": None}
        end = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
        streamed = [*chunks[:-2], {**chunks[0], "choices": [delta]}, {**chunks[0], "choices": [end]}, chunks[-1]]
        return {
            **whole,
            "choices": [{**whole["choices"][0], "message": message, "finish_reason": "tool_calls"}],
        }, streamed
    if api == "openai_responses":
        item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed", **NAMED}
        made = {**whole, "output": [*whole["output"], item]}
        place = {"item_id": "fc_1", "output_index": 1, "sequence_number": 50}
        added = {"type": "response.output_item.added", **place, "item": {**item, "arguments": ""}}
        delta = {"type": "response.function_call_arguments.delta", **place, "delta": NAMED["arguments"]}
        done = {"type": "response.output_item.done", **place, "item": item}
        return made, [*chunks[:-1], added, delta, done, {**chunks[-1], "response": made}]
    if api == "anthropic":
        block = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Bern"}}
        begun = {"type": "content_block_start", "index": 1, "content_block": {**block, "input": {}}}
        json_delta = {"type": "input_json_delta", "partial_json": NAMED["arguments"]}
        delta = {"type": "content_block_delta", "index": 1, "delta": json_delta}
        streamed = [*chunks[:-2], begun, delta, {"type": "content_block_stop", "index": 1}, *chunks[-2:]]
        return {**whole, "content": [*whole["content"], block], "stop_reason": "tool_use"}, streamed
    part = {"functionCall": {"id": "call_1", "name": "get_weather", "args": {"city": "Bern"}}}
    candidate = whole["candidates"][0]
    content = {**candidate["content"], "parts": [*candidate["content"]["parts"], part]}
    called = {"index": 0, "content": {"role": "model", "parts": [part]}}
    streamed = [*chunks[:-1], {**chunks[-2], "candidates": [called]}, chunks[-1]]
    return {**whole, "candidates": [{**candidate, "content": content}]}, streamed


def calls_the_tool(api: str, stand: Stand) -> Callable[[Handler, Any], None]:
    def act(handler: Handler, body: Any) -> None:
        handler.bill(api)
        whole, chunks = with_tool_call(api, *MAKERS[api](stand.provider.spent, MODELS[api]))
        if body.get("stream") or "stream" in handler.path:
            usage = (body.get("stream_options") or {}).get("include_usage")
            handler.stream(chunks if usage or api != "openai_chat" else chunks[:-1])
        else:
            handler.whole(whole)

    return act


@pytest.mark.parametrize("tools", [False, True], ids=["text", "tools"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gets_the_same_and_the_provider_is_asked_the_same(
    stand: Stand, client: str, streamed: bool, tools: bool
) -> None:
    api, call, _ = CLIENTS[client]
    provider, key = stand.provider, stand.key()
    provider.spent = Spent(fresh=7, said=40)
    provider.act = calls_the_tool(api, stand) if tools else None
    direct = call(provider.url, "none", streamed=streamed, tools=tools)
    (before,), provider.billed = provider.asked, 0
    provider.asked.clear()
    assert call(stand.url, key.secret or "", streamed=streamed, tools=tools) == direct
    assert ("get_weather" in json.dumps(direct)) == tools
    ends = stand.ended(key.terms.agent_id)
    assert ([event.kind for event in ends], estimated(ends)) == (["settled"], [False])
    assert charged(ends) == provider.billed_usd > 0
    (after,) = provider.asked
    assert after.path == before.path
    assert changed(before.json, after.json) <= SPLICED[api]
    assert changed(before.json, after.json), "the key's cap is none that a client sends"
    sent, forwarded = ({(name.lower(), value) for name, value in asked.headers} for asked in (before, after))
    differ = {name for name, _ in sent ^ forwarded}
    assert differ <= OWN_HEADERS | CREDENTIALS


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_is_the_clients_own_exception_after_one_request(
    stand: Stand, arrived: list[bytes], client: str, streamed: bool
) -> None:
    _, call, raised = CLIENTS[client]
    key = stand.key(budget="0.000001", min_output_tokens=1)
    with pytest.raises(raised) as refused:
        call(stand.url, key.secret or "", streamed=streamed, tools=False)
    assert "Aegis refused this call of" in str(refused.value)
    assert "is left until" in str(refused.value)
    assert len(arrived) == 1
    assert stand.provider.asked == []

"""What each adapter tells of a call for those who look at it later, and that no words of a prompt are kept anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import redis
from plain import plain
from planted import kept

from aegis_core.adapting import CallGovernor, ModelCall, extract
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.messages import PermissionRequest

from . import callers
from .billing import USAGE, Answer, Billing, billing
from .callers import STREAMS, TEMPERATURE, WHOLE, quietly
from .calling import aegis, governor

__all__ = ["aegis", "governor"]

PLANTED = "Xylophone-Quartz"
QUESTION = f"The word is {PLANTED}. " + "Say it in a sentence, and name the hour. " * 10 + f"Begin with {PLANTED}."
"""The word stands at both ends, because those are what one would show."""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def custom(url: str, aegis: SyncGovernedAgent, repeats: int, schema: object = None) -> None:
    """Without any framework."""
    calls = CallGovernor(aegis, framework="custom", experiment_arm="b", propensity=0.5)
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    call = ModelCall(messages, model="gpt-4o-mini", max_output_tokens=64, settings={"temperature": TEMPERATURE})
    held = calls.begin(call)
    with openai.OpenAI(base_url=url, api_key="none", max_retries=repeats) as client:
        try:
            answer = client.chat.completions.create(
                model="gpt-4o-mini", messages=messages, max_tokens=64, temperature=TEMPERATURE
            )
        except Exception as error:
            held.fail(error)
            raise
    held.settle(extract(None, answer, model="gpt-4o-mini"))


def permit(url: str, aegis: SyncGovernedAgent, repeats: int, schema: object = None) -> None:
    """The block that a program writes by hand. Only the program knows the prompt, so only it can name it."""
    with (
        openai.OpenAI(base_url=url, api_key="none", max_retries=repeats) as client,
        aegis.permit("Weather", model="gpt-4o-mini", prompt_bytes=len(QUESTION), max_output_tokens=64) as grant,
    ):
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": QUESTION}], max_tokens=64
        )
        grant.settle(response=answer)


ADAPTERS: dict[str, Callable[..., None]] = {**WHOLE, "custom": custom, "permit": permit}
SIZES = {"prompt_bytes", "max_output_tokens"}
PROMPT = SIZES | {"prompt_tokens", "prompt_hash", "prefix_hash", "temperature"}
ASKED: dict[str, set[str]] = {
    "governed_model": PROMPT, "callback": PROMPT, "crew": PROMPT, "agentchat": PROMPT, "classic": PROMPT,
    "custom": PROMPT | {"experiment_arm", "propensity"}, "permit": SIZES,
}  # fmt: skip
"""Which evidence of a request each one fills."""
_ENDED = frozenset({"answered_by", "usage", "latency_ms"})
ENDED: dict[str, frozenset[str]] = {
    **dict.fromkeys(("governed_model", "crew", "agentchat", "classic"), _ENDED | {"attempt"}),
    **dict.fromkeys(("callback", "custom", "permit"), _ENDED),
}
"""And of a settlement. Where an SDK's own attempts are seen, each says which one it is."""
EVIDENCE = PROMPT | {"experiment_arm", "propensity"}
CALL = {"answered_by", "usage", "latency_ms", "attempt", "error_class", "parent_request_id"}


@pytest.fixture
def server(server_url: str) -> Iterator[redis.Redis]:
    with plain(server_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "QUESTION", QUESTION)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PermissionRequest]:
    """The requests as the governor got them."""
    found: list[PermissionRequest] = []
    decide = ResourceGovernor.request_permission

    async def noted(self: ResourceGovernor, request: PermissionRequest, **more: Any) -> Any:
        found.append(request)
        return await decide(self, request, **more)

    monkeypatch.setattr(ResourceGovernor, "request_permission", noted)
    return found


@pytest.fixture
def tracing() -> Iterator[None]:
    """A span that is the current one."""
    from opentelemetry import context, trace

    place = trace.SpanContext(int(TRACE, 16), int(SPAN, 16), is_remote=True, trace_flags=trace.TraceFlags(1))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(place)))
    yield
    context.detach(token)


def facts_of(governor: SyncGovernor, *kinds: str) -> list[dict[str, Any]]:
    return [event.facts for event in governor.events(limit=1_000) if event.kind in kinds]


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_adapter_tells_what_it_can_know(
    aegis: SyncGovernedAgent,
    governor: SyncGovernor,
    asked: list[PermissionRequest],
    server: redis.Redis,
    adapter: str,
) -> None:
    with billing() as provider:
        quietly(ADAPTERS[adapter], provider.url, aegis, 0)
    assert PLANTED in json.dumps(provider.requests), "the provider got the prompt"
    (granted,), (settled,) = facts_of(governor, "granted"), facts_of(governor, "settled")
    request = granted["request"]
    assert request.keys() & EVIDENCE == ASKED[adapter]
    assert settled.keys() & CALL == ENDED[adapter]
    assert request["prompt_bytes"] >= len(QUESTION)
    assert request["max_output_tokens"] == 64
    assert request.get("temperature", TEMPERATURE) == TEMPERATURE
    assert granted["traceparent"] == f"00-{TRACE}-{SPAN}-01"
    assert settled["answered_by"] == "gpt-4o-mini"
    assert settled["usage"] == {"input_tokens": USAGE["prompt_tokens"], "output_tokens": USAGE["completion_tokens"]}
    assert 0 <= settled["latency_ms"] < 60_000
    assert settled.get("attempt", 1) == 1
    everything = kept(server, governor.tenant)
    assert granted["grant_id"].removeprefix("gr_").encode() in everything
    assert PLANTED.encode() not in everything
    for said in (asked[0].prompt_hash, asked[0].prefix_hash):
        assert said is None or said[:16].encode() not in everything, "hashes are kept under a key only"
    if "prompt_hash" in request:
        assert re.fullmatch("[0-9a-f]{16}", request["prompt_hash"])
        assert request["prompt_hash"] != request["prefix_hash"]


@pytest.mark.parametrize("adapter", STREAMS)
def test_streams_keep_no_words_either(
    aegis: SyncGovernedAgent, governor: SyncGovernor, server: redis.Redis, adapter: str
) -> None:
    with billing() as provider:
        more = {"stream_usage": True} if adapter == "callback" else {}
        quietly(STREAMS[adapter], provider.url, aegis, **more)
    (granted,), (settled,) = facts_of(governor, "granted"), facts_of(governor, "settled")
    assert {"prompt_hash", "prompt_bytes"} <= granted["request"].keys()
    assert settled["latency_ms"] >= 0
    assert PLANTED.encode() not in kept(server, governor.tenant)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_failed_call_names_the_class_of_its_error_and_none_of_its_words(
    aegis: SyncGovernedAgent, governor: SyncGovernor, server: redis.Redis, adapter: str
) -> None:
    with billing(Answer(status=400)) as provider, pytest.raises(Exception, match=r"It failed|400"):
        quietly(ADAPTERS[adapter], provider.url, aegis, 0)
    (ended,) = facts_of(governor, "released", "settled")
    assert ended["charged_usd"] == 0
    assert ended["error_class"].endswith("BadRequestError")
    assert ended["latency_ms"] >= 0
    assert PLANTED.encode() not in kept(server, governor.tenant)


@pytest.mark.parametrize("adapter", ["governed_model", "crew", "agentchat", "classic"])
def test_an_attempt_says_of_which_request_it_is(aegis: SyncGovernedAgent, governor: SyncGovernor, adapter: str) -> None:
    with billing(Answer(hangs=True), Answer()) as provider:
        quietly(ADAPTERS[adapter], provider.url, aegis, 1)
    first, second = facts_of(governor, "settled")
    assert _attempts(provider) == ["0", "1"]
    assert (first["attempt"], first["estimated"]) == (1, True)
    assert "Timeout" in first["error_class"]
    assert "parent_request_id" not in first
    assert (second["attempt"], second["parent_request_id"]) == (2, first["request_id"])
    assert "error_class" not in second


def _attempts(provider: Billing) -> list[str | None]:
    return provider.attempts


def test_equal_prompts_have_equal_names_and_a_longer_one_has_theirs_as_its_prefix(
    aegis: SyncGovernedAgent, governor: SyncGovernor
) -> None:
    calls = CallGovernor(aegis, framework="custom")
    said: list[dict[str, object]] = [{"role": "user", "content": QUESTION}]
    longer = [*said, {"role": "assistant", "content": "So be it."}]
    for messages in (said, said, longer):
        calls.begin(ModelCall(messages, model="gpt-4o-mini", max_output_tokens=9)).release()
    first, again, third = (facts["request"] for facts in facts_of(governor, "granted"))
    assert first["prompt_hash"] == again["prompt_hash"] == third["prefix_hash"]
    assert third["prompt_hash"] != first["prompt_hash"]

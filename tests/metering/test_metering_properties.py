"""Nothing raises on any JSON; prices grow with what is consumed; no usage that a request allows exceeds its bound."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from payloads import MAKERS, MODELS, Spent

from aegis_core.metering.bound import Bound, Limits, bound, check
from aegis_core.metering.extract import StreamMeter, extract
from aegis_core.metering.price_book import Charge, PriceBook
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.usage import Usage

BOOK = PriceBook()
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([-1, 0, 10**18, 2**64, 10**400, "1", "1h", "response.completed", "message", "message_delta"])
)  # fmt: skip
WORDS = [
    "usage", "choices", "delta", "message", "content", "text", "type", "model", "prompt_tokens", "completion_tokens",
    "total_tokens", "prompt_tokens_details", "cached_tokens", "input_tokens", "output_tokens", "cache_creation",
    "ephemeral_1h_input_tokens", "server_tool_use", "iterations", "usageMetadata", "promptTokenCount", "candidates",
    "thoughtsTokenCount", "promptTokensDetails", "modality", "groundingMetadata", "webSearchQueries", "metadata",
    "inputTokens", "cacheDetails", "ttl", "response", "output", "action", "service_tier", "cost", "is_byok", "error",
    "cost_details", "messages", "tools", "input", "max_tokens", "source", "data", "image_url", "cache_control", "n",
    "previous_response_id", "generationConfig", "maxOutputTokens", "tool_choice", "plugins", "system", "contents",
    "parts", "inlineData", "mimeType", "reasoning_tokens", "max_uses", "container", "context_management",
]  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=25,
)
BODIES = st.dictionaries(st.sampled_from(WORDS), JSON, max_size=8)
APIS = st.sampled_from([None, *MAKERS])


@settings(max_examples=100)
@given(APIS, JSON | BODIES)
def test_no_answer_makes_the_reader_raise(api: str | None, payload: Any) -> None:
    reading = extract(api, payload, model="gpt-4o")
    assert reading.exact or reading.doubts
    charge = BOOK.charge(reading, 1_000)
    assert charge.nanos >= 0
    assert charge.estimated or reading.exact


@settings(max_examples=50)
@given(st.sampled_from(sorted(MAKERS)), st.lists(BODIES, max_size=4), st.integers(0, 12))
def test_rubbish_within_a_stream_does_not_make_it_raise(api: str, rubbish: list[Any], place: int) -> None:
    chunks: list[Any] = MAKERS[api](Spent(), MODELS[api])[1]
    meter = StreamMeter(api, model=MODELS[api])
    for chunk in [*chunks[:place], *rubbish, *chunks[place:]]:
        meter.add(chunk)
    meter.reading()


@settings(max_examples=80)
@given(st.sampled_from(["openai", "anthropic", "gemini", "bedrock", "openai_embeddings"]), BODIES)
def test_a_request_is_bounded_or_refused(api: str, body: dict[str, Any]) -> None:
    most: Bound | None
    code = ""
    try:
        most = bound(body, api=api, model="gpt-4o", limits=Limits(context_tokens=10_000, hosted_calls=2))
    except InvalidRequestError as error:
        most, code = None, error.code
    if most is None:
        assert code == "unbounded"
        return
    assert 0 <= most.least_input_tokens <= max(1, most.input_tokens)
    assert most.output_tokens is None or most.output_tokens >= 0


MODELS_OF_ALL_KINDS = [
    "gpt-4o", "gpt-5.5", "gpt-6-sol", "claude-opus-4-6", "claude-sonnet-4-5", "gemini-2.5-pro", "gemini-2.5-flash",
    "gemini-3.8-flash", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "gpt-audio", "gpt-realtime",
    "gpt-4o-audio-preview", "text-embedding-3-small", "openrouter/openai/gpt-4o", "deepseek/deepseek-chat",
    "azure/eu/gpt-4o", "gemini-2.5-flash-image",
]  # fmt: skip
COUNTS = st.integers(0, 400_000)


@st.composite
def usages(draw: st.DrawFn, most: Bound) -> Usage:
    """Any usage within a bound."""
    sent = draw(st.integers(0, most.input_tokens))
    audio = draw(st.integers(0, min(sent, most.audio_tokens)))
    image = draw(st.integers(0, min(sent - audio, most.image_tokens)))
    cached = draw(st.integers(0, sent))
    short = draw(st.integers(0, sent - cached)) if most.cache_write else 0
    hour = draw(st.integers(0, sent - cached - short)) if most.cache_write == "1h" else 0
    cached_audio = draw(st.integers(0, min(audio, cached)))
    said = draw(st.integers(0, most.output_tokens or 0))
    return Usage(
        model=most.model, input_tokens=sent, cached_input_tokens=cached, cache_write_5m_tokens=short,
        cache_write_1h_tokens=hour, audio_input_tokens=audio, image_input_tokens=image,
        cached_audio_tokens=cached_audio,
        cached_image_tokens=draw(st.integers(0, min(image, cached - cached_audio))),
        output_tokens=said, reasoning_tokens=draw(st.integers(0, said)),
        audio_output_tokens=draw(st.integers(0, said)) if most.audio_output else 0,
        unattributed_tokens=draw(st.integers(0, (most.output_tokens or 0) - said)),
        service_tier=most.service_tier,
        **{name: draw(st.integers(0, calls)) for name, calls in most.hosted.items()},
    )  # fmt: skip


@st.composite
def bounds(draw: st.DrawFn) -> Bound:
    """Any bound that has a price."""
    model = draw(st.sampled_from(MODELS_OF_ALL_KINDS))
    sent = draw(COUNTS)
    searches = {"web_searches": draw(st.integers(0, 5))} if model in {"gpt-5.5", "claude-opus-4-6"} else {}
    return Bound(
        model=model, input_tokens=sent, output_tokens=draw(COUNTS), hosted=searches,
        audio_tokens=draw(st.integers(0, sent)), image_tokens=draw(st.integers(0, sent)),
        audio_output="audio" in model or "realtime" in model, image_output="image" in model,
        cache_write=draw(st.sampled_from([None, "5m", "1h"])),
        service_tier=draw(st.sampled_from([None, "flex", "priority"])) if model == "gpt-5.5" else None,
    )  # fmt: skip


@settings(max_examples=200)
@given(st.data())
def test_no_usage_within_a_bound_costs_more_than_it(data: st.DataObject) -> None:
    most = data.draw(bounds())
    usage = data.draw(usages(most))
    assert BOOK.price(usage) <= BOOK.bound(most)


@settings(max_examples=100)
@given(st.data())
def test_more_never_costs_less(data: st.DataObject) -> None:
    most = data.draw(bounds())
    usage = data.draw(usages(most))
    more = data.draw(st.integers(1, 300_000))
    name = data.draw(st.sampled_from(["input_tokens", "output_tokens", "unattributed_tokens"]))
    dearer = usage.model_copy(update={name: getattr(usage, name) + more})
    assert BOOK.price(dearer) >= BOOK.price(usage)


@settings(max_examples=60)
@given(st.text(max_size=300), st.integers(1, 500), st.sampled_from([None, "5m", "1h"]), st.integers(1, 3), st.data())
def test_what_a_request_allows_is_charged_exactly_and_within_its_reservation(
    text: str, cap: int, ttl: str | None, answers: int, data: st.DataObject
) -> None:
    part: dict[str, Any] = {"type": "text", "text": text}
    if ttl:
        part["cache_control"] = {"type": "ephemeral", "ttl": ttl}
    body = {
        "model": "claude-opus-4-6",
        "messages": [{"role": "user", "content": [part]}],
        "max_tokens": cap,
        "n": answers,
    }
    most = bound(body, api="anthropic")
    reserved = BOOK.bound(most)
    usage = data.draw(usages(most).filter(lambda each: each.input_tokens >= most.least_input_tokens))
    spent = Spent(
        fresh=usage.fresh_input_tokens, read=usage.cached_input_tokens, short=usage.cache_write_5m_tokens,
        hour=usage.cache_write_1h_tokens, said=usage.output_tokens,
    )  # fmt: skip
    whole = MAKERS["anthropic"](spent, "claude-opus-4-6")[0]
    whole["content"] = []
    charge = BOOK.charge(check(extract("anthropic", whole, model="claude-opus-4-6"), most), reserved, bound=most)
    assert charge == Charge(BOOK.price(spent.usage("claude-opus-4-6")))
    assert charge.nanos <= reserved

"""API × kind of token × streamed or not: the usage that is read, and what it costs."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from payloads import MAKERS, MODELS, TEXT, Spent
from rows import AT, KINDS, ROWS, listed_price

from aegis_core.metering.extract import StreamMeter, extract
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.tokens import text_bound

BOOK = PriceBook()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("api", "kind"), ROWS, ids=[f"{api}: {kind}" for api, kind in ROWS])
def test_what_an_api_reports_is_read_and_priced_exactly(api: str, kind: str, streamed: bool) -> None:
    spent, model = KINDS[kind][0], MODELS[api]
    whole, chunks = MAKERS[api](spent, model)
    reading = extract(api, iter(chunks) if streamed else whole, model=model)
    assert reading.doubts == ()
    assert reading.usage == spent.usage(model)
    assert BOOK.price(reading.usage, AT) == listed_price(spent, model)
    assert reading.received_tokens >= text_bound(TEXT) or not streamed


@pytest.mark.parametrize("api", MAKERS)
def test_an_api_is_known_by_the_shape_of_its_answers(api: str) -> None:
    whole, chunks = MAKERS[api](Spent(read=10), MODELS[api])
    expected = extract(api, whole, model=MODELS[api])
    for payload in (whole, chunks, json.dumps(whole), json.dumps(whole).encode(), _events(chunks)):
        assert extract(None, payload, model=MODELS[api]).usage == expected.usage


@pytest.mark.parametrize("api", ["openai_chat", "openai_responses"])
def test_openai_charges_for_its_cache_since_its_later_models(api: str) -> None:
    spent = Spent(read=400, short=3_000)
    for payload in MAKERS[api](spent, "gpt-6-sol"):
        usage = extract("openai", payload, model="gpt-6-sol").usage
        assert usage == spent.usage("gpt-6-sol")
        assert BOOK.price(usage, AT) == listed_price(spent, "gpt-6-sol")


def test_the_readers_agree_with_the_price_list_s_own() -> None:
    spent = Spent(read=100)
    for api, provider, flavor in (
        ("openai_chat", "openai", "chat"),
        ("openai_responses", "openai", "responses"),
        ("anthropic", "anthropic", "default"),
        ("gemini", "google", "default"),
    ):
        whole = MAKERS[api](spent, MODELS[api])[0]
        whole["model" if api != "gemini" else "modelVersion"] = MODELS[api]
        theirs = genai_prices.extract_usage(whole, provider_id=provider, api_flavor=flavor).usage
        mine = extract(api, whole).usage
        assert mine is not None
        assert (mine.input_tokens, mine.output_tokens) == (theirs.input_tokens, theirs.output_tokens), api
        assert mine.cached_input_tokens == theirs.cache_read_tokens, api


def test_openrouter_states_what_it_charged_and_that_counts() -> None:
    whole, chunks = MAKERS["openrouter"](Spent(), "openai/gpt-4o")
    for payload in (whole, chunks):
        reading = extract("openrouter", payload)
        assert reading.exact
        assert reading.usage is not None
        assert BOOK.price(reading.usage) == 12_300_000


@pytest.mark.parametrize(
    ("model", "free"), [("openrouter/openai/gpt-4o", False), ("openrouter/deepseek/deepseek-r1:free", True)]
)
def test_a_cost_of_nothing_is_believed_of_free_models_alone(model: str, free: bool) -> None:
    whole, _ = MAKERS["openrouter"](Spent(), model)
    reading = extract("openrouter", {**whole, "usage": {**whole["usage"], "cost": 0}}, model=model)
    charged = BOOK.charge(reading, 500)
    assert (charged.nanos, charged.estimated) == ((0, False) if free else (500, True))


@pytest.mark.parametrize("cloud", ["bedrock", "vertex", "azure"])
def test_clouds_hand_anthropic_s_own_answers_on(cloud: str) -> None:
    for payload in MAKERS["anthropic"](Spent(short=70), "claude-opus-4-6"):
        assert extract(cloud, payload, model="claude-opus-4-6").usage == Spent(short=70).usage("claude-opus-4-6")
    name = {"bedrock": "bedrock", "vertex": "gemini", "azure": "openai_chat"}[cloud]
    assert extract(cloud, MAKERS[name](Spent(), "m")[0], model="m").exact


def test_chunks_without_a_mark_are_chat_completions() -> None:
    words = [{"choices": [{"delta": {"content": "word "}}]} for _ in range(40)]
    assert extract("openai", words, model="gpt-4o").received_tokens >= 40


def test_a_usage_block_alone_tells_its_api() -> None:
    counts = {"input_tokens": 90, "output_tokens": 9}
    for more in ({"output": []}, {"content": [{"type": "text", "text": "x"}]}):
        found = extract(None, {"model": "gpt-4o", "usage": counts, **more}).usage
        assert found is not None
        assert found.input_tokens == 90


def test_with_a_key_of_one_s_own_the_provider_s_cost_counts_beside_openrouter_s_fee() -> None:
    whole, _ = MAKERS["openrouter"](Spent(), "openai/gpt-4o")
    usage = {**whole["usage"], "is_byok": True, "cost": 0.0004, "cost_details": {"upstream_inference_cost": 0.008}}
    reading = extract("openrouter", {**whole, "usage": usage})
    assert reading.usage is not None
    assert reading.usage.stated_cost_usd == Decimal("0.0084")
    unsaid = extract("openrouter", {**whole, "usage": {**usage, "cost_details": {}}})
    assert unsaid.doubts == ("the key is one's own, and nothing says what the provider charges",)


def test_sound_and_pictures_are_priced_where_they_have_a_price() -> None:
    # gpt-4o-audio-preview: $2.50 and $10 for text, $40 and $80 for sound (platform.openai.com/docs/pricing).
    heard = MAKERS["openai_chat"](Spent(fresh=1_000, sound_in=300, said=500, sound_out=200), "gpt-4o-audio-preview")[0]
    usage = extract("openai", heard, model="gpt-4o-audio-preview").usage
    assert usage is not None
    assert BOOK.price(usage) == 700 * 2_500 + 300 * 40_000 + 300 * 10_000 + 200 * 80_000
    # gemini-2.5-flash: $0.30 for text and pictures, $1 for sound, $2.50 for answers (ai.google.dev, pricing).
    spoken = MAKERS["gemini"](Spent(fresh=1_000, sound_in=400, picture_in=258), "gemini-2.5-flash")[0]
    usage = extract("gemini", spoken, model="gemini-2.5-flash").usage
    assert usage is not None
    assert (usage.audio_input_tokens, usage.image_input_tokens) == (400, 258)
    assert BOOK.price(usage) == 600 * 300 + 400 * 1_000 + 40 * 2_500


def test_pictures_that_gemini_paints_have_a_price_of_their_own() -> None:
    whole = MAKERS["gemini"](Spent(said=1_300), "gemini-2.5-flash-image")[0]
    whole["usageMetadata"]["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": 1_290}]
    usage = extract("gemini", whole, model="gemini-2.5-flash-image").usage
    assert usage is not None
    assert BOOK.price(usage) == 1_200 * 300 + 1_290 * 30_000 + 10 * 2_500


def test_gemini_before_3_pays_once_for_an_answer_with_searches() -> None:
    whole = MAKERS["gemini"](Spent(searches=3), "gemini-2.5-pro")[0]
    usage = extract("gemini", whole, model="gemini-2.5-pro").usage
    assert usage is not None
    assert usage.web_searches == 1
    assert BOOK.price(usage) == 1_200 * 1_250 + 40 * 10_000 + 35_000_000


def test_the_prompts_of_gemini_s_tools_are_input_beside_the_prompt() -> None:
    whole = MAKERS["gemini"](Spent(fresh=100, said=10), "gemini-3.8-flash")[0]
    whole["usageMetadata"] |= {"toolUsePromptTokenCount": 5_000, "totalTokenCount": 5_110}
    usage = extract("gemini", whole).usage
    assert usage is not None
    assert (usage.input_tokens, usage.unattributed_tokens) == (5_100, 0)


def test_thoughts_that_only_the_total_knows_are_charged_as_output() -> None:
    # Gemini behind an API in OpenAI's shape, as vercel/ai#6082 reports it: $1.25 and $10 a million.
    usage = {"prompt_tokens": 25, "completion_tokens": 300, "total_tokens": 1_025}
    reading = extract("openai_compatible", {"model": "gemini-2.5-pro", "choices": [], "usage": usage})
    assert reading.usage is not None
    assert reading.usage.unattributed_tokens == 700
    assert BOOK.price(reading.usage) == 25 * 1_250 + 1_000 * 10_000


@pytest.mark.parametrize(
    ("usage", "read", "answered"),
    [
        ({"prompt_tokens": 90, "completion_tokens": 9, "prompt_cache_hit_tokens": 64}, 64, 9),
        ({"prompt_tokens": 90, "completion_tokens": 9, "cached_tokens": 30}, 30, 9),
        (
            {
                "prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 300,
                "completion_tokens_details": {"reasoning_tokens": 201},
            },
            0,
            210,
        ),
    ],
    ids=["DeepSeek's hits", "Moonshot's cached tokens", "xAI's thoughts beside the completion"],
)  # fmt: skip
def test_habits_of_compatible_servers(usage: dict[str, Any], read: int, answered: int) -> None:
    payload = {"model": "gpt-4o", "choices": [{"message": {"content": TEXT}}], "usage": usage}
    found = extract("openai_compatible", payload)
    assert found.doubts == ()
    assert found.usage is not None
    assert (found.usage.cached_input_tokens, found.usage.all_output_tokens) == (read, answered)


@pytest.mark.parametrize("place", ["choice", "x_groq"])
def test_usage_is_found_where_others_put_it(place: str) -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99}
    choice: dict[str, Any] = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
    last = (
        {"choices": [{**choice, "usage": usage}]}
        if place == "choice"
        else {"choices": [choice], "x_groq": {"usage": usage}}
    )
    found = extract("groq", [{"model": "llama-3.1-8b-instant", "choices": [choice]}, last])
    assert found.exact
    assert found.usage is not None
    assert found.usage.input_tokens == 90


def test_running_totals_in_every_chunk_count_once() -> None:
    meter = StreamMeter("openai_compatible", model="gpt-4o-mini")
    for number in range(1, 35):
        usage = {"prompt_tokens": 200, "completion_tokens": number, "total_tokens": 200 + number}
        meter.add({"choices": [{"delta": {"content": "word "}}], "usage": usage})
    reading = meter.reading()
    assert reading.exact
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (200, 34)


def test_input_that_a_stream_counts_in_its_first_chunk_alone_is_kept() -> None:
    chunks = [
        {"choices": [{"delta": {"content": "word "}}], "usage": {"prompt_tokens": 200, "completion_tokens": 1}},
        {"choices": [{"delta": {"content": "word "}}], "usage": {"prompt_tokens": 0, "completion_tokens": 2}},
    ]
    reading = extract("openai_compatible", chunks, model="gpt-4o-mini")
    assert reading.exact
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (200, 2)


@pytest.mark.parametrize(
    "delta",
    [{"output_tokens": 700}, {"input_tokens": 0, "output_tokens": 700}, {"input_tokens": None, "output_tokens": 700}],
)
def test_a_delta_of_anthropic_takes_nothing_away_from_the_start(delta: dict[str, Any]) -> None:
    start = {"input_tokens": 300, "cache_read_input_tokens": 4_000, "output_tokens": 2}
    events = [
        {"type": "message_start", "message": {"id": "m", "model": "claude-sonnet-4-5", "usage": start}},
        {"type": "message_delta", "delta": {}, "usage": delta},
    ]
    reading = extract("anthropic", events)
    assert reading.exact
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.cached_input_tokens, reading.usage.output_tokens) == (
        4_300,
        4_000,
        700,
    )


def test_passes_that_compacted_a_conversation_are_billed_beside_the_answer() -> None:
    iterations: list[dict[str, Any]] = [
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500},
        {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
    ]
    top = Spent(fresh=23_000, said=1_000, extra={"iterations": iterations})
    for payload in MAKERS["anthropic"](top, "claude-opus-4-6"):
        reading = extract("anthropic", payload, model="claude-opus-4-6")
        assert reading.doubts == ()
        assert reading.usage is not None
        assert BOOK.price(reading.usage) == 203_000 * 5_000 + 4_500 * 25_000


@pytest.mark.parametrize(
    ("more", "percent"),
    [({"speed": "fast"}, 600), ({"inference_geo": "us"}, 110), ({"inference_geo": "global", "speed": "standard"}, 100)],
)
def test_what_multiplies_anthropic_s_price(more: dict[str, str], percent: int) -> None:
    whole = MAKERS["anthropic"](Spent(extra=more), "claude-opus-4-6")[0]
    usage = extract("anthropic", whole, model="claude-opus-4-6").usage
    assert usage is not None
    assert BOOK.price(usage) == (1_200 * 5_000 + 40 * 25_000) * percent // 100


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_code_that_anthropic_ran_has_a_fee(streamed: bool) -> None:
    # At most an hour of a container at $0.05 (platform.claude.com, pricing).
    whole, events = MAKERS["anthropic"](Spent(), "claude-opus-4-6")
    block = {"type": "bash_code_execution_tool_result", "tool_use_id": "t", "content": {}}
    whole["content"].append(block)
    events.insert(3, {"type": "content_block_start", "index": 1, "content_block": block})
    usage = extract("anthropic", events if streamed else whole, model="claude-opus-4-6").usage
    assert usage is not None
    assert BOOK.price(usage) == 1_200 * 5_000 + 40 * 25_000 + 50_000_000


def test_a_search_of_a_model_that_always_searches_has_its_fee() -> None:
    # $25 for a thousand searches of the preview models (platform.openai.com, pricing).
    whole, chunks = MAKERS["openai_chat"](Spent(), "gpt-4o-search-preview")
    cited = [{"type": "url_citation", "url_citation": {"url": "https://x"}}]
    whole["choices"][0]["message"]["annotations"] = cited
    chunks[1]["choices"][0]["delta"]["annotations"] = cited
    for payload in (whole, chunks):
        usage = extract("openai", payload, model="gpt-4o-search-preview").usage
        assert usage is not None
        assert BOOK.price(usage) == 1_200 * 2_500 + 40 * 10_000 + 25_000_000


def test_the_calls_of_tools_that_a_model_asks_for_are_text() -> None:
    call = {"index": 0, "function": {"name": "look_up", "arguments": '{"place": "here"}'}}
    chunks = [{"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}]
    assert extract("openai", chunks, model="gpt-4o").received_tokens >= text_bound('{"place": "here"}')


def test_perplexity_states_what_a_call_cost() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "cost": {"total_cost": 0.0061}}
    found = extract("perplexity", {"model": "sonar", "choices": [], "usage": usage}).usage
    assert found is not None
    assert found.stated_cost_usd == Decimal("0.0061")


def test_opening_a_page_and_looking_within_it_are_no_searches() -> None:
    whole = MAKERS["openai_responses"](Spent(searches=1), "gpt-5.5")[0]
    for kind in ("open_page", "find_in_page"):
        whole["output"].append({"type": "web_search_call", "action": {"type": kind}})
    usage = extract("openai", whole).usage
    assert usage is not None
    assert usage.web_searches == 1


def test_the_model_that_was_asked_for_counts_before_the_one_that_answered() -> None:
    whole = MAKERS["openai_chat"](Spent(), "gpt-5.5")[0]
    assert extract("openai", whole, model="azure/my-deployment").usage.model == "azure/my-deployment"  # type: ignore[union-attr]
    assert extract("openai", whole).usage.model == "gpt-5.5-served"  # type: ignore[union-attr]


def test_a_later_call_may_refer_to_an_answer_by_its_name() -> None:
    assert extract("openai", MAKERS["openai_responses"](Spent(), "gpt-5.5")[1]).response_id == "resp_1"


def _events(chunks: list[dict[str, Any]]) -> str:
    return "".join(f"event: x\ndata: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"

"""Bounds: the dearest way that a request allows and no dearer one, or a refusal that says what to do."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo

from aegis_core.metering.bound import Bound, Limits, bound
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.prompt import MESSAGE_TOKENS, WIDEST_WINDOW, messages_bound
from aegis_core.metering.tokens import text_bound
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.usage import Usage

BOOK = PriceBook()
HELLO = [{"role": "user", "content": "hello there"}]


def chat(*parts: dict[str, Any], limits: Limits | None = None, api: str = "openai", **more: Any) -> Bound:
    messages = [{"role": "user", "content": list(parts)}] if parts else HELLO
    return bound({"model": "gpt-4o", "messages": messages, "max_tokens": 100, **more}, api=api, limits=limits)


def responses(limits: Limits | None = None, **more: Any) -> Bound:
    return bound({"model": "gpt-5.5", "input": "hello there", "max_output_tokens": 100, **more}, limits=limits)


def messages(limits: Limits | None = None, **more: Any) -> Bound:
    body = {"model": "claude-opus-4-6", "messages": HELLO, "max_tokens": 100, **more}
    return bound(body, api="anthropic", limits=limits)


def gemini(limits: Limits | None = None, model: str = "gemini-3.8-flash", **more: Any) -> Bound:
    body = {"contents": [{"role": "user", "parts": [{"text": "hello there"}]}], **more}
    return bound(body, api="gemini", model=model, limits=limits)


def listed(provider: str) -> list[ModelInfo]:
    return next(each.models for each in get_snapshot().providers if each.id == provider)


def refused(call: Any, field: str, remedy: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call()
    assert (caught.value.code, caught.value.field) == ("unbounded", field)
    assert remedy in caught.value.message


PLAIN = chat().input_tokens


@pytest.mark.parametrize(
    "more",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}},
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]},
        {"functions": [{"name": "look", "parameters": {"type": "object"}}]},
        {"a_field_of_tomorrow": "text that may be sent to the model"},
        {"extra_body": {"guided_grammar": "root ::= word | word word | word word word"}},
    ],
)
def test_all_that_is_sent_counts(more: dict[str, Any]) -> None:
    sent = json.dumps(next(iter(more.values())))
    assert chat(**more).input_tokens >= PLAIN + text_bound(sent) // 2


@pytest.mark.parametrize("more", [{"metadata": {"a": "b" * 500}}, {"user": "u" * 90}, {"stream": True, "store": False}])
def test_what_no_model_reads_does_not(more: dict[str, Any]) -> None:
    assert chat(**more).input_tokens == PLAIN


def test_each_api_s_places_of_text_are_found() -> None:
    text = "x " * 500
    least = text_bound(text)
    for found in (
        responses(instructions=text),
        responses(input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]),
        responses(input=[{"type": "function_call_output", "call_id": "c", "output": text}]),
        responses(text={"format": {"type": "json_schema", "schema": {"description": text}}}),
        responses(prompt={"id": "pmpt_1", "variables": {"a": text}}, limits=Limits(known_tokens=lambda _: 5)),
        messages(system=text),
        messages(system=[{"type": "text", "text": text}]),
        messages(messages=[{"role": "user", "content": [{"type": "tool_result", "content": text}]}]),
        messages(messages=[{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "input": {"a": text}}]}]),
        messages(messages=[{"role": "user", "content": [
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}]}]),
        gemini(systemInstruction={"parts": [{"text": text}]}),
        gemini(generationConfig={"responseSchema": {"description": text}}),
        gemini(contents=[{"role": "user", "parts": [{"functionResponse": {"response": {"a": text}}}]}]),
        bound({"messages": [{"role": "user", "content": [{"text": text}]}], "modelId": "x"}, api="bedrock"),
        bound({"model": "gpt-3.5-turbo-instruct", "prompt": text}),
        bound({"model": "text-embedding-3-small", "input": [text]}, api="openai_embeddings"),
    ):  # fmt: skip
        assert least <= found.input_tokens < least + 700


def test_text_that_was_cut_into_tokens_counts_as_many() -> None:
    assert bound({"model": "text-embedding-3-small", "input": [1, 2, 3]}, api="openai_embeddings").input_tokens == 3


@pytest.mark.parametrize(
    ("more", "output"),
    [
        ({}, 100),
        ({"n": 3}, 300),
        ({"max_completion_tokens": 70, "max_tokens": None}, 70),
        ({"max_completion_tokens": 70, "max_tokens": 90}, 90),
        ({"max_tokens": None}, None),
    ],
)
def test_output_is_the_cap_times_the_answers(more: dict[str, Any], output: int | None) -> None:
    assert chat(**more).output_tokens == output


def test_gemini_s_and_bedrock_s_caps_are_in_their_configurations() -> None:
    assert gemini(generationConfig={"maxOutputTokens": 50, "candidateCount": 2}).output_tokens == 100
    assert gemini(generation_config={"max_output_tokens": 50}).output_tokens == 50
    assert bound({"messages": [], "inferenceConfig": {"maxTokens": 50}}, api="bedrock").output_tokens == 50


def test_without_a_cap_the_model_s_longest_answer_counts() -> None:
    uncapped = chat(max_tokens=None)
    assert BOOK.bound(uncapped) == BOOK.bound(chat(max_tokens=16_384))


def test_a_model_without_a_known_longest_answer_needs_a_cap() -> None:
    model = next(each.id for each in listed("together") if BOOK.output_maximum(f"together/{each.id}") is None)
    with pytest.raises(InvalidRequestError, match="give the request a cap"):
        BOOK.bound(chat(model=f"together/{model}", max_tokens=None))
    assert BOOK.bound(chat(model=f"together/{model}")) > 0


@pytest.mark.parametrize("value", [-1, "70", 1.5, True])
def test_a_cap_that_is_none_is_refused(value: Any) -> None:
    refused(lambda: chat(max_tokens=value), "max_tokens", "no whole number")


def test_a_prediction_may_be_billed_beside_the_cap() -> None:
    prediction = {"type": "content", "content": "x " * 400}
    assert (chat(prediction=prediction).output_tokens or 0) >= 100 + 400


MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


class TestCacheWrites:
    def test_without_a_mark_there_is_no_premium(self) -> None:
        assert messages().cache_write is None
        assert BOOK.bound(messages()) == messages().input_tokens * 5_000 + 100 * 25_000

    @pytest.mark.parametrize(("mark", "rate"), [(MARK, 6_250), (HOUR, 10_000)])
    def test_a_mark_is_priced_as_long_as_it_asks(self, mark: dict[str, str], rate: int) -> None:
        text = {"type": "text", "text": "hello", "cache_control": mark}
        tool = {"name": "look", "input_schema": {}, "cache_control": mark}
        for most in (
            messages(messages=[{"role": "user", "content": [text]}]),
            messages(system=[text]),
            messages(tools=[tool]),
            messages(cache_control=mark),
        ):
            assert BOOK.bound(most) == most.input_tokens * rate + 100 * 25_000

    def test_the_dearest_of_several_marks_counts(self) -> None:
        parts = [{"type": "text", "text": "a", "cache_control": mark} for mark in (HOUR, MARK)]
        assert messages(system=parts).cache_write == "1h"

    def test_through_a_gateway_only_openai_s_models_write_unasked(self) -> None:
        assert chat(api="openrouter", model="openai/gpt-6-sol").cache_write == "5m"
        assert chat(api="openrouter", model="anthropic/claude-sonnet-4.5").cache_write is None
        assert chat(api="azure", model="my-deployment").cache_write == "5m"

    def test_bedrock_has_points_of_its_own(self) -> None:
        tools = [{"toolSpec": {"name": "look"}}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
        assert bound({"messages": HELLO, "toolConfig": {"tools": tools}}, api="bedrock").cache_write == "1h"
        content = [{"text": "hello"}, {"cachePoint": {"type": "default"}}]
        assert bound({"messages": [{"role": "user", "content": content}]}, api="bedrock").cache_write == "5m"

    def test_openai_writes_unasked_and_some_of_its_models_charge_for_it(self) -> None:
        for model, charges in (("gpt-4o", False), ("gpt-6-sol", True)):
            most = chat(model=model, max_tokens=0)
            fresh = BOOK.price(Usage(model=model, input_tokens=most.input_tokens))
            assert most.cache_write == "5m"
            assert (BOOK.bound(most) > fresh) is charges


class TestTiers:
    def test_the_asked_tier_alone_is_priced(self) -> None:
        standard, flex, priority = (BOOK.bound(responses(service_tier=tier)) for tier in ("auto", "flex", "priority"))
        assert flex * 2 == standard
        assert priority * 2 == standard * 5

    @pytest.mark.parametrize("tier", ["ultrafast", "scale"])
    def test_one_without_a_price_is_refused(self, tier: str) -> None:
        with pytest.raises(InvalidRequestError, match="no known price at the tier"):
            BOOK.bound(responses(service_tier=tier))

    def test_speed_and_place_multiply(self) -> None:
        plain = BOOK.bound(messages())
        assert BOOK.bound(messages(speed="fast")) == 6 * plain
        assert BOOK.bound(messages(inference_geo="us")) * 10 == 11 * plain
        assert BOOK.bound(messages(speed="standard", inference_geo="global")) == plain


class TestMedia:
    @pytest.mark.parametrize("size", [1_000, 1_000_000])
    def test_a_picture_costs_the_same_however_many_bytes_it_has(self, size: int) -> None:
        url = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8" + b"x" * size).decode()
        part = {"type": "image_url", "image_url": {"url": url}}
        assert chat(part).input_tokens == 8 + 6_000
        assert (
            responses(input=[{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]).image_tokens
            == 6_000
        )

    def test_raw_bytes_and_gifs_are_read_too(self) -> None:
        gif = b"GIF89a" + struct.pack("<HH", 150, 100) + b"x" * 50
        content = [{"image": {"format": "gif", "source": {"bytes": gif}}}]
        assert bound({"messages": [{"role": "user", "content": content}]}, api="bedrock").image_tokens == 21
        text = [{"document": {"format": "txt", "name": "a", "source": {"bytes": b"word " * 100}}}]
        assert bound({"messages": [{"role": "user", "content": text}]}, api="bedrock").least_input_tokens > 10

    def test_small_pictures_are_one_tile_of_gemini(self) -> None:
        png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 300, 200) + b"\0" * 20
        part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(png).decode()}}
        assert gemini(contents=[{"parts": [part]}]).image_tokens == 258
        fine = {**part, "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}}
        assert gemini(contents=[{"parts": [fine]}]).image_tokens == 2_240

    def test_sound_of_an_unknown_kind_is_as_thin_as_sound_can_be(self) -> None:
        data = base64.b64encode(b"ID3" + b"x" * 30_000).decode()
        part = {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}
        assert 300 <= chat(part).audio_tokens <= 320

    def test_its_detail_and_model_count(self) -> None:
        part = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
        assert chat(part).image_tokens == 300
        assert chat(part, model="gpt-4o-mini").image_tokens == 2_833
        original = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "original"}}
        assert chat(original).image_tokens == 10_000

    def test_anthropic_counts_pixels(self) -> None:
        header = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 300, 200) + b"\0" * 100
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(header).decode()}
        found = messages(messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])
        assert found.image_tokens == 300 * 200 // 750 + 1
        by_url = {"type": "image", "source": {"type": "url", "url": "https://x/y"}}
        assert messages(messages=[{"role": "user", "content": [by_url]}]).image_tokens == 4_784

    def test_pages_of_a_document_are_counted(self) -> None:
        pdf = b"%PDF-1.4\n" + b"<< /Type /Page >>\n" * 3 + b"<< /Type /Pages /Count 3 >>" + b"x" * 100_000
        data = base64.b64encode(pdf).decode()
        document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}
        assert messages(messages=[{"role": "user", "content": [document]}]).image_tokens == 3 * 4_600
        held = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}}
        assert chat(held).image_tokens == 3 * 4_445
        inline = {"inlineData": {"mimeType": "application/pdf", "data": data}}
        assert gemini(contents=[{"parts": [inline]}]).image_tokens == 3 * 1_120

    def test_one_that_lies_elsewhere_has_as_many_as_the_api_takes(self) -> None:
        assert chat({"type": "file", "file": {"file_id": "file-1"}}).image_tokens == 100 * 4_445
        document = {"type": "document", "source": {"type": "file", "file_id": "f"}}
        assert messages(messages=[{"role": "user", "content": [document]}]).image_tokens == 600 * 4_600

    def test_sound_counts_by_the_second_at_its_own_price(self) -> None:
        rate, seconds = 16_000, 30
        wav = b"RIFF" + struct.pack("<I", 1) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, rate, 2, 16)
        data = base64.b64encode(wav + b"\0" * (rate * seconds)).decode()
        part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
        most = chat(part, model="gpt-4o-audio-preview", modalities=["text", "audio"])
        assert 300 <= most.audio_tokens <= 320
        assert most.audio_output
        text = most.input_tokens - most.audio_tokens
        assert BOOK.bound(most) == text * 2_500 + most.audio_tokens * 40_000 + 100 * 80_000
        inline = {"inline_data": {"mime_type": "audio/wav", "data": data}}
        assert 960 <= gemini(contents=[{"parts": [inline]}]).audio_tokens <= 1_024

    def test_what_has_no_known_length_needs_a_window(self) -> None:
        film = {"fileData": {"mimeType": "video/mp4", "fileUri": "https://x/film"}}
        refused(lambda: gemini(contents=[{"parts": [film]}]), "contents.0.parts.0", "how long the model's window is")
        assert gemini(Limits(context_tokens=1_000_000), contents=[{"parts": [film]}]).input_tokens == 1_000_000


class TestHostedTools:
    def test_fee_and_turns_are_bounded_by_the_request(self) -> None:
        most = messages(tools=[{**SEARCH, "max_uses": 2}])
        assert most.hosted == {"web_searches": 2}
        assert most.input_tokens > 3 * messages().input_tokens + 2 * 16_000
        assert BOOK.bound(most) == most.input_tokens * 5_000 + 100 * 25_000 + 2 * 10_000_000

    def test_openai_s_by_max_tool_calls(self) -> None:
        most = responses(tools=[{"type": "web_search"}, {"type": "file_search"}], max_tool_calls=3)
        assert most.hosted == {"web_searches": 3, "file_searches": 3}

    @pytest.mark.parametrize(("memory", "containers"), [(None, 1), ("4g", 4), ("unheard of", 64)])
    def test_a_container_costs_by_its_memory(self, memory: str | None, containers: int) -> None:
        tool = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": memory}}
        assert responses(tools=[tool], max_tool_calls=9).hosted == {"code_sessions": containers}

    def test_without_a_limit_they_are_refused_or_allowed_by_a_setting(self) -> None:
        refused(lambda: messages(tools=[SEARCH]), "tools", "max_uses")
        refused(lambda: gemini(tools=[{"googleSearch": {}}]), "tools", "settings")
        assert messages(Limits(hosted_calls=4), tools=[SEARCH]).hosted == {"web_searches": 4}

    def test_gemini_before_3_charges_one_search_for_an_answer(self) -> None:
        assert gemini(model="gemini-2.5-flash", tools=[{"google_search": {}}]).hosted == {"web_searches": 1}

    def test_they_need_a_cap_because_answers_are_sent_again(self) -> None:
        refused(lambda: messages(max_tokens=None, tools=[{**SEARCH, "max_uses": 1}]), "max_tokens", "a cap")

    def test_a_model_that_always_searches_pays_for_it(self) -> None:
        assert chat(web_search_options={}).hosted == {"web_searches": 1}
        assert chat(model="gpt-4o-search-preview").hosted == {"web_searches": 1}

    def test_a_shell_in_a_container_is_one(self) -> None:
        shell = {"type": "shell", "environment": {"type": "container_auto"}}
        assert responses(tools=[shell], max_tool_calls=2).hosted == {"code_sessions": 1}
        assert responses(tools=[{"type": "shell"}]).hosted == {}

    def test_later_web_tools_of_anthropic_may_run_code(self) -> None:
        tool = {"type": "web_search_20260209", "name": "web_search", "max_uses": 2}
        assert messages(tools=[tool]).hosted == {"web_searches": 2, "code_sessions": 1}

    def test_switched_off_they_cost_nothing(self) -> None:
        assert responses(tools=[{"type": "web_search"}], tool_choice="none").hosted == {}

    @pytest.mark.parametrize(
        "tool", ["computer_20250124", "bash_20250124", "text_editor_20250728", "function", "custom"]
    )
    def test_tools_that_the_caller_runs_are_no_more_than_their_definition(self, tool: str) -> None:
        assert messages(tools=[{"type": tool, "name": "x"}]).hosted == {}

    @pytest.mark.parametrize(
        ("call", "field"),
        [
            (lambda: responses(tools=[{"type": "image_generation"}]), "tools.0.type"),
            (lambda: messages(tools=[{"type": "advisor_20260301"}]), "tools.0.type"),
            (lambda: gemini(tools=[{"enterpriseWebSearch": {}}]), "tools.0.enterpriseWebSearch"),
            (lambda: chat(plugins=[{"id": "web"}]), "plugins"),
            (lambda: chat(model="openai/gpt-4o:online"), "model"),
            (lambda: chat(search_parameters={"mode": "auto"}), "search_parameters"),
            (lambda: messages(mcp_servers=[{"url": "https://x"}]), "mcp_servers"),
        ],
    )
    def test_those_without_a_known_fee_are_refused(self, call: Any, field: str) -> None:
        refused(call, field, "leave it out" if field not in {"model", "mcp_servers"} else "")


class TestWhatLiesAtTheProvider:
    @pytest.mark.parametrize(
        "more",
        [
            {"previous_response_id": "resp_1"},
            {"conversation": "conv_1"},
            {"conversation": {"id": "conv_1"}},
            {"prompt": {"id": "pmpt_1"}},
        ],
    )
    def test_it_counts_as_known_else_as_the_window_else_it_is_refused(self, more: dict[str, Any]) -> None:
        known = Limits(known_tokens={"resp_1": 900, "conv_1": 900, "pmpt_1": 900}.get, context_tokens=400_000)
        plain = responses().input_tokens
        assert plain + 900 <= responses(known, **more).input_tokens < plain + 950
        unknown = Limits(known_tokens=lambda _: None, context_tokens=400_000)
        assert responses(unknown, **more).input_tokens == 400_000
        refused(lambda: responses(**more), next(iter(more)), "send the messages themselves")

    def test_references_within_the_input_are_found(self) -> None:
        refused(lambda: responses(input=[{"type": "item_reference", "id": "msg_1"}]), "input", "msg_1")

    def test_a_cache_of_gemini_is_one_too(self) -> None:
        refused(lambda: gemini(cachedContent="cachedContents/abc"), "cachedContent", "window")


def test_compaction_is_one_more_pass() -> None:
    edits = {"edits": [{"type": "compact_20260112"}]}
    plain, most = messages(), messages(context_management=edits)
    assert (most.input_tokens, most.output_tokens) == (2 * plain.input_tokens, 200)


def test_what_may_be_cut_away_was_not_certainly_sent() -> None:
    text = [{"role": "user", "content": "word " * 5_000}]
    assert messages(messages=text).least_input_tokens > 500
    assert (
        messages(messages=text, context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}).least_input_tokens
        == 1
    )
    assert responses(input=text, truncation="auto").least_input_tokens == 1


def test_thoughts_of_earlier_turns_were_not_certainly_sent() -> None:
    thought = {"type": "thinking", "thinking": "word " * 5_000, "signature": "A" * 9_000}
    most = messages(messages=[*HELLO, {"role": "assistant", "content": [thought]}])
    assert most.least_input_tokens == 1
    assert most.input_tokens > 10_000


@pytest.mark.parametrize("request_", [None, [], "x"])
def test_what_is_no_request_is_refused(request_: Any) -> None:
    refused(lambda: bound(request_), "request", "as the provider is sent it")


def test_media_in_the_blocks_of_langchain_are_bounded_by_what_they_are() -> None:
    """Its base64 would otherwise count as text: half a million tokens for a picture of one megabyte."""
    data = "iVBORw0K" * 20_000
    for block, most in (
        ({"type": "image", "base64": data, "mime_type": "image/png"}, 6_000),
        ({"type": "image", "source_type": "url", "url": "https://example.org/a.png"}, 6_000),
        ({"type": "audio", "base64": "A" * 40_000, "mime_type": "audio/mp3"}, 310),
        ({"type": "file", "source_type": "base64", "data": data, "mime_type": "application/pdf"}, 444_500),
    ):
        assert messages_bound([{"role": "user", "content": [block]}]) == MESSAGE_TOKENS + most
    film = [{"role": "user", "content": [{"type": "video", "url": "https://example.org/a.mp4"}]}]
    assert messages_bound(film) == WIDEST_WINDOW

"""The official SDKs' own objects, parsed from JSON by their real models, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import anthropic.types
import anthropic.types.beta
import openai
import pytest
from google.genai import types as genai
from openai import LengthFinishReasonError
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ParsedChatCompletion
from openai.types.create_embedding_response import CreateEmbeddingResponse
from openai.types.responses import Response, ResponseStreamEvent
from payloads import MAKERS, MODELS, TEXT, Spent
from pydantic import BaseModel, TypeAdapter

from aegis_core.metering.bound import bound
from aegis_core.metering.extract import extract
from aegis_core.metering.failures import judge
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.tokens import text_bound

BOOK = PriceBook()
NO_CACHE = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
MESSAGES: TypeAdapter[Any] = TypeAdapter(anthropic.types.RawMessageStreamEvent)
PARSERS: dict[str, tuple[Any, Any]] = {
    "openai_chat": (ChatCompletion.model_validate, ChatCompletionChunk.model_validate),
    "openai_responses": (Response.model_validate, EVENTS.validate_python),
    "anthropic": (anthropic.types.Message.model_validate, MESSAGES.validate_python),
    "gemini": (genai.GenerateContentResponse.model_validate, genai.GenerateContentResponse.model_validate),
    "openrouter": (ChatCompletion.model_validate, ChatCompletionChunk.model_validate),
    "openai_compatible": (ChatCompletion.model_validate, ChatCompletionChunk.model_validate),
}
SPENT = {
    "openai_chat": Spent(read=500, thoughts=70, tier="flex"),
    "openai_responses": Spent(read=500, thoughts=70, searches=2, files=1, containers=1, tier="priority"),
    "anthropic": Spent(read=500, short=300, hour=200, searches=2),
    "gemini": Spent(read=500, thoughts=70, searches=2, sound_in=90),
    "openrouter": Spent(read=500, thoughts=70),
    "openai_compatible": Spent(read=500, thoughts=70),
}


@pytest.mark.parametrize("provider", ["named", "found by its shape"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", PARSERS)
def test_an_sdk_s_objects_are_read_as_their_json_is(api: str, streamed: bool, provider: str) -> None:
    whole, chunks = MAKERS[api](SPENT[api], MODELS[api])
    parse, parse_chunk = PARSERS[api]
    payload = [parse_chunk(chunk) for chunk in chunks] if streamed else parse(whole)
    reading = extract(api if provider == "named" else None, payload, model=MODELS[api])
    assert reading.doubts == ()
    assert reading.usage == extract(api, whole, model=MODELS[api]).usage
    assert reading.usage is not None
    assert BOOK.price(reading.usage) > 0


def test_fields_that_an_sdk_does_not_know_yet_are_read() -> None:
    whole = MAKERS["openrouter"](Spent(), "openai/gpt-4o")[0]
    usage = extract("openrouter", ChatCompletion.model_validate(whole)).usage
    assert usage is not None
    assert str(usage.stated_cost_usd) == "0.012300000"
    message = MAKERS["anthropic"](Spent(extra={"server_tool_use": {"oracle_requests": 2}}), "claude-opus-4-6")[0]
    assert extract(None, anthropic.types.Message.model_construct(**message)).doubts


def test_beta_messages_with_passes_that_compacted() -> None:
    iterations = [
        {"type": "compaction", "input_tokens": 90_000, "output_tokens": 2_000, **NO_CACHE},
        {"type": "message", "input_tokens": 1_000, "output_tokens": 10, **NO_CACHE},
        {"type": "message", "input_tokens": 200, "output_tokens": 30, **NO_CACHE},
        {"type": "advisor_message", "model": "claude-haiku-4-5", "input_tokens": 500, "output_tokens": 60, **NO_CACHE},
    ]
    whole = MAKERS["anthropic"](Spent(extra={"iterations": iterations}), "claude-opus-4-6")[0]
    reading = extract("anthropic", anthropic.types.beta.BetaMessage.model_validate(whole), model="claude-opus-4-6")
    assert reading.doubts == ()
    assert reading.usage is not None
    # claude-haiku-4-5: $1 and $5 a million (platform.claude.com, pricing).
    assert BOOK.price(reading.usage) == 91_200 * 5_000 + 2_040 * 25_000 + 500 * 1_000 + 60 * 5_000


def test_embeddings() -> None:
    body = {
        "object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 500, "total_tokens": 500},
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
    }  # fmt: skip
    reading = extract("openai", CreateEmbeddingResponse.model_validate(body))
    assert reading.exact
    assert reading.usage is not None
    assert BOOK.price(reading.usage) == 500 * 20


class Answer(BaseModel):
    """The answer to everything, in as many words as it takes."""

    number: int
    explanation: str


def look_up(place: str, count: int = 3) -> str:
    """Look up a place, and count what is found there."""
    return place * count


def test_requests_are_bounded_as_programs_hand_them_to_an_sdk() -> None:
    schema = text_bound(json.dumps(Answer.model_json_schema()))
    hello = [{"role": "user", "content": "hello"}]
    plain = bound({"model": "gpt-4o", "messages": hello}).input_tokens
    assert bound({"model": "gpt-4o", "messages": hello, "response_format": Answer}).input_tokens >= plain + schema
    assert bound({"model": "gpt-4o", "messages": hello, "max_tokens": openai.NOT_GIVEN}).output_tokens is None
    history = ChatCompletion.model_validate(MAKERS["openai_chat"](Spent(), "gpt-4o")[0]).choices[0].message
    most = bound({"model": "gpt-4o", "messages": [*hello, history]})
    assert most.input_tokens >= plain + text_bound(TEXT)
    blocks = anthropic.types.Message.model_validate(MAKERS["anthropic"](Spent(), "claude-opus-4-6")[0]).content
    turns = [*hello, {"role": "assistant", "content": blocks}]
    assert bound({"model": "claude-opus-4-6", "messages": turns}, api="anthropic").least_input_tokens >= 1


def test_google_s_configuration_is_part_of_the_request() -> None:
    config = genai.GenerateContentConfig(
        system_instruction="word " * 300,
        max_output_tokens=50,
        candidate_count=2,
        tools=[look_up],
        response_schema=Answer,
        response_modalities=[genai.Modality.AUDIO],
    )
    contents = genai.Content(role="user", parts=[genai.Part(text="hello")])
    most = bound({"model": "gemini-3.8-flash", "contents": contents, "config": config}, api="gemini")
    assert most.output_tokens == 100
    assert most.audio_output
    assert most.input_tokens > 750 + text_bound(json.dumps(Answer.model_json_schema()))


def test_an_answer_that_was_cut_is_charged_exactly_by_the_error_that_carries_it() -> None:
    whole = MAKERS["openai_chat"](Spent(said=300), "gpt-4o")[0]
    error = LengthFinishReasonError(completion=ParsedChatCompletion[Any].model_validate(whole))
    outcome = judge(error, model="gpt-4o")
    assert outcome.kind == "exact"
    assert outcome.reading is not None
    assert outcome.reading.usage is not None
    assert BOOK.price(outcome.reading.usage) == 1_200 * 2_500 + 300 * 10_000


def test_a_response_that_failed_in_the_middle_is_charged_by_its_usage() -> None:
    whole, events = MAKERS["openai_responses"](Spent(said=9), "gpt-5.5")
    events[-1] = {"type": "response.incomplete", "sequence_number": 9, "response": {**whole, "status": "incomplete"}}
    reading = extract("openai", [EVENTS.validate_python(each) for each in events], model="gpt-5.5")
    assert reading.exact
    events[-1] = {
        "type": "response.failed",
        "sequence_number": 9,
        "response": {**whole, "status": "failed", "usage": None},
    }
    assert extract("openai", [EVENTS.validate_python(each) for each in events]).doubts == (
        "the answer carries no usage",
    )

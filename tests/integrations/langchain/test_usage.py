"""What LangChain hands on of an answer, by the shapes of providers: charged exactly, or as reserved with a word."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from aegis_langchain import AegisCallbackHandler, GovernedChatModel
from aegis_langchain.usage import Heard, read_result
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.connect import connect_sync
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.settings import Settings
from aegis_core.testing.contract.base import reserved, spent

PROMPT = "word " * 60
MODEL = "gpt-4o-mini"
SENT, MADE = 80, 40
EXACT = SENT * Decimal("0.15e-6") + MADE * Decimal("0.6e-6")

SHAPES: dict[str, list[tuple[int, int] | None]] = {
    "the end": [*[None] * (MADE - 1), (SENT, MADE)],
    "pieces": [(SENT if number == 0 else 0, 1) for number in range(MADE)],
    "running totals": [(SENT, number + 1) for number in range(MADE)],
    "the input repeated": [(SENT, 1)] * MADE,
    "the start and the end": [(SENT, 1), *[None] * (MADE - 2), (SENT, MADE)],
}
"""Input and output tokens as reported by each chunk of a stream of one word each."""


@pytest.fixture
def aegis(settings: Settings) -> Iterator[SyncGovernedAgent]:
    with connect_sync(settings=settings) as governor:
        yield governor.handshake("langchain")


class Shaped(BaseChatModel):
    """Reports as it is told."""

    model_name: str = MODEL
    shape: str = "the end"
    message: Any = None
    output: Any = None

    @property
    def _llm_type(self) -> str:
        return "shaped"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_model_name": self.model_name, "ls_max_tokens": 64}

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        message = self.message or AIMessage("answer")
        return ChatResult(generations=[ChatGeneration(message=message)], llm_output=self.output)

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for counts in SHAPES[self.shape]:
            usage: Any = counts and {"input_tokens": counts[0], "output_tokens": counts[1], "total_tokens": sum(counts)}
            chunk = ChatGenerationChunk(message=AIMessageChunk("word ", usage_metadata=usage))
            if run_manager:
                run_manager.on_llm_new_token("word ", chunk=chunk)
            yield chunk


@pytest.mark.parametrize("place", ["model", "callback"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_counts_of_a_stream_are_counted_once(aegis: SyncGovernedAgent, shape: str, place: str) -> None:
    """Whether a provider reports pieces or totals."""
    model = Shaped(shape=shape)
    if place == "model":
        list(GovernedChatModel(aegis=aegis, models=model).stream(PROMPT))
    else:
        list(model.stream(PROMPT, {"callbacks": [AegisCallbackHandler(aegis)]}))
    assert spent(aegis) == pytest.approx(EXACT, abs=Decimal("0.7e-6"))
    assert reserved(aegis) == 0


@pytest.mark.parametrize("place", ["model", "callback"])
@pytest.mark.parametrize(
    "said",
    [
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": -3, "completion_tokens": 9},
        {"prompt_tokens": "80", "completion_tokens": "40"},
        {"prompt_tokens": 7 * 10**11, "completion_tokens": 1},
        {"prompt_tokens": 80, "completion_tokens": 0},
        {"prompt_tokens": 80, "completion_tokens": 500},
        {"prompt_tokens": 80, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 90}},
    ],
)
def test_a_count_that_cannot_be_costs_the_reservation(aegis: SyncGovernedAgent, said: Any, place: str) -> None:
    """The paid answer arrives, and nothing stays held."""
    model: Any = Shaped(output={"token_usage": said})
    if place == "model":
        assert GovernedChatModel(aegis=aegis, models=model).invoke(PROMPT).text == "answer"
    else:
        assert model.invoke(PROMPT, {"callbacks": [AegisCallbackHandler(aegis)]}).text == "answer"
    assert spent(aegis) > EXACT
    assert reserved(aegis) == 0


@pytest.mark.parametrize("said", [None, "n/a"])
def test_no_count_at_all_is_reckoned_by_the_text(aegis: SyncGovernedAgent, said: Any) -> None:
    GovernedChatModel(aegis=aegis, models=Shaped(output={"token_usage": said})).invoke(PROMPT)
    assert 0 < spent(aegis) < EXACT
    assert reserved(aegis) == 0


def claude(usage: dict[str, Any], content: Any = "answer") -> AIMessage:
    total = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    return AIMessage(content, usage_metadata=total, response_metadata={"usage": usage, "model_name": "claude"})


def test_anthropics_own_block_counts_before_what_is_made_of_it() -> None:
    block = {
        "input_tokens": 30, "output_tokens": 12, "cache_read_input_tokens": 1_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 500},
        "cache_creation_input_tokens": 500, "server_tool_use": {"web_search_requests": 2}, "inference_geo": "us",
    }  # fmt: skip
    result = ChatResult(generations=[ChatGeneration(message=claude(block))])
    usage = read_result(result, "claude-sonnet-4-5").usage
    assert usage is not None
    assert (usage.input_tokens, usage.cached_input_tokens, usage.cache_write_1h_tokens) == (1_530, 1_000, 500)
    assert (usage.web_searches, usage.inference_geo) == (2, "us")


def test_kinds_of_tokens_in_usage_metadata_are_read() -> None:
    """Also those before which langchain-openai writes a tier."""
    usage: Any = {
        "input_tokens": 900, "output_tokens": 300, "total_tokens": 1_230,
        "input_token_details": {"priority_cache_read": 400, "priority": 500, "audio": 10},
        "output_token_details": {"priority_reasoning": 250, "priority": 50},
    }  # fmt: skip
    heard = Heard()
    heard.add(ChatGenerationChunk(message=AIMessageChunk("answer", usage_metadata=usage)))
    found = heard.reading("gpt-5").usage
    assert found is not None
    assert (found.cached_input_tokens, found.audio_input_tokens, found.reasoning_tokens) == (400, 10, 250)
    assert (found.service_tier, found.unattributed_tokens) == ("priority", 30)


def test_calls_of_hosted_tools_are_counted_from_the_answer() -> None:
    usage: Any = {"input_tokens": 900, "output_tokens": 300, "total_tokens": 1_200}
    items = [
        {"type": "web_search_call", "id": "a"}, {"type": "web_search_call", "id": "b"},
        {"type": "code_interpreter_call", "container_id": "c"}, {"type": "code_interpreter_call", "container_id": "c"},
        {"type": "text", "text": "Found."},
    ]  # fmt: skip
    message = AIMessage(items, usage_metadata=usage)
    found = read_result(ChatResult(generations=[ChatGeneration(message=message)]), "gpt-5").usage
    assert found is not None
    assert (found.web_searches, found.code_sessions) == (2, 1)


def held_for(aegis: SyncGovernedAgent, content: Any, model: str = "claude-sonnet-4-5", **options: Any) -> Decimal:
    """What a call reserves: its answer carries no usage, and what could have thoughts is charged as reserved."""
    before = spent(aegis)
    governed = GovernedChatModel(aegis=aegis, models=Shaped(model_name=model), **options)
    governed.invoke([HumanMessage(content)])
    return spent(aegis) - before


def test_a_cache_point_is_reserved_at_its_price_and_nothing_else_is(aegis: SyncGovernedAgent) -> None:
    """Written for an hour costs twice, for five minutes a quarter more, and unasked nothing is written."""
    text = {"type": "text", "text": "word " * 4_000}
    plain = held_for(aegis, [text])
    minutes = held_for(aegis, [text | {"cache_control": {"type": "ephemeral"}}])
    hour = held_for(aegis, [text | {"cache_control": {"type": "ephemeral", "ttl": "1h"}}])
    fresh = 10_008 * Decimal("3e-6")
    assert minutes - plain == pytest.approx(fresh / 4, rel=Decimal("0.01"))
    assert hour - plain == pytest.approx(fresh, rel=Decimal("0.01"))


def test_what_lies_at_the_provider_is_reserved_as_the_window(aegis: SyncGovernedAgent) -> None:
    """Nobody here knows how long the response is that a call continues."""
    handler = AegisCallbackHandler(aegis)
    Shaped(model_name="gpt-5").invoke("Go on.", {"callbacks": [handler]})
    short = spent(aegis)
    model: Any = Shaped(model_name="gpt-5")
    model.bind(previous_response_id="resp_1").invoke("Go on.", {"callbacks": [handler]})
    assert spent(aegis) - short > 100 * short


def test_a_schema_is_input(aegis: SyncGovernedAgent) -> None:
    wide = {"type": "json_schema", "json_schema": {"name": "wide", "schema": {"description": "word " * 2_000}}}
    model: Any = Shaped(model_name="gpt-5")
    handler = AegisCallbackHandler(aegis)
    model.invoke("Hello", {"callbacks": [handler]})
    plain = spent(aegis)
    model.bind(response_format=wide).invoke("Hello", {"callbacks": [handler]})
    assert spent(aegis) - 2 * plain > 4_000 * Decimal("1.25e-6")


def test_a_hosted_tool_that_nothing_bounds_is_refused_with_a_remedy(aegis: SyncGovernedAgent) -> None:
    model: Any = Shaped(model_name="gpt-5")
    with pytest.raises(InvalidRequestError, match="max_tool_calls"):
        model.bind(tools=[{"type": "web_search"}]).invoke("Hello", {"callbacks": [AegisCallbackHandler(aegis)]})
    assert (spent(aegis), reserved(aegis)) == (0, 0)

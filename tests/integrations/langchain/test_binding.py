"""What a governed model sends is what the bare one sends, but for the cap: bound tools, schemas, and every keyword."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from aegis_langchain import AegisMiddleware, GovernedChatModel
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_anthropic import ChatAnthropic
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from loopback import Providers, providers
from loopback.answering import Said
from pydantic import BaseModel, Field

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.testing.contract.base import reserved, spent
from aegis_core.testing.contract.structured import wide
from integrations.calling import aegis, governor

__all__ = ["aegis", "governor"]

Make = Callable[[Providers], BaseChatModel]


class Recipe(BaseModel):
    """How to cook a dish."""

    dish: str = Field(description="What it is called")
    minutes: int = Field(description="How long it takes")


@tool(extras={"cache_control": {"type": "ephemeral"}})
def pantry(shelf: str) -> str:
    """What stands on a shelf."""
    return f"Salt stands on {shelf}."


@tool
def stove(degrees: int) -> str:
    """Heat the stove."""
    return f"It has {degrees} degrees."


@pytest.fixture
def at() -> Iterator[Providers]:
    with providers() as running:
        yield running


def openai(at: Providers, **values: Any) -> BaseChatModel:
    return ChatOpenAI(**{"model": "gpt-4.1-mini", "base_url": at.openai, "api_key": "none", "max_retries": 0, **values})


def responses(at: Providers, **values: Any) -> BaseChatModel:
    return openai(at, use_responses_api=True, **values)


def anthropic(at: Providers, **values: Any) -> BaseChatModel:
    kept: Any = {"model": "claude-sonnet-4-5", "base_url": at.root, "api_key": "none", "max_retries": 0}
    return ChatAnthropic(**(kept | values))


def gemini(at: Providers, **values: Any) -> BaseChatModel:
    kept: Any = {"model": "gemini-2.5-flash", "base_url": at.root, "api_key": "none", "max_retries": 1}
    return ChatGoogleGenerativeAI(**(kept | values))


def uncapped(body: Any) -> Any:
    """A request without the cap of its answer."""
    if not isinstance(body, dict):
        return body
    capless = {name: uncapped(each) for name, each in body.items() if not name.lower().startswith(("max_", "maxo"))}
    return {name: each for name, each in capless.items() if each != {}}


def both(at: Providers, aegis: SyncGovernedAgent, make: Make, use: Callable[[BaseChatModel], Any]) -> list[Any]:
    """Use a bare model and a governed one. Answers what came of each; they must have sent the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [use(make(at))]
        before = at.usd
        found.append(use(GovernedChatModel(aegis=aegis, models=make(at))))
    half = len(at.requests) // 2
    assert half
    assert [uncapped(each) for each in at.requests[half:]] == [uncapped(each) for each in at.requests[:half]]
    assert at.refused == []
    assert (spent(aegis), reserved(aegis)) == (at.usd - before, 0)
    return found


ASK = "Call the pantry: what stands on shelf 'b'?"

BINDINGS: dict[str, tuple[Make, Callable[[BaseChatModel], Any]]] = {
    "strict tools": (openai, lambda m: m.bind_tools([stove], strict=True).invoke(ASK)),
    "a forced tool": (openai, lambda m: m.bind_tools([pantry, stove], tool_choice="stove").invoke(ASK)),
    "one at a time": (openai, lambda m: m.bind_tools([pantry], parallel_tool_calls=False).invoke(ASK)),
    "tools and a schema": (openai, lambda m: m.bind_tools([stove], response_format=Recipe).invoke("Cook 'rice'.")),
    "tools of responses": (responses, lambda m: m.bind_tools([pantry], tool_choice="any").invoke(ASK)),
    "instructions": (responses, lambda m: m.invoke(ASK, instructions="Be brief.", reasoning={"effort": "low"})),
    "any keyword": (openai, lambda m: m.bind(seed=4, logprobs=True, user="u-1", stop=["\n\n"]).invoke(ASK)),
    "a tier": (openai, lambda m: m.invoke(ASK, service_tier="default", verbosity="low")),
    "cached tools": (anthropic, lambda m: m.bind_tools([pantry, stove]).invoke(ASK)),
    "a forced tool of claude": (anthropic, lambda m: m.bind_tools([pantry, stove], tool_choice="stove").invoke(ASK)),
    "claude thinks": (lambda at: anthropic(at, thinking={"type": "enabled", "budget_tokens": 1_024}, max_tokens=3_000),
                      lambda m: m.bind_tools([pantry]).invoke(ASK)),
    "keywords of claude": (anthropic, lambda m: m.invoke(ASK, top_k=3, stop=["###"])),
    "a forced tool of gemini": (gemini, lambda m: m.bind_tools([pantry, stove], tool_choice="stove").invoke(ASK)),
    "keywords of gemini": (gemini, lambda m: m.invoke(ASK, top_k=3, thinking_budget=0, stop=["###"])),
}  # fmt: skip


@pytest.mark.parametrize("name", BINDINGS)
def test_the_same_is_sent(at: Providers, aegis: SyncGovernedAgent, name: str) -> None:
    make, use = BINDINGS[name]
    bare, ours = both(at, aegis, make, use)
    assert (ours.text, [call["args"] for call in ours.tool_calls]) == (
        bare.text, [call["args"] for call in bare.tool_calls],
    )  # fmt: skip


def test_what_is_sent_holds_what_was_bound(at: Providers, aegis: SyncGovernedAgent) -> None:
    """Lest both be empty."""
    GovernedChatModel(aegis=aegis, models=anthropic(at)).bind_tools([pantry]).invoke(ASK)
    GovernedChatModel(aegis=aegis, models=openai(at)).bind_tools([stove], strict=True).invoke(ASK)
    assert at.requests[0]["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert at.requests[1]["tools"][0]["function"]["strict"] is True


SHAPED = [
    (openai, "json_schema"), (openai, "function_calling"), (openai, "json_mode"), (openai, None),
    (responses, "json_schema"), (anthropic, "function_calling"), (anthropic, "json_schema"), (anthropic, None),
    (gemini, "json_schema"), (gemini, "function_calling"), (gemini, None),
]  # fmt: skip


@pytest.mark.parametrize(("make", "method"), SHAPED)
@pytest.mark.parametrize("raw", [False, True], ids=["parsed", "raw"])
def test_answers_have_the_shape_that_was_asked_for(
    at: Providers, aegis: SyncGovernedAgent, make: Make, method: str | None, raw: bool
) -> None:
    options: Any = {"include_raw": raw} | ({} if method is None else {"method": method})

    def use(model: BaseChatModel) -> Any:
        chain = model.with_structured_output(Recipe, **options)
        return chain.invoke("As JSON with 'dish' and 'minutes': rice, 20 minutes, please.")

    if method == "json_mode":
        at.reply = lambda asked: Said('{"dish": "rice", "minutes": 20}')
    bare, ours = both(at, aegis, make, use)
    found = ours["parsed"] if raw else ours
    assert isinstance(found, Recipe)
    assert found.minutes == 20
    assert not raw or bare["parsed"] == found


@pytest.mark.parametrize("make", [openai, anthropic, gemini])
@pytest.mark.parametrize("way", ["middleware", "model"])
@pytest.mark.parametrize("shape", [Recipe, ToolStrategy(Recipe), ProviderStrategy(Recipe)], ids=["auto", "tool", "own"])
def test_an_agents_answer_has_its_shape(
    at: Providers, aegis: SyncGovernedAgent, make: Make, way: str, shape: Any
) -> None:
    model: Any = make(at)
    if way == "model":
        model = GovernedChatModel(aegis=aegis, models=model)
    agent: Any = create_agent(
        model, [stove], middleware=[AegisMiddleware(aegis)] if way == "middleware" else [], response_format=shape
    )
    state = agent.invoke({"messages": [("user", "Tell me a recipe of rice in 20 minutes.")]})
    assert state["structured_response"].minutes == 20
    assert at.refused == []
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)


def test_a_cached_tool_is_charged_for_what_is_written(at: Providers, aegis: SyncGovernedAgent) -> None:
    at.reply = lambda _: Said("Salt.", sent=3_000, written=2_500)
    GovernedChatModel(aegis=aegis, models=anthropic(at)).bind_tools([pantry]).invoke(ASK)
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)


def test_each_of_several_models_binds_in_its_own_way(at: Providers, aegis: SyncGovernedAgent) -> None:
    models = [
        gemini(at, model="gemini-2.5-flash-lite"), anthropic(at, model="claude-opus-4-5"),
        openai(at, model="gpt-5-mini", max_tokens=90),
    ]  # fmt: skip
    shapes = {
        "gemini-2.5-flash-lite": "functionDeclarations", "claude-opus-4-5": "input_schema", "gpt-5-mini": "function",
    }  # fmt: skip
    for density in range(1, 11):
        model = GovernedChatModel(aegis=aegis, models=models, logic_density=density)
        answer = model.bind_tools([pantry, stove], tool_choice="pantry").bind(stop=["###"]).invoke(ASK)
        assert [call["name"] for call in answer.tool_calls] == ["pantry"]
        assert shapes[at.models[-1]] in at.requests[-1]["tools"][0]
    assert (set(at.models), at.refused) == (set(shapes), [])
    assert {bill.cap for bill in at.bills} == {90}
    assert all("'###'" in str(each) for each in at.requests)
    assert spent(aegis) == at.usd


def test_several_models_answer_in_one_shape(at: Providers, aegis: SyncGovernedAgent) -> None:
    models = [openai(at, model="gpt-4o"), gemini(at), anthropic(at, model="claude-opus-4-5")]
    for density in (5, 8, 10):
        chain = GovernedChatModel(aegis=aegis, models=models, logic_density=density).with_structured_output(Recipe)
        assert chain.invoke("Rice takes 20 minutes.").minutes == 20
    assert at.models == ["gemini-2.5-flash", "gpt-4o", "claude-opus-4-5"]
    with pytest.raises(ConfigurationError, match="method='function_calling'"):
        GovernedChatModel(aegis=aegis, models=models).with_structured_output(Recipe, method="json_schema")
    same = [openai(at, model="gpt-4o"), openai(at)]
    chain = GovernedChatModel(aegis=aegis, models=same, logic_density=9).with_structured_output(Recipe)
    assert chain.invoke("Rice takes 20 minutes.").minutes == 20
    assert "response_format" in at.requests[-1], "models of one class keep their own way"


def test_a_model_that_a_call_names_is_charged_at_its_own_price(at: Providers, aegis: SyncGovernedAgent) -> None:
    """Not as the one that was governed, which is cheaper."""
    at.reply = lambda _: Said("Rice.", sent=4_000, made=10)
    cheap = GovernedChatModel(aegis=aegis, models=openai(at, model="gpt-4.1-nano"))
    cheap.invoke(ASK, model="gpt-4o")
    cheap.bind(model="o3-mini").invoke(ASK)
    several = [openai(at, model="gpt-4.1-nano"), anthropic(at)]
    GovernedChatModel(aegis=aegis, models=several, logic_density=1).invoke(ASK, model="claude-sonnet-4-5")
    assert at.models == ["gpt-4o", "o3-mini", "claude-sonnet-4-5"]
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)


def test_what_a_model_can_do_is_said_as_it_says_it(at: Providers, aegis: SyncGovernedAgent) -> None:
    one = GovernedChatModel(aegis=aegis, models=anthropic(at))
    assert one.profile == anthropic(at).profile
    assert one._llm_type == "anthropic-chat"
    both_kinds = GovernedChatModel(aegis=aegis, models=[anthropic(at), gemini(at)])
    profile: Any = both_kinds.profile
    assert profile["structured_output"] is False, "they take a schema in different ways"
    assert profile["max_input_tokens"] == min(
        (each.profile or {})["max_input_tokens"] for each in (anthropic(at), gemini(at))
    )


class Hears(BaseCallbackHandler):
    def __init__(self) -> None:
        self.words: list[str] = []

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.words.append(str(token))


def test_a_model_that_always_streams_streams(at: Providers, aegis: SyncGovernedAgent) -> None:
    heard: list[list[str]] = []

    def use(model: BaseChatModel) -> Any:
        hears = Hears()
        answer = model.invoke(ASK, {"callbacks": [hears]})
        heard.append(hears.words)
        return answer

    both(at, aegis, lambda at: openai(at, streaming=True, stream_usage=True), use)
    assert heard[0] == heard[1]
    assert len(heard[0]) > 3


def test_a_chain_without_a_place_for_a_governed_model_is_refused(at: Providers, aegis: SyncGovernedAgent) -> None:
    class Hiding(ChatOpenAI):
        def with_structured_output(self, schema: Any = None, **_: Any) -> Any:
            return RunnableLambda(self.invoke)

    hiding = Hiding(model="gpt-4.1-mini", base_url=at.openai, api_key="none")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="keeps its model where Aegis cannot stand before it"):
        GovernedChatModel(aegis=aegis, models=hiding).with_structured_output(Recipe)


def test_schemas_are_a_part_of_what_is_reserved(at: Providers, governor: Any, aegis: SyncGovernedAgent) -> None:
    """Each provider's own keyword for it, whatever it is called."""
    for make in (openai, responses, anthropic, gemini):
        model = GovernedChatModel(aegis=aegis, models=make(at), max_output_tokens=20)
        before = len(at.requests)
        governor.set_budget("agent", aegis.agent_id, "day", spent(aegis) + 5 * _price_of_a_word(at, model))
        with pytest.raises(AegisDenied):
            model.with_structured_output(wide(), method="json_schema").invoke("Go.")
        assert len(at.requests) == before
        model.invoke("Go.")
    assert spent(aegis) == at.usd


def _price_of_a_word(at: Providers, model: GovernedChatModel) -> Any:
    """What the smallest call of a model holds, about."""
    per_million = {"gpt-4.1-mini": "1.6", "claude-sonnet-4-5": "15", "gemini-2.5-flash": "2.5"}[model.model_name]
    return Decimal(per_million) * 20 / 1_000_000

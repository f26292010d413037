"""Each provider gets the cap under the name that it takes, from each adapter, also where Aegis may choose."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from loopback import Providers, providers
from loopback.answering import Asked, Said
from loopback.clients import without_temperature

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing.contract.base import lower_budget, reserved, spent

from .calling import aegis, governor

__all__ = ["aegis", "governor"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Resolved model mismatch"),  # agentchat expects a dated name in the answer
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

WORDS = Said("It rained all day.", sent=300, made=40, thoughts=25)


def rains(_: Asked) -> Said:
    return WORDS


@pytest.fixture
def at() -> Any:
    with providers(rains) as running:
        yield running


def openai_model(at: Providers, model: str, **options: Any) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=model, base_url=at.openai, api_key="none", max_retries=0, **options)


def claude(at: Providers, model: str = "claude-haiku-4-5", **options: Any) -> Any:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model=model, base_url=at.root, api_key="none", max_retries=0, **options)


def gemini(at: Providers, model: str = "gemini-2.5-flash-lite", **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_google_genai import ChatGoogleGenerativeAI

        return ChatGoogleGenerativeAI(model=model, base_url=at.root, api_key="none", max_retries=1, **options)


def chat_client(at: Providers, model: str, **options: Any) -> Any:
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    info: Any = {
        "vision": False, "function_calling": True, "json_output": True, "family": "unknown", "structured_output": True,
    }  # fmt: skip
    return OpenAIChatCompletionClient(
        model=model, base_url=at.openai, api_key="none", max_retries=0, model_info=info, **options
    )


def claude_client(at: Providers, model: str = "claude-haiku-4-5", **options: Any) -> Any:
    from autogen_ext.models.anthropic import AnthropicChatCompletionClient

    info: Any = {
        "vision": False, "function_calling": True, "json_output": True, "family": "unknown", "structured_output": True,
    }  # fmt: skip
    return without_temperature(
        AnthropicChatCompletionClient(model=model, base_url=at.root, api_key="none", model_info=info, **options)
    )


def asked_once(client: Any, aegis: Any, extra: Mapping[str, Any] | None = None, **options: Any) -> None:
    from aegis_autogen.agentchat import GovernedChatCompletionClient
    from autogen_core.models import UserMessage

    async def ask() -> None:
        governed = GovernedChatCompletionClient(client, aegis, **options)
        await governed.create([UserMessage(content="And today?", source="user")], extra_create_args=extra or {})
        await governed.close()

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("model", "options", "sent"),
    [
        ("o3-mini", {}, {"max_completion_tokens": 2_000}),
        ("gpt-5-nano", {"max_completion_tokens": 700}, {"max_completion_tokens": 700}),
        ("gpt-4.1-nano", {}, {"max_tokens": 2_000}),
        ("gpt-4.1-nano", {"max_completion_tokens": 700}, {"max_completion_tokens": 700}),
        ("gpt-4.1-nano", {"max_tokens": 600}, {"max_tokens": 600}),
    ],
)
def test_agentchat_names_the_cap_by_model_and_settings(
    at: Providers, aegis: SyncGovernedAgent, model: str, options: dict[str, int], sent: dict[str, int]
) -> None:
    asked_once(chat_client(at, model, **options), aegis, max_output_tokens=2_000)
    assert {name: value for name, value in at.requests[0].items() if "tokens" in name} == sent
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)


def test_a_caller_of_agentchat_may_use_either_name(at: Providers, aegis: SyncGovernedAgent) -> None:
    asked_once(chat_client(at, "o3-mini"), aegis, {"max_tokens": 500})
    asked_once(chat_client(at, "gpt-4.1-nano"), aegis, {"max_completion_tokens": 400})
    assert [bill.cap for bill in at.bills] == [500, 400]
    assert at.refused == []


def test_a_cap_that_is_configured_is_what_is_reserved(at: Providers, governor: Any, aegis: SyncGovernedAgent) -> None:
    """700 tokens of gpt-5-nano cost $0.00028; 4,096 would be refused."""
    lower_budget(governor, aegis, "0.0003")
    asked_once(chat_client(at, "gpt-5-nano", max_completion_tokens=700), aegis, max_output_tokens=20_000)
    assert at.bills[0].cap == 700


def test_agentchat_chooses_among_providers_at_each_density(at: Providers, aegis: SyncGovernedAgent) -> None:
    for density in range(1, 11):
        models = {
            "gpt-5-mini": chat_client(at, "gpt-5-mini"),
            "gpt-4o": chat_client(at, "gpt-4o", max_completion_tokens=900),
            "claude-haiku-4-5": claude_client(at),
            "claude-opus-4-5": claude_client(at, "claude-opus-4-5"),
        }
        asked_once(models["gpt-4o"], aegis, models=models, logic_density=density, max_output_tokens=1_500)
    assert (at.refused, {bill.cap for bill in at.bills}) == ([], {900})
    assert set(at.models) == {"gpt-5-mini", "claude-haiku-4-5", "gpt-4o", "claude-opus-4-5"}
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_langchain_chooses_among_providers_at_each_density(
    at: Providers, aegis: SyncGovernedAgent, streamed: bool
) -> None:
    from aegis_langchain import GovernedChatModel

    behind = [
        openai_model(at, "gpt-5-mini"), gemini(at), claude(at), openai_model(at, "gpt-4o", max_tokens=800),
        claude(at, "claude-opus-4-5"),
    ]  # fmt: skip
    for density in range(1, 11):
        model = GovernedChatModel(aegis=aegis, models=behind, logic_density=density, max_output_tokens=1_200)
        _ = list(model.stream("And today?")) if streamed else model.invoke("And today?")
    assert (at.refused, {bill.cap for bill in at.bills}) == ([], {800})
    assert set(at.models) == {
        "gemini-2.5-flash-lite", "gpt-5-mini", "claude-haiku-4-5", "gpt-4o", "claude-opus-4-5",
    }  # fmt: skip
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)


@pytest.mark.parametrize(
    ("made", "said", "cap"),
    [
        (lambda at: openai_model(at, "o3-mini"), {"max_tokens": 300}, 300),
        (lambda at: openai_model(at, "gpt-5-nano", max_completion_tokens=310), {}, 310),
        (lambda at: openai_model(at, "gpt-5-nano", use_responses_api=True), {"max_output_tokens": 320}, 320),
        (gemini, {"max_tokens": 330}, 330),
        (lambda at: gemini(at, max_output_tokens=340), {}, 340),
        (gemini, {"generation_config": {"max_output_tokens": 99_000}}, 4_096),
        (claude, {"max_completion_tokens": 350}, 350),
        (claude, {}, 4_096),
    ],
    ids=["o3", "configured", "responses", "gemini", "gemini configured", "gemini config", "claude", "default"],
)
def test_langchain_translates_the_cap(
    at: Providers, aegis: SyncGovernedAgent, made: Callable[[Providers], Any], said: dict[str, Any], cap: int
) -> None:
    from aegis_langchain import GovernedChatModel

    GovernedChatModel(aegis=aegis, models=made(at)).invoke("And today?", **said)
    assert ([bill.cap for bill in at.bills], at.refused) == ([cap], [])
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)


def test_a_model_that_keeps_its_cap_to_itself_is_called_as_a_copy(aegis: SyncGovernedAgent) -> None:
    """As langchain-ollama's: a keyword for it would go to a server that does not know it."""
    from aegis_langchain import GovernedChatModel
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    seen: list[Any] = []

    class ChatOllama(BaseChatModel):
        model: str = "gpt-4o-mini"
        num_predict: int | None = None

        @property
        def _llm_type(self) -> str:
            return "chat-ollama"

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            seen.append((self.num_predict, kwargs))
            return ChatResult(generations=[ChatGeneration(message=AIMessage("Yes."))])

    own = ChatOllama(num_predict=75)
    GovernedChatModel(aegis=aegis, models=own, max_output_tokens=60).invoke("And today?", seed=3)
    GovernedChatModel(aegis=aegis, models=own).invoke("And today?", num_predict=70)
    assert seen == [(60, {"seed": 3}), (70, {})]
    assert own.num_predict == 75


@pytest.mark.parametrize(
    ("model", "options", "sent"),
    [
        ("gpt-5-nano", {"max_tokens": 600}, {"max_completion_tokens": 600}),
        ("o3-mini", {}, {"max_completion_tokens": 4_096}),
        ("gpt-4.1-nano", {"max_completion_tokens": 500}, {"max_completion_tokens": 500}),
        ("gpt-4.1-nano", {}, {"max_tokens": 4_096}),
    ],
)
def test_classic_autogen_names_the_cap_by_model(
    at: Providers, aegis: SyncGovernedAgent, model: str, options: dict[str, int], sent: dict[str, int]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from aegis_autogen import register_governor
        from autogen import ConversableAgent

        entry = {"model": model, "base_url": at.openai, "api_key": "none", **options}
        agent = ConversableAgent("a", llm_config={"config_list": [entry], "cache_seed": None}, human_input_mode="NEVER")
        register_governor(agent, aegis)
        agent.generate_reply([{"role": "user", "content": "And today?"}])
    assert {name: value for name, value in at.requests[0].items() if "tokens" in name} == sent
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("openai/gpt-5-nano", {"max_completion_tokens": 250}),
        ("openai/gpt-4.1-nano", {"max_tokens": 250}),
        ("anthropic/claude-haiku-4-5", {"max_tokens": 250}),
        ("gemini/gemini-2.5-flash-lite", {"maxOutputTokens": 250}),
    ],
)
def test_crewai_sends_the_cap_of_models_that_are_named(
    at: Providers, aegis: SyncGovernedAgent, monkeypatch: pytest.MonkeyPatch, name: str, sent: dict[str, int]
) -> None:
    for provider in ("OPENAI", "ANTHROPIC", "GOOGLE"):
        monkeypatch.setenv(f"{provider}_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", at.openai)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", at.root)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", at.root)
    monkeypatch.setenv("CREWAI_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from aegis_crewai import GovernedLLM

        GovernedLLM(aegis=aegis, models=name, max_output_tokens=250).call("And today?")
    (body,) = at.requests
    found = body.get("generationConfig", body)
    assert {key: value for key, value in found.items() if "okens" in key} == sent
    assert (spent(aegis), reserved(aegis)) == (at.usd, 0)

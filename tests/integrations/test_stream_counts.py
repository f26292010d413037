"""Streams of a provider that bills: asked for their usage, counted once, and else reckoned by their text."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings, quiet_zone
from aegis_core.testing.contract.base import reserved, spent

from .billing import QUESTION, USAGE, Answer, Billing, billing

PRICE = Decimal("0.15e-6") * USAGE["prompt_tokens"] + Decimal("0.6e-6") * USAGE["completion_tokens"]


def governed_model(url: str, aegis: Any, **options: Any) -> None:
    from aegis_langchain import GovernedChatModel
    from langchain_openai import ChatOpenAI

    inner = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="none", max_tokens=64, max_retries=0, **options)
    list(GovernedChatModel(aegis=aegis, models=inner).stream(QUESTION))


def governed_model_async(url: str, aegis: Any, **options: Any) -> None:
    from aegis_langchain import GovernedChatModel
    from langchain_openai import ChatOpenAI

    async def read() -> None:
        inner = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="none", max_tokens=64, max_retries=0, **options)
        async for _ in GovernedChatModel(aegis=aegis, models=inner).astream(QUESTION):
            pass

    asyncio.run(read())


def callback(url: str, aegis: Any, **options: Any) -> None:
    from aegis_langchain import AegisCallbackHandler
    from langchain_openai import ChatOpenAI

    inner = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="none", max_tokens=64, max_retries=0, **options)
    list(inner.stream(QUESTION, {"callbacks": [AegisCallbackHandler(aegis)]}))


def crew(url: str, aegis: Any) -> None:
    from aegis_crewai import GovernedLLM
    from crewai import LLM

    inner = LLM(model="openai/gpt-4o-mini", base_url=url, api_key="none", max_tokens=64, max_retries=0, stream=True)
    GovernedLLM(aegis=aegis, models=inner).call(QUESTION)


def agentchat(url: str, aegis: Any, **options: Any) -> None:
    from aegis_autogen.agentchat import GovernedChatCompletionClient
    from autogen_core.models import UserMessage
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def read() -> None:
        inner = OpenAIChatCompletionClient(model="gpt-4o-mini", base_url=url, api_key="none", max_retries=0, **options)
        client = GovernedChatCompletionClient(inner, aegis, max_output_tokens=64)
        async for _ in client.create_stream([UserMessage(content=QUESTION, source="user")]):
            pass
        await client.close()

    asyncio.run(read())


def classic(url: str, aegis: Any) -> None:
    from aegis_autogen import register_governor
    from autogen import ConversableAgent

    entry = {"model": "gpt-4o-mini", "base_url": url, "api_key": "none", "max_tokens": 64, "stream": True}
    agent = ConversableAgent("a", llm_config={"config_list": [entry], "cache_seed": None}, human_input_mode="NEVER")
    register_governor(agent, aegis)
    agent.generate_reply([{"role": "user", "content": QUESTION}])


ADAPTERS: dict[str, Callable[..., None]] = {
    each.__name__: each for each in (governed_model, governed_model_async, callback, crew, agentchat, classic)
}
ASKS = [name for name in ADAPTERS if name != "callback"]
"""Those that ask a stream for its usage, themselves or by what their framework does."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    handle = join_sync(None, throwaway=True)
    yield handle.url
    handle.leave_sync()


@pytest.fixture
def governor(server: str) -> Iterator[SyncGovernor]:
    settings = private_settings(url=server, tenant=f"t-{uuid4().hex[:12]}", timezone=quiet_zone())
    with connect_sync(settings=settings) as governor:
        yield governor


@pytest.fixture
def aegis(governor: SyncGovernor) -> SyncGovernedAgent:
    return governor.handshake("caller")


def read(adapter: str, provider: Billing, aegis: SyncGovernedAgent, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own
        ADAPTERS[adapter](provider.url, aegis, **options)


@pytest.mark.parametrize("adapter", ASKS)
def test_a_stream_is_asked_for_its_usage_and_charged_exactly(aegis: SyncGovernedAgent, adapter: str) -> None:
    with billing() as provider:
        read(adapter, provider, aegis)
        assert [body["stream_options"]["include_usage"] for body in provider.requests] == [True]
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)


@pytest.mark.parametrize("adapter", ["governed_model", "governed_model_async", "callback", "agentchat"])
def test_running_totals_in_every_chunk_count_once(aegis: SyncGovernedAgent, adapter: str) -> None:
    """Servers repeat them, and their sum is many times the truth."""
    with billing(Answer(counts="running", text="word " * 40)) as provider:
        read(adapter, provider, aegis)
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)


@pytest.mark.parametrize("adapter", ["governed_model", "governed_model_async", "agentchat"])
def test_a_server_that_knows_no_such_option_is_asked_without_it(aegis: SyncGovernedAgent, adapter: str) -> None:
    """It is remembered of that server. What arrives is charged by its text, and marked."""
    with billing(Answer(counts="refused")) as provider:
        read(adapter, provider, aegis)
        read(adapter, provider, aegis)
        assert ["stream_options" in body for body in provider.requests] == [True, False, False]
    assert 0 < spent(aegis) < Decimal("0.0002")
    assert reserved(aegis) == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_stream_without_usage_is_charged_by_its_text(
    governor: SyncGovernor, aegis: SyncGovernedAgent, adapter: str
) -> None:
    """Input at its bound and output by what arrived, of a model without thoughts: far less than was reserved."""
    with billing(Answer(counts="never")) as provider:
        read(adapter, provider, aegis)
    (settled,) = [event for event in governor.events() if event.kind == "settled"]
    facts = settled.facts
    assert facts["estimated"]
    assert PRICE < Decimal(facts["charged_usd"]) < Decimal(facts["amount_usd"])
    assert reserved(aegis) == 0


@pytest.mark.parametrize(
    ("adapter", "options"),
    [
        ("governed_model", {"stream_usage": False}),
        ("governed_model", {"model_kwargs": {"stream_options": {"include_usage": False}}}),
        ("agentchat", {"stream_options": {"include_usage": False}}),
    ],
)
def test_who_says_no_is_not_asked(aegis: SyncGovernedAgent, adapter: str, options: Any) -> None:
    with billing() as provider:
        read(adapter, provider, aegis, **options)
        said = [(body.get("stream_options") or {}).get("include_usage") for body in provider.requests]
        assert said in ([None], [False])
    assert spent(aegis) > PRICE

"""Calls whose answer was lost, cut or refused, by real SDKs against a provider that bills: through every adapter."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.protocol.denial import AegisDenied
from aegis_core.settings import Settings
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings, quiet_zone
from aegis_core.testing.contract.base import reserved, spent

from .billing import QUESTION, USAGE, Answer, Billing, billing

pytestmark = pytest.mark.concurrent

PRICE = Decimal("0.15e-6") * USAGE["prompt_tokens"] + Decimal("0.6e-6") * USAGE["completion_tokens"]
HANGS, FAILS = Answer(hangs=True), Answer(500)
PATIENCE = 0.4
"""Seconds after which a client gives a call up."""

Call = Callable[[str, Any, int, Any], None]
"""Makes one call of gpt-4o-mini: at this address, as this agent, with so many repeats of the SDK, for this schema."""


class Weather(BaseModel):
    sunny: bool
    place: str


def governed_model(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_langchain import GovernedChatModel
    from langchain_openai import ChatOpenAI

    inner = ChatOpenAI(
        model="gpt-4o-mini", base_url=url, api_key="none", timeout=PATIENCE, max_tokens=64, max_retries=repeats
    )
    bound: Any = {} if schema is None else {"response_format": schema}
    GovernedChatModel(aegis=aegis, models=inner).invoke(QUESTION, **bound)


def callback(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_langchain import AegisCallbackHandler
    from langchain_openai import ChatOpenAI

    inner: Any = ChatOpenAI(
        model="gpt-4o-mini", base_url=url, api_key="none", timeout=PATIENCE, max_tokens=64, max_retries=repeats
    )
    inner = inner if schema is None else inner.bind(response_format=schema)
    inner.invoke(QUESTION, {"callbacks": [AegisCallbackHandler(aegis)]})


def crew(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_crewai import GovernedLLM
    from crewai import LLM

    inner = LLM(
        model="openai/gpt-4o-mini", base_url=url, api_key="none", timeout=PATIENCE, max_tokens=64, max_retries=repeats
    )
    GovernedLLM(aegis=aegis, models=inner).call(QUESTION, response_model=schema)


def agentchat(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_autogen.agentchat import GovernedChatCompletionClient
    from autogen_core.models import UserMessage
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def ask() -> None:
        inner = OpenAIChatCompletionClient(
            model="gpt-4o-mini", base_url=url, api_key="none", timeout=PATIENCE, max_retries=repeats
        )
        client = GovernedChatCompletionClient(inner, aegis, max_output_tokens=64)
        await client.create([UserMessage(content=QUESTION, source="user")], json_output=schema)
        await client.close()

    asyncio.run(ask())


def classic(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_autogen import register_governor
    from autogen import ConversableAgent

    entry = {"model": "gpt-4o-mini", "base_url": url, "api_key": "none", "timeout": PATIENCE, "max_tokens": 64}
    entry |= {"max_retries": repeats} | ({} if schema is None else {"response_format": schema})
    agent = ConversableAgent("a", llm_config={"config_list": [entry], "cache_seed": None}, human_input_mode="NEVER")
    register_governor(agent, aegis)
    agent.generate_reply([{"role": "user", "content": QUESTION}])


ADAPTERS: dict[str, Call] = {each.__name__: each for each in (governed_model, callback, crew, agentchat, classic)}
WATCHED = [name for name in ADAPTERS if name != "callback"]
"""Those that see each attempt of the SDK."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    handle = join_sync(None, throwaway=True)
    yield handle.url
    handle.leave_sync()


@pytest.fixture
def governor(server: str) -> Iterator[SyncGovernor]:
    settings: Settings = private_settings(url=server, tenant=f"t-{uuid4().hex[:12]}", timezone=quiet_zone())
    with connect_sync(settings=settings) as governor:
        yield governor


@pytest.fixture
def aegis(governor: SyncGovernor) -> SyncGovernedAgent:
    return governor.handshake("caller")


def called(adapter: str, provider: Billing, aegis: SyncGovernedAgent, repeats: int = 0, schema: Any = None) -> Any:
    """The error of a call, if any."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the frameworks' own, some of which come when they are imported
            ADAPTERS[adapter](provider.url, aegis, repeats, schema)
    except Exception as error:
        return error
    return None


def settlements(governor: SyncGovernor) -> list[Any]:
    return [event for event in governor.events() if event.kind == "settled"]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_call_that_times_out_is_charged_as_reserved(
    governor: SyncGovernor, aegis: SyncGovernedAgent, adapter: str
) -> None:
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis) is not None
        assert len(provider.requests) == 1
    (settled,) = settlements(governor)
    assert settled.facts["estimated"]
    assert spent(aegis) > 0
    assert reserved(aegis) == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_attempt_that_may_be_billed_is_charged(
    governor: SyncGovernor, aegis: SyncGovernedAgent, adapter: str
) -> None:
    """The SDK asked twice by itself, and nobody knows of either what it computed."""
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis) is not None
    once = spent(aegis)
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis, repeats=1) is not None
        assert provider.attempts == ["0", "1"]
    assert spent(aegis) == 3 * once
    assert reserved(aegis) == 0


@pytest.mark.parametrize("adapter", WATCHED)
def test_an_answer_after_lost_ones_is_charged_exactly_beside_them(aegis: SyncGovernedAgent, adapter: str) -> None:
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis) is not None
    once = spent(aegis)
    with billing(HANGS, Answer()) as provider:
        assert called(adapter, provider, aegis, repeats=1) is None
    assert spent(aegis) == 2 * once + PRICE
    assert reserved(aegis) == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_attempts_that_computed_nothing_are_free(aegis: SyncGovernedAgent, adapter: str) -> None:
    with billing(FAILS, Answer()) as provider:
        assert called(adapter, provider, aegis, repeats=1) is None
        assert len(provider.requests) == 2
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)
    refused = Billing()
    refused.url = provider.url  # nobody listens there any more
    assert called(adapter, refused, aegis) is not None
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)


@pytest.mark.parametrize("adapter", WATCHED)
def test_a_further_attempt_is_refused_where_the_money_is_gone(
    governor: SyncGovernor, aegis: SyncGovernedAgent, adapter: str
) -> None:
    """The first one is charged as reserved, and the second is not sent."""
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis) is not None
    once = spent(aegis)
    governor.set_budget("agent", aegis.agent_id, "day", once * Decimal("2.2"))
    with billing(HANGS) as provider:
        error = called(adapter, provider, aegis, repeats=5)
        assert len(provider.requests) == 1
    denied = AegisDenied.from_exception(error)
    assert denied is not None
    assert denied.code == "budget_exceeded"
    assert (spent(aegis), reserved(aegis)) == (2 * once, 0)


@pytest.mark.parametrize("adapter", WATCHED)
def test_an_answer_that_is_not_what_was_asked_for_is_charged_exactly(aegis: SyncGovernedAgent, adapter: str) -> None:
    """The SDK refuses it; it came whole, with its usage."""
    with billing(Answer(text='{"sunny": "perhaps"}')) as provider:
        called(adapter, provider, aegis, schema=Weather)
        assert len(provider.requests) == 1
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_answer_that_is_cut_at_the_cap_is_charged_exactly(aegis: SyncGovernedAgent, adapter: str) -> None:
    """The structured answer cannot be read, and was billed: the error carries its usage."""
    with billing(Answer(text='{"sunny": tr', finish="length")) as provider:
        called(adapter, provider, aegis, schema=Weather)
        assert len(provider.requests) == 1
        assert "sunny" in json.dumps(provider.requests[0]["response_format"])
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)

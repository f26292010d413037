"""After a refusal no other model is called in the refused one's place, unless Aegis grants that, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aegis_langchain import AegisMiddleware, GovernedChatModel
from aegis_langchain.fallbacks import watch_fallbacks
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from aegis_core import AegisDenied, Settings, StoreError, connect_sync
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.store.embedded import join_sync
from aegis_core.testing import ModelScript, Turn, private_settings
from aegis_core.testing.contract.downtime import shut_down

from .harness import ScriptedChat

DOWN = Turn(error=ConnectionRefusedError("the provider is down"))


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as connected:
        yield connected


@pytest.fixture
def broke(governor: SyncGovernor) -> SyncGovernedAgent:
    aegis = governor.handshake("broke")
    governor.set_budget("agent", "broke", "day", "0.000002")
    return aegis


class Pair:
    """A governed model and a plain one that stands in for it."""

    def __init__(self, aegis: Any, turn: Turn | None = None) -> None:
        self.script = ModelScript(turn or Turn("from the governed one"))
        self.spare = ModelScript(Turn("from the plain one"), model="gpt-4o")
        self.governed = GovernedChatModel(aegis=aegis, models=ScriptedChat(self.script))
        self.plain = ScriptedChat(self.spare)

    @property
    def called(self) -> list[str]:
        return [*self.script.models, *self.spare.models]


def _named(model: Any) -> Any:
    return model.with_config(run_name="greeter", tags=["greets"])


def _chain(model: Any) -> Any:
    return ChatPromptTemplate.from_messages([("user", "Greet {name}.")]) | model | StrOutputParser()


CHAINS: dict[str, Callable[[Pair], Any]] = {
    "the models": lambda pair: pair.governed.with_fallbacks([pair.plain]),
    "with tools": lambda pair: pair.governed.bind_tools([]).with_fallbacks([pair.plain.bind_tools([])]),
    "with keywords": lambda pair: pair.governed.bind(stop=["."]).with_fallbacks([pair.plain.bind(stop=["."])]),
    "named models": lambda pair: _named(pair.governed).with_fallbacks([_named(pair.plain)]),
    "a named chain": lambda pair: pair.governed.with_fallbacks([pair.plain]).with_config(run_name="greet"),
    "chains": lambda pair: _chain(pair.governed).with_fallbacks([_chain(pair.plain)]),
    "within a chain": lambda pair: _chain(pair.governed.with_fallbacks([pair.plain])),
    "with retries": lambda pair: pair.governed.with_retry(stop_after_attempt=2).with_fallbacks([pair.plain]),
    "several": lambda pair: pair.governed.with_fallbacks([pair.plain, pair.plain]).with_fallbacks([pair.plain]),
}  # fmt: skip


async def _streamed(chain: Any, given: Any) -> None:
    async for _ in chain.astream(given):
        pass


WAYS: dict[str, Callable[[Any, Any], object]] = {
    "invoke": lambda chain, given: chain.invoke(given),
    "batch": lambda chain, given: chain.batch([given, given]),
    "stream": lambda chain, given: list(chain.stream(given)),
    "ainvoke": lambda chain, given: asyncio.run(chain.ainvoke(given)),
    "abatch": lambda chain, given: asyncio.run(chain.abatch([given, given])),
    "astream": lambda chain, given: asyncio.run(_streamed(chain, given)),
}


UNSEEN = {("a named chain", "abatch")}
"""LangChain begins these runs in tasks of their own, under the program's name: nothing says what they are runs of."""


def given_to(chain: Any) -> Any:
    return {"name": "Ada"} if "name" in chain.get_input_jsonschema().get("properties", {}) else "Greet Ada."


@pytest.mark.parametrize("shape", CHAINS)
def test_a_refused_model_has_no_fallback(broke: SyncGovernedAgent, shape: str) -> None:
    """Whatever the chain is made of and called by; the program catches the refusal."""
    pair = Pair(broke)
    chain = CHAINS[shape](pair)
    for way, call in WAYS.items():
        if (shape, way) in UNSEEN:
            continue
        with pytest.raises(AegisDenied, match=r"it costs up to|so the run ends"):
            call(chain, given_to(chain))
        assert pair.called == [], way


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize("outside", [False, True])
def test_an_agents_fallback_is_not_called(broke: SyncGovernedAgent, way: str, outside: bool) -> None:
    """In whichever order the two middlewares stand."""
    pair = Pair(broke)
    middleware: list[Any] = [AegisMiddleware(broke), ModelFallbackMiddleware(pair.plain)]
    agent: Any = create_agent(ScriptedChat(pair.script), [], middleware=middleware[:: -1 if outside else 1])
    with pytest.raises(AegisDenied, match="it costs up to"):
        WAYS[way](agent, {"messages": [("user", "Greet Ada.")]})
    assert pair.called == []


@pytest.mark.parametrize("way", WAYS)
def test_an_outage_is_no_refusal(governor: SyncGovernor, way: str) -> None:
    pair = Pair(governor.handshake("sound"), DOWN)
    WAYS[way](pair.governed.with_fallbacks([pair.plain]), "Greet Ada.")
    assert set(pair.called) == {"gpt-4o-mini", "gpt-4o"}


def test_an_outage_in_an_agent_is_no_refusal(governor: SyncGovernor) -> None:
    pair = Pair(governor.handshake("sound"), DOWN)
    middleware: list[Any] = [AegisMiddleware(governor.handshake("sound")), ModelFallbackMiddleware(pair.plain)]
    agent: Any = create_agent(ScriptedChat(pair.script), [], middleware=middleware)
    said = agent.invoke({"messages": [("user", "Greet Ada.")]})["messages"][-1].text
    assert (said, pair.called) == ("from the plain one", ["gpt-4o-mini", "gpt-4o"])


def test_a_governed_fallback_asks_for_itself(governor: SyncGovernor, broke: SyncGovernedAgent) -> None:
    """And is called when it may be."""
    pair, other = Pair(broke), Pair(governor.handshake("sound"))
    assert (
        pair.governed.with_fallbacks([pair.plain, other.governed]).invoke("Greet Ada.").text == "from the governed one"
    )
    assert (pair.called, other.called) == ([], ["gpt-4o-mini"])


def test_a_program_may_call_another_model_itself(broke: SyncGovernedAgent) -> None:
    """Who catches a refusal by its name knows what it is."""
    pair = Pair(broke)

    def answered(question: str) -> str:
        try:
            return pair.governed.invoke(question).text
        except AegisDenied:
            return pair.plain.invoke(question).text

    assert RunnableLambda(answered).invoke("Greet Ada.") == "from the plain one"


def test_later_runs_are_runs_of_their_own(governor: SyncGovernor, broke: SyncGovernedAgent) -> None:
    """Nothing is remembered of a refusal when its chain has ended."""
    pair = Pair(broke)
    chain = pair.governed.with_fallbacks([pair.plain])
    for _ in range(2):
        with pytest.raises(AegisDenied):
            chain.invoke("Greet Ada.")
    governor.set_budget("agent", "broke", "day", 5)
    assert chain.invoke("Greet Ada.").text == "from the governed one"
    assert pair.plain.invoke("Greet Ada.").text == "from the plain one"


def test_an_outage_of_the_governor_calls_no_fallback() -> None:
    """Nothing was decided, so nothing is called."""
    handle = join_sync(None, throwaway=True)
    with connect_sync(settings=private_settings(url=handle.url)) as governor:
        pair = Pair(governor.handshake("sound"))
        shut_down(handle)
        with pytest.raises(StoreError, match="cannot be reached"):
            pair.governed.with_fallbacks([pair.plain]).invoke("Greet Ada.")
        assert pair.called == []


def test_other_handlers_hear_of_a_model_that_completes_text() -> None:
    """Whether they are called or awaited."""
    watch_fallbacks()
    heard: list[str] = []

    class Hearing(BaseCallbackHandler):
        def on_llm_start(self, *_: Any, **__: Any) -> None:
            heard.append("plain")

    class Awaited(AsyncCallbackHandler):
        async def on_llm_start(self, *_: Any, **__: Any) -> None:
            heard.append("awaited")

    model = FakeListLLM(responses=["Hello."])
    assert asyncio.run(model.ainvoke("Greet Ada.", {"callbacks": [Hearing(), Awaited()]})) == "Hello."
    assert sorted(heard) == ["awaited", "plain"]

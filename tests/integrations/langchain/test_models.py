"""What is LangChain's own: settings of models behind a governed one, content that OpenAI knows not, calls together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aegis_langchain import AegisCallbackHandler, AegisMiddleware, GovernedChatModel
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, trim_messages
from langchain_core.rate_limiters import BaseRateLimiter

from aegis_core import Settings, connect_sync
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.testing import ModelScript, Turn
from aegis_core.testing.contract.base import NOTHING, lower_budget, reserved, spent

from .harness import Hearing, ScriptedChat

SUNNY = Turn("It is sunny in Bern.")


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as connected:
        yield connected


@pytest.fixture
def aegis(governor: SyncGovernor) -> SyncGovernedAgent:
    return governor.handshake("langchain")


class Turnstile(BaseRateLimiter):
    """Counts who passes."""

    def __init__(self) -> None:
        self.passed = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.passed += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire(blocking=blocking)


class Counting(ScriptedChat):
    """Counts tokens in a way of its own."""

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None) -> int:
        return 7 * len(messages)


def test_a_governed_model_keeps_what_the_model_behind_it_was_set_to(aegis: SyncGovernedAgent) -> None:
    """Its tracing, its rate limit, its word on streaming, and how it counts."""
    hearing, turnstile = Hearing(), Turnstile()
    behind = Counting(
        ModelScript(SUNNY), callbacks=[hearing], rate_limiter=turnstile, tags=["mine"], disable_streaming=True
    )
    model = GovernedChatModel(aegis=aegis, models=behind)
    assert model.invoke("Weather?").text == SUNNY.text
    assert asyncio.run(model.ainvoke("Weather?")).text == SUNNY.text
    assert [each.text for each in model.stream("Weather?")] == [SUNNY.text]
    assert (hearing.heard, turnstile.passed, model.tags) == (["start", "end"] * 3, 3, ["mine"])
    said = [HumanMessage(text) for text in "abc"]
    assert [each.text for each in trim_messages(said, max_tokens=14, token_counter=model)] == ["b", "c"]


def test_the_middleware_leaves_an_agents_tracing_on(aegis: SyncGovernedAgent) -> None:
    hearing = Hearing()
    behind = ScriptedChat(ModelScript(SUNNY), callbacks=[hearing])
    agent: Any = create_agent(behind, [], middleware=[AegisMiddleware(aegis)])
    agent.invoke({"messages": [("user", "Weather?")]})
    assert hearing.heard == ["start", "end"]


def test_each_of_several_models_obeys_its_own_rate_limiter(aegis: SyncGovernedAgent) -> None:
    small, large = Turnstile(), Turnstile()
    script = ModelScript(SUNNY)
    models = {
        "gpt-4o": ScriptedChat(script, model_name="gpt-4o", rate_limiter=large),
        "gpt-4o-mini": ScriptedChat(script, rate_limiter=small),
    }
    GovernedChatModel(aegis=aegis, models=models, logic_density=1).invoke("Weather?")
    assert script.models == ["gpt-4o-mini"]
    assert (small.passed, large.passed) == (1, 0)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "video", "url": "https://example.org/film.mp4"},
        {"type": "file", "url": "https://example.org/report.pdf"},
        {"type": "text-plain", "text": "It rained.", "mime_type": "text/plain"},
        {"type": "image", "file_id": "file-1"},
    ],
    ids=lambda block: block["type"],
)
def test_content_that_openai_knows_not_reaches_other_providers(aegis: SyncGovernedAgent, block: dict[str, Any]) -> None:
    """It is only counted in OpenAI's shape, and sent as it was."""
    said: Any = [HumanMessage([{"type": "text", "text": "Look."}, block]), AIMessage("Yes?"), HumanMessage("Well?")]
    script = ModelScript(SUNNY)
    GovernedChatModel(aegis=aegis, models=ScriptedChat(script)).invoke(said)
    ScriptedChat(script).invoke(said, {"callbacks": [AegisCallbackHandler(aegis)]})
    assert len(script.calls) == 2
    assert reserved(aegis) == NOTHING < spent(aegis)


def test_calls_that_generate_announces_together_hold_nothing_when_one_is_refused(
    governor: SyncGovernor, aegis: SyncGovernedAgent
) -> None:
    """None of them is made, and LangChain tells nobody of those that were granted."""
    lower_budget(governor, aegis, "0.0001")
    script = ModelScript(SUNNY)
    model, config = ScriptedChat(script), {"callbacks": [AegisCallbackHandler(aegis)]}
    said: Any = [[HumanMessage("Weather?")], [HumanMessage("And tomorrow?")], [HumanMessage("And then?")]]
    with pytest.raises(AegisDenied):
        model.generate(said, **config)
    assert reserved(aegis) == NOTHING
    with pytest.raises(AegisDenied):
        asyncio.run(model.agenerate(said, **config))
    assert (script.calls, reserved(aegis), spent(aegis)) == ([], NOTHING, NOTHING)
    lower_budget(governor, aegis, "10")
    assert len(model.generate(said, **config).generations) == 3
    assert reserved(aegis) == NOTHING < spent(aegis)


class Several(ScriptedChat):
    """A model that is told to give several answers at once, as OpenAI's `n`."""

    n: int = 8

    def _get_invocation_params(self, stop: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"n": self.n}


def test_several_answers_of_one_call_are_all_reserved(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """Each may be as long as the cap, so a budget for one of them does not do for eight."""
    lower_budget(governor, aegis, "0.0002")
    script = ModelScript(SUNNY, cap=100)
    with pytest.raises(AegisDenied, match=r"it costs up to \$0\.00048"):
        Several(script).invoke("Weather?", {"callbacks": [AegisCallbackHandler(aegis)]})
    GovernedChatModel(aegis=aegis, models=Several(script)).invoke("Weather?")
    GovernedChatModel(aegis=aegis, models=ScriptedChat(script)).bind(n=8).invoke("Weather?")
    assert [entry.cap for entry in script.calls if entry.cap and entry.cap * 8 * 0.6e-6 <= 0.0002] == [31, 31]
    with pytest.raises(ConfigurationError, match="asks for 8 answers and caps none"):
        Several(ModelScript(SUNNY, cap=None)).invoke("Weather?", {"callbacks": [AegisCallbackHandler(aegis)]})

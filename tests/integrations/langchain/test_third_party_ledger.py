"""A third party's server counts exactly the calls that the budget admits."""

from __future__ import annotations

from typing import Any

from aegis_langchain import AegisCallbackHandler, AegisMiddleware, GovernedChatModel
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI

from aegis_core.client.sync import SyncGovernedAgent
from integrations.ledger import S2

from .harness import caught


def chat(s2: S2) -> ChatOpenAI:
    return ChatOpenAI(model=s2.model, base_url=s2.base_url, api_key="mock", max_tokens=s2.cap, max_retries=2)


def ended_by(agent: Any, s2: S2, config: Any = None) -> BaseException | None:
    return caught(lambda: agent.invoke({"messages": [HumanMessage(s2.user)]}, config)).error


def test_the_callback(s2: S2, s2_aegis: SyncGovernedAgent) -> None:
    agent = create_agent(chat(s2), [StructuredTool.from_function(s2.get_weather)])
    s2.agrees(s2_aegis, ended_by(agent, s2, {"callbacks": [AegisCallbackHandler(s2_aegis)]}))


def test_the_middleware(s2: S2, s2_aegis: SyncGovernedAgent) -> None:
    middleware: Any = AegisMiddleware(s2_aegis)
    agent = create_agent(chat(s2), [StructuredTool.from_function(s2.get_weather)], middleware=[middleware])
    s2.agrees(s2_aegis, ended_by(agent, s2))


def test_the_governed_model(s2: S2, s2_aegis: SyncGovernedAgent) -> None:
    model = GovernedChatModel(aegis=s2_aegis, models=chat(s2))
    agent = create_agent(model, [StructuredTool.from_function(s2.get_weather)])
    s2.agrees(s2_aegis, ended_by(agent, s2))

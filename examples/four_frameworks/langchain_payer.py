"""LangChain: an agent of ``create_agent``, governed by a middleware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aegis_langchain import AegisMiddleware
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]
from payer import COSTS, TASK, Payer
from scripted_chat import ScriptedChat


def build(payer: Payer) -> Callable[[], str]:
    """The agent, ready to run."""

    def pay(invoice: int) -> str:
        """Pay an invoice."""
        return payer.pay(invoice)

    agent: Any = create_agent(ScriptedChat(payer), [pay], middleware=[AegisMiddleware(payer.aegis, costs=COSTS)])
    return lambda: agent.invoke({"messages": [("user", TASK)]})["messages"][-1].text

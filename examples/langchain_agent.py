"""A LangChain agent with $0.50 a run, refused in one sentence. With OPENAI_API_KEY a real model answers."""

import os
from typing import Any

from aegis_langchain import AegisMiddleware
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from aegis_core import AegisDenied, connect_sync


class Fake(GenericFakeChatModel):
    """Searches once too often, then ends."""

    model: str = "gpt-4o-mini"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        return self


def search(query: str) -> str:
    """Search the web, at $0.30 a time."""
    return f"Ten results for {query}."


calls = [AIMessage("", tool_calls=[{"name": "search", "args": {"query": q}, "id": q}]) for q in ("Bern", "Basel")]
model: Any = Fake(messages=iter([*calls, AIMessage("There was no money left for the rest.")]))
if os.environ.get("OPENAI_API_KEY"):
    model = "openai:gpt-4o-mini"
with connect_sync() as governor:
    aegis = governor.handshake("researcher", session_budget_usd="0.50")
    governed: Any = AegisMiddleware(aegis, costs={"search": "0.30"})
    agent: Any = create_agent(model, [search], middleware=[governed])
    try:
        for message in agent.invoke({"messages": [("user", "Search for Bern and for Basel.")]})["messages"]:
            print(f"{message.type}: {message.text}")
    except AegisDenied as denied:  # a refused model call, or a tool that was refused three times
        print("The run ended within its budget:", denied.message)

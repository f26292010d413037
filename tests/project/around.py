"""Runs one of the README's snippets for frameworks: ``python around.py aegis_langchain < snippet``.

What the reader brings along stands around it: a governor, and an agent of the framework on a scripted model. Then the
agent runs twice, once with money and once without, and the provider's own count and the ledger must agree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from aegis_core import AegisDenied, connect_sync
from aegis_core.client.sync import SyncGovernor
from aegis_core.testing import ModelScript, ToolUse, Turn

SNIPPET = sys.stdin.read()
FEE = Decimal("0.01")


def search(amount: int = 1) -> str:
    """Search the web for so many answers."""
    return f"{amount} sunny answers."


def script() -> ModelScript:
    asks = Turn(tools=(ToolUse("search", {"amount": 1}, "c1"),))
    return ModelScript(asks, Turn("It is sunny."), tools={"search": search})


def langchain(governor: SyncGovernor, part: ModelScript) -> Callable[[], object]:
    from integrations.langchain.harness import ScriptedChat, tools_of
    from langchain.agents import create_agent

    names: dict[str, Any] = {"governor": governor, "create_agent": create_agent}
    names |= {"model": ScriptedChat(part), "search": tools_of(part)[0]}
    exec(SNIPPET, names)
    return lambda: names["agent"].invoke({"messages": [("user", part.user)]})


def crewai(governor: SyncGovernor, part: ModelScript) -> Callable[[], object]:
    from integrations.crewai.harness import ScriptedLLM, ScriptedTool, crew_of

    crew = crew_of(ScriptedLLM(part), [ScriptedTool(part, "search")], part.user)
    crew.agents[0].role = "researcher"
    exec(SNIPPET, {"governor": governor, "crew": crew})
    return crew.kickoff


def autogen(governor: SyncGovernor, part: ModelScript) -> Callable[[], object]:
    from autogen import ConversableAgent
    from integrations.autogen_classic.harness import QUIET, Run, ends, register_tool

    from aegis_core.testing import Drive

    run = Run(part, Drive())
    assistant = ConversableAgent("assistant", llm_config=run.config(), **QUIET)
    proxy = ConversableAgent("proxy", llm_config=False, is_termination_msg=ends, **QUIET)
    register_tool(assistant, proxy, "search", part)
    run.activate(assistant)
    exec(SNIPPET, {"aegis": governor.handshake("researcher"), "assistant": assistant, "proxy": proxy})
    return lambda: proxy.initiate_chat(assistant, message=part.user, silent=True, max_turns=9)


def agentchat(governor: SyncGovernor, part: ModelScript) -> Callable[[], object]:
    import asyncio

    from autogen_agentchat.agents import AssistantAgent
    from integrations.agentchat.harness import ScriptedClient, tools_of

    names: dict[str, Any] = {"aegis": governor.handshake("researcher"), "AssistantAgent": AssistantAgent}
    names |= {"client": ScriptedClient(part), "search": tools_of(part)[0]}
    exec(SNIPPET, names)
    return lambda: asyncio.run(names["agent"].run(task=part.user))


def twice(prepare: Callable[[SyncGovernor, ModelScript], Callable[[], object]]) -> None:
    """With money every call is made and paid for; without, none is made."""
    with connect_sync() as governor:
        part = script()
        prepare(governor, part)()
        assert len(part.calls) >= 1  # agentchat answers by the tool's result, the others ask the model again
        assert len(part.uses) == 1
        tokens = part.input_tokens * Decimal("0.15e-6") + part.output_tokens * Decimal("0.60e-6")
        day = day_of(governor)
        assert (day.spent_usd, day.reserved_usd) == (tokens + FEE, Decimal(0)), day
        governor.set_budget("agent", "researcher", "day", day.spent_usd)
        broke = script()
        with pytest.raises(Exception, match="Aegis refused") as caught:
            prepare(governor, broke)()
        assert AegisDenied.from_exception(caught.value) is not None
        assert (broke.calls, broke.uses) == ([], [])
        assert day_of(governor).spent_usd == day.spent_usd


def day_of(governor: SyncGovernor) -> Any:
    return next(s for s in governor.budget("researcher").budgets if (s.scope, s.window) == ("agent", "day"))


def langgraph() -> None:
    """A payment waits for a person, and is made once when it was approved; the next is beyond the budget."""
    from aegis_langgraph import ApprovalResumer
    from langchain_core.messages import AIMessage
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, MessagesState, StateGraph

    paid: list[int] = []

    def pay(amount: int) -> str:
        """Pay so many dollars."""
        paid.append(amount)
        return f"Paid ${amount}."

    def agent(state: MessagesState) -> Any:
        last = state["messages"][-1]
        if "Aegis refused" in last.text:
            return {"messages": [AIMessage("I stopped.")]}
        return {"messages": [AIMessage("", tool_calls=[{"name": "pay", "args": {"amount": 7}, "id": last.id}])]}

    with connect_sync() as governor:
        graph: Any = StateGraph(MessagesState)
        graph.add_node("agent", agent).add_edge(START, "agent").add_edge("tools", "agent")
        exec(SNIPPET, {"graph": graph, "pay": pay, "aegis": governor.handshake("researcher")})
        running = graph.compile(InMemorySaver())
        paused = running.invoke({"messages": [("user", "Pay.")]}, {"configurable": {"thread_id": "t"}})
        assert paused["__interrupt__"]
        assert paid == []
        (question,) = governor.approvals.list()
        governor.approvals.decide(question.approval_id, "approve", by="lea")
        (resumed,) = ApprovalResumer(running, governor, name="resumers").run_once()
        assert resumed.state["messages"][-1].text == "I stopped."
        assert paid == [7]
        assert day_of(governor).spent_usd == 7


AROUND: dict[str, Callable[[], None]] = {
    "aegis_langchain": lambda: twice(langchain),
    "aegis_langgraph": langgraph,
    "aegis_crewai": lambda: twice(crewai),
    "aegis_autogen": lambda: twice(autogen),
    "aegis_autogen.agentchat": lambda: twice(agentchat),
}

if __name__ == "__main__":
    AROUND[sys.argv[1]]()

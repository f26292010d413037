"""LangGraph: a graph with a governed model, the approval node, and the governed tool node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from aegis_langchain import GovernedChatModel
from aegis_langgraph import GovernedToolNode, approval_node
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from payer import COSTS, TASK, Payer
from scripted_chat import ScriptedChat


def build(payer: Payer) -> Callable[[], str]:
    """The graph, ready to run."""
    model = GovernedChatModel(aegis=payer.aegis, models=ScriptedChat(payer))

    def pay(invoice: int) -> str:
        """Pay an invoice."""
        return payer.pay(invoice)

    def agent(state: MessagesState) -> Any:
        return {"messages": [model.bind_tools([pay]).invoke(state["messages"])]}

    graph = cast("Any", StateGraph(MessagesState))
    graph.add_node("agent", agent).add_edge(START, "agent").add_edge("agent", "approve").add_edge("tools", "agent")
    graph.add_node("approve", approval_node(payer.aegis, costs=COSTS))
    graph.add_node("tools", GovernedToolNode([pay], payer.aegis, costs=COSTS))
    running = graph.compile(InMemorySaver())
    config = {"configurable": {"thread_id": "invoices"}, "recursion_limit": 500}
    return lambda: running.invoke({"messages": [("user", TASK)]}, config)["messages"][-1].text

"""A LangGraph thread pauses for an operator, and ends when money is short. With OPENAI_API_KEY a real model answers."""

import os
from typing import Any, cast

from aegis_langgraph import ApprovalResumer, GovernedToolNode, approval_node
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from aegis_core import connect_sync


def pay(amount: int) -> str:
    """Pay so many dollars."""
    return f"Paid ${amount}."


def agent(state: MessagesState) -> Any:
    if os.environ.get("OPENAI_API_KEY"):
        model: Any = init_chat_model("openai:gpt-4o-mini")
        return {"messages": [model.bind_tools([pay]).invoke(state["messages"])]}
    asks = AIMessage("", tool_calls=[{"name": "pay", "args": {"amount": 7}, "id": "1"}])
    return {"messages": AIMessage("I stopped there.") if "Aegis refused" in state["messages"][-1].text else asks}


with connect_sync() as governor:
    aegis, costs, graph = governor.handshake("payer"), {"pay": 7}, cast("Any", StateGraph(MessagesState))
    graph.add_node("agent", agent).add_edge(START, "agent").add_edge("agent", "approve").add_edge("tools", "agent")
    graph.add_node("approve", approval_node(aegis, costs=costs))
    running: Any = graph.add_node("tools", GovernedToolNode([pay], aegis, costs=costs)).compile(InMemorySaver())
    state = running.invoke({"messages": [("user", "Pay $7 twice.")]}, {"configurable": {"thread_id": "t"}})
    while asked := state.get("__interrupt__"):
        print(asked[0].value["action_requests"][0]["description"])
        governor.approvals.decide(asked[0].value["aegis"][0]["approval_id"], "approve", by="lea")
        state = ApprovalResumer(running, governor, name="resumers").run_once()[0].state
    print(*(f"{message.type}: {message.text}" for message in state["messages"]), sep="\n")

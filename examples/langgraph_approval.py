"""A LangGraph thread that pauses for an operator, whose decision resumes it; here the operator is a line of the script.

Offline with a scripted model; with OPENAI_API_KEY (and langchain-openai) with a real one.
"""

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
    return {"messages": [AIMessage("Done.") if state["messages"][-1].type == "tool" else asks]}


with connect_sync() as governor:
    aegis, costs, graph = governor.handshake("payer"), {"pay": 7}, cast("Any", StateGraph(MessagesState))
    graph.add_node("agent", agent).add_edge(START, "agent").add_edge("agent", "approve").add_edge("tools", "agent")
    graph.add_node("approve", approval_node(aegis, costs=costs))
    running: Any = graph.add_node("tools", GovernedToolNode([pay], aegis, costs=costs)).compile(InMemorySaver())
    paused = running.invoke({"messages": [("user", "Pay $7.")]}, {"configurable": {"thread_id": "t"}})
    print(paused["__interrupt__"][0].value["action_requests"][0]["description"])
    governor.approvals.decide(governor.approvals.list()[0].approval_id, "approve", by="lea")
    (resumed,) = ApprovalResumer(running, governor, name="resumers").run_once()
    print([message.text for message in resumed.state["messages"]])

"""A third party's server counts exactly the calls that the budget admits, also through a graph."""

from __future__ import annotations

from aegis_langchain import GovernedChatModel
from aegis_langgraph import GovernedToolNode, approval_node
from langchain_core.messages import HumanMessage
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver

from aegis_core.client.sync import SyncGovernedAgent
from integrations.langchain.harness import caught
from integrations.langchain.test_third_party_ledger import chat
from integrations.ledger import S2

from .harness import built


def test_the_graph(s2: S2, s2_aegis: SyncGovernedAgent) -> None:
    tools = [StructuredTool.from_function(s2.get_weather)]
    model = GovernedChatModel(aegis=s2_aegis, models=chat(s2))
    graph = built(model, GovernedToolNode(tools, s2_aegis), approval_node(s2_aegis), tools)
    running = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "weather"}}
    s2.agrees(s2_aegis, caught(lambda: running.invoke({"messages": [HumanMessage(s2.user)]}, config)).error)

"""LangGraph's side of the contract: a graph of a governed model, the approval node and the governed tool node."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any, ClassVar

from aegis_langchain import GovernedChatModel
from aegis_langgraph import GovernedToolNode, approval_node
from langchain_core.caches import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy

from aegis_core.testing import Drive, ModelScript, RunEnd
from integrations.langchain.harness import ScriptedChat, behind, drive_agent, tools_of


def built(model: Any, tool_node: Any, gate: Any | None, tools: Any, retries: int = 0) -> StateGraph[Any]:
    """The plain loop of an agent, with the gate before its tools where there is one."""

    def call_model(state: MessagesState) -> Any:
        return {"messages": [model.bind_tools(tools).invoke(state["messages"])]}

    async def acall_model(state: MessagesState) -> Any:
        return {"messages": [await model.bind_tools(tools).ainvoke(state["messages"])]}

    from langchain_core.runnables import RunnableLambda

    graph: Any = StateGraph(MessagesState)
    policy = RetryPolicy(max_attempts=retries + 1, initial_interval=0.01, jitter=False) if retries else None
    graph.add_node("agent", RunnableLambda(call_model, acall_model), retry_policy=policy)
    graph.add_edge(START, "agent")
    if tools:
        graph.add_node("approve", gate)
        graph.add_node("tools", tool_node)
        graph.add_edge("agent", "approve")
        graph.add_edge("tools", "agent")
    return graph


class GraphHarness:
    """`approval_node` and `GovernedToolNode` in a graph whose model is LangChain's `GovernedChatModel`."""

    framework = "LangGraph"
    modes = ("sync", "async", "stream", "astream", "batch")
    lacks: ClassVar = {
        "abandoned_at_once": "asyncio finalises an abandoned stream a moment later",
        "structured_output": "nodes ask their models for shapes themselves; give them a GovernedChatModel",
    }
    proofs: ClassVar = {}

    def run(self, aegis: Any, script: ModelScript, ask: Drive) -> RunEnd:
        models = behind(script, ask, cache=InMemoryCache() if ask.cached else None)
        model = GovernedChatModel(aegis=aegis, models=models, logic_density=ask.density)
        tools = tools_of(script)
        parts: Any = (
            model,
            GovernedToolNode(tools, aegis, costs=ask.costs, locks=ask.locks, approval_seconds=ask.approval_seconds),
            approval_node(aegis, costs=ask.costs),
        )
        if ask.copied:
            parts = copy.deepcopy(parts)
        if ask.fallback:
            chain = model.with_fallbacks([ScriptedChat(ask.fallback)])
            parts = (SimpleNamespace(bind_tools=lambda _: chain), *parts[1:])
        if ask.pickled:
            parts = (pickle.loads(pickle.dumps(model)), *parts[1:])
        graph: Any = built(*parts, tools, ask.retries).compile(checkpointer=InMemorySaver() if tools else None)
        if ask.nested:
            outer: Any = StateGraph(MessagesState)
            outer.add_node("inner", graph)
            outer.add_edge(START, "inner")
            graph = outer.compile()
        return drive_agent(graph, script, ask, {"configurable": {"thread_id": ask.thread}}, aegis)

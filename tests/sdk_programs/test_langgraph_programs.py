"""LangGraph: branches, supervisors and travels in time, with tools that run once."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

from aegis_langchain import GovernedChatModel
from aegis_langgraph import GovernedToolNode
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send
from loopback import Providers
from loopback.answering import Asked, Said
from pydantic import BaseModel

from aegis_core.client.sync import SyncGovernedAgent

Settled = Callable[..., None]


class Chapters(TypedDict):
    titles: list[str]
    drafts: Annotated[list[str], operator.add]
    whole: str


class Chapter(TypedDict):
    title: str


def test_map_and_reduce(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    model = GovernedChatModel(aegis=aegis, models=ChatOpenAI(model="gpt-4o-mini", max_tokens=200))

    def draft(chapter: Chapter) -> Any:
        return {"drafts": [model.invoke(f"Write {chapter['title']}.").text]}

    def join(state: Chapters) -> Any:
        return {"whole": model.invoke("Join: " + " ".join(state["drafts"])).text}

    graph: Any = StateGraph(Chapters)
    graph.add_node("draft", draft).add_node("join", join)
    graph.add_conditional_edges(
        START, lambda state: [Send("draft", {"title": each}) for each in state["titles"]], ["draft"]
    )
    graph.add_edge("draft", "join").add_edge("join", END)
    found = graph.compile().invoke({"titles": ["one", "two", "three", "four"], "drafts": []})
    assert len(found["drafts"]) == 4
    assert len(at.bills) == 5
    settled()


class Route(BaseModel):
    """Who is next."""

    to: Literal["cook", "done"]


def test_a_supervisor_routes_by_a_shape(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    def reply(asked: Asked) -> Said:
        if asked.schema is not None:
            cooked = any("Soup" in str(message) for message in asked.body["messages"])
            return Said('{"to": "done"}' if cooked else '{"to": "cook"}')
        return Said("Soup is ready.")

    at.reply = reply
    inner = ChatOpenAI(model="gpt-4.1-mini")
    supervisor = GovernedChatModel(aegis=aegis, models=inner).with_structured_output(Route)
    cook = GovernedChatModel(aegis=aegis, models=inner)
    graph: Any = StateGraph(MessagesState)
    graph.add_node("cook", lambda state: {"messages": [cook.invoke(state["messages"])]})
    route = {"cook": "cook", "done": END}
    graph.add_conditional_edges(START, lambda state: supervisor.invoke(state["messages"]).to, route)
    graph.add_conditional_edges("cook", lambda state: supervisor.invoke(state["messages"]).to, route)
    state = graph.compile().invoke({"messages": [("user", "I am hungry.")]})
    assert state["messages"][-1].text == "Soup is ready."
    assert len(at.bills) == 3
    settled()


def test_a_prebuilt_agent_with_a_governed_tool_node(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    ran: list[str] = []

    def lookup(word: str) -> str:
        """Look a word up."""
        ran.append(word)
        return f"{word} means rain."

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langgraph.prebuilt import create_react_agent

        node = GovernedToolNode([lookup], aegis, costs={"lookup": "0.001"})
        model = GovernedChatModel(aegis=aegis, models=ChatOpenAI(model="gpt-4.1-mini"))
        agent: Any = create_react_agent(model, node, checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "words"}}
    state = agent.invoke({"messages": [("user", "lookup 'pluie'.")]}, thread)
    assert ran == ["pluie"]
    assert "pluie means rain." in [each.text for each in state["messages"]]
    settled("0.001")


def test_a_travel_in_time_runs_no_tool_twice(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    paid: list[int] = []

    def pay(amount: int) -> str:
        """Pay so many dollars."""
        paid.append(amount)
        return f"Paid ${amount}."

    model = GovernedChatModel(aegis=aegis, models=ChatOpenAI(model="gpt-4o-mini")).bind_tools([pay])
    graph: Any = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", GovernedToolNode([pay], aegis, costs={"pay": 2}))
    graph.add_edge(START, "agent").add_edge("tools", "agent")
    graph.add_conditional_edges("agent", lambda state: "tools" if _calls(state) else END, ["tools", END])
    app = graph.compile(InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    app.invoke({"messages": [("user", "Please pay 2 dollars.")]}, thread)
    before = next(each for each in app.get_state_history(thread) if each.next == ("tools",))
    again = app.invoke(None, before.config)
    assert paid == [2]
    assert [each.text for each in again["messages"] if each.type == "tool"] == ["Paid $2."]
    settled("2")


def _calls(state: MessagesState) -> bool:
    last = state["messages"][-1]
    return isinstance(last, AIMessage) and bool(last.tool_calls)

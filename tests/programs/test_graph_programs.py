"""Programs on LangChain and LangGraph as users write them: OpenAI's own binding, and a provider on loopback."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal, TypedDict

import pytest
from aegis_langchain import AegisMiddleware, GovernedChatModel
from aegis_langgraph import ApprovalResumer, GovernedToolNode, approval_node
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send
from paid_model import MODEL, Provider, Said, check_books, last_of, provider, results

from aegis_core.client.sync import SyncGovernor
from aegis_core.protocol.errors import ConflictError

THREAD: Any = {"configurable": {"thread_id": "journey"}}


def openai(serves: Provider) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, base_url=serves.url, api_key="none", max_tokens=200, max_retries=0)  # type: ignore[arg-type]


@tool
def population(town: str) -> int:
    """How many people live in a town."""
    return {"Chur": 38_000, "Zug": 31_000, "Uster": 36_000}[town]


@tool
def book(town: str, euros: int) -> str:
    """Book a room."""
    return f"booked in {town} for {euros}"


def test_parallel_tools(governor: SyncGovernor) -> None:
    """An agent of `create_agent` looks three towns up at once; each look-up costs a cent."""

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        if found := results(messages):
            return Said(f"Together {sum(map(int, found))}.")
        return Said(calls=tuple(("population", {"town": town}) for town in ("Chur", "Zug", "Uster")))

    with provider(reply) as serves:
        aegis = governor.handshake("counting")
        middleware = AegisMiddleware(aegis, costs={"population": "0.01"})
        agent: Any = create_agent(openai(serves), [population], middleware=[middleware])
        said = agent.invoke({"messages": [("user", "How many people live in Chur, Zug and Uster?")]})
        assert said["messages"][-1].text == "Together 105000."
        assert len(serves.requests) == 2
        check_books(governor, serves, "0.03")


class Towns(TypedDict):
    towns: list[str]
    lines: Annotated[list[str], operator.add]
    summary: str


async def test_map_and_reduce_by_send(governor: SyncGovernor) -> None:
    """One branch for each town, all at once, and a summary of them."""

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        asked = last_of(messages, "user")
        return Said(f"Summary of {asked.count('•')}" if "•" in asked else f"• {asked.split()[-1]} is lovely")

    with provider(reply) as serves:
        model = GovernedChatModel(aegis=governor.handshake("writer"), models=openai(serves))

        async def describe(state: dict[str, str]) -> Any:
            return {"lines": [(await model.ainvoke(f"Describe {state['town']}")).text]}

        async def summarise(state: Towns) -> Any:
            return {"summary": (await model.ainvoke("\n".join(state["lines"]))).text}

        graph: Any = StateGraph(Towns)
        graph.add_node("describe", describe)
        graph.add_node("summarise", summarise)
        graph.add_conditional_edges(START, lambda state: [Send("describe", {"town": town}) for town in state["towns"]])
        graph.add_edge("describe", "summarise")
        graph.add_edge("summarise", END)
        towns = [f"town-{number}" for number in range(6)]
        state = await graph.compile().ainvoke({"towns": towns, "lines": [], "summary": ""})
        assert (state["summary"], len(state["lines"]), len(serves.requests)) == ("Summary of 6", 6, 7)
        check_books(governor, serves)


def test_a_supervisor_of_two_workers(governor: SyncGovernor) -> None:
    """It hands over by a tool; each worker is an agent of its own, with a budget of its own."""

    def reply(messages: list[dict[str, Any]], body: dict[str, Any]) -> Said:
        system = last_of(messages, "system")
        if "supervisor" not in system:
            return Said(f"{system} done")
        done = [each for each in ("research", "writing") if f"{each} done" in json_of(messages)]
        if len(done) == 2:
            return Said("All is done.")
        return Said(calls=(("hand_over", {"to": "writer" if done else "researcher"}),))

    def json_of(messages: list[dict[str, Any]]) -> str:
        return " ".join(str(each.get("content")) for each in messages)

    with provider(reply) as serves:

        @tool
        def hand_over(to: Literal["researcher", "writer"]) -> str:
            """Let a worker go on."""
            return to

        def worker(name: str, prompt: str) -> Any:
            governed = AegisMiddleware(governor.handshake(name))
            return create_agent(openai(serves), [], system_prompt=prompt, middleware=[governed])

        workers = {"researcher": worker("researcher", "research"), "writer": worker("writer", "writing")}
        boss = GovernedChatModel(aegis=governor.handshake("supervisor"), models=openai(serves)).bind_tools([hand_over])

        def supervise(state: MessagesState) -> Command[Any]:
            answer = boss.invoke([("system", "You are the supervisor."), *state["messages"]])
            if not answer.tool_calls:  # type: ignore[attr-defined]
                return Command(goto=END, update={"messages": [answer]})
            return Command(goto=answer.tool_calls[0]["args"]["to"])  # type: ignore[attr-defined]

        def working(name: str) -> Any:
            def work(state: MessagesState) -> Command[Any]:
                said = workers[name].invoke({"messages": state["messages"]})["messages"][-1].text
                return Command(goto="supervisor", update={"messages": [HumanMessage(said, name=name)]})

            return work

        graph: Any = StateGraph(MessagesState)
        graph.add_node("supervisor", supervise)
        for name in workers:
            graph.add_node(name, working(name))
        graph.add_edge(START, "supervisor")
        state = graph.compile().invoke({"messages": [("user", "Write about Chur.")]})
        assert state["messages"][-1].text == "All is done."
        assert [each.agent_id for each in governor.agents()] == ["researcher", "supervisor", "writer"]
        assert len(serves.requests) == 5
        check_books(governor, serves)


def test_time_travel(governor: SyncGovernor) -> None:
    """A booking waits for a person; the traveller goes back and asks for a cheaper one, which needs no approval."""
    wishes = iter([40, 3])

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        if found := results(messages):
            return Said(f"Done: {found[-1]}.")
        return Said(calls=(("book", {"town": "Chur", "euros": next(wishes)}),))

    with provider(reply) as serves:
        aegis = governor.handshake("traveller")
        governor.set_budget("agent", "traveller", "day", 1_000)
        costs = {"book": lambda arguments: arguments["euros"]}
        costs_of = lambda name, arguments: costs[name](arguments)  # noqa: E731
        model = GovernedChatModel(aegis=aegis, models=openai(serves)).bind_tools([book])
        graph: Any = StateGraph(MessagesState)
        graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
        graph.add_node("approve", approval_node(aegis, costs=costs_of))
        graph.add_node("tools", GovernedToolNode([book], aegis, costs=costs_of))
        graph.add_edge(START, "agent")
        graph.add_edge("agent", "approve")
        graph.add_edge("tools", "agent")
        app = graph.compile(checkpointer=InMemorySaver())
        assert "__interrupt__" in app.invoke({"messages": [("user", "A room in Chur.")]}, THREAD)
        (question,) = governor.approvals.list()
        before = next(each for each in app.get_state_history(THREAD) if each.next == ("agent",))
        state = app.invoke(None, before.config)
        assert state["messages"][-1].text == "Done: booked in Chur for 3."
        ApprovalResumer(app, governor, name="resumers").run_once()
        assert governor.approvals.get(question.approval_id).withdrawn_by == "thread"
        with pytest.raises(ConflictError):
            governor.approvals.decide(question.approval_id, "approve", by="lea")
        assert len(serves.requests) == 3
        check_books(governor, serves, "3")

"""A question that its thread went on without is withdrawn, and its money returned; no other one is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aegis_langchain import AegisMiddleware
from aegis_langgraph import ApprovalResumer
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver

from aegis_core import Settings, connect_sync
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor

from .test_resuming import CONFIG, START_WITH, Paying, ScriptedChat, day_of

pytestmark = pytest.mark.concurrent


@pytest.fixture
def operator(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as governor:
        governor.handshake("payer")
        governor.set_budget("agent", "payer", "day", 100)  # what waits for people holds at most half of a budget
        yield governor


@pytest.fixture
def aegis(operator: SyncGovernor) -> SyncGovernedAgent:
    return operator.handshake("payer")


def asked(operator: SyncGovernor) -> list[int]:
    """The amounts of the questions that are open, in order."""
    return sorted(int(each.amount_usd) for each in operator.approvals.list())


def withdrawn(operator: SyncGovernor) -> list[tuple[int, object]]:
    return [(int(each.amount_usd), each.withdrawn_by) for each in operator.approvals.list("withdrawn")]


def asks(paying: Paying, amount: int, config: Any = CONFIG, given: Any = START_WITH) -> None:
    paying.calls = [{"name": "pay", "args": {"amount": amount}, "id": f"call-{amount}"}]
    assert "__interrupt__" in paying.graph.invoke(given, config)


def test_a_new_input_leaves_the_question_before_it(operator: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """By a resumer that starts after that, too; and the new question is answered as ever."""
    paying = Paying(aegis)
    asks(paying, 6)
    asks(paying, 3 + 4)
    assert asked(operator) == [6, 7]
    resumer = ApprovalResumer(paying.graph, operator, name="r")
    resumer.run_once()
    assert (asked(operator), withdrawn(operator)) == ([7], [(6, "thread")])
    assert day_of(aegis).reserved_usd == 7
    operator.approvals.decide(operator.approvals.list()[0].approval_id, "approve", by="lea")
    (resumed,) = resumer.run_once()
    assert (resumed.error, paying.paid, day_of(aegis).reserved_usd) == (None, [7], 0)


def test_a_thread_that_went_on_to_its_end_leaves_its_question(operator: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """It has no task left, so it is known by what it said."""
    paying = Paying(aegis)
    asks(paying, 6)
    paying.calls = []
    paying.graph.invoke(START_WITH, CONFIG)
    assert paying.graph.get_state(CONFIG).tasks == ()
    ApprovalResumer(paying.graph, operator, name="r").run_once()
    assert (withdrawn(operator), day_of(aegis).reserved_usd) == ([(6, "thread")], 0)


@pytest.mark.leaves("questions")
def test_going_on_from_an_earlier_place_leaves_the_question(operator: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """The message that asked for the call is no longer in the thread, but in what it was before."""
    paying = Paying(aegis)
    asks(paying, 6)
    first = next(each for each in paying.graph.get_state_history(CONFIG) if each.next == ("agent",))
    asks(paying, 8, first.config, None)
    ApprovalResumer(paying.graph, operator, name="r").run_once()
    assert (asked(operator), withdrawn(operator)) == ([8], [(6, "thread")])


def test_an_agent_of_create_agent_leaves_its_question(operator: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """Of two calls of one answer both; the calls of the next one stay."""

    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    def calling(*amounts: int) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": "pay", "args": {"amount": n}, "id": f"call-{n}"} for n in amounts])

    operator.set_budget("agent", "payer", "day", 100)
    governed = AegisMiddleware(aegis, costs=lambda _, arguments: arguments["amount"])
    model = ScriptedChat(messages=iter([calling(6, 7), calling(8)]))
    agent: Any = create_agent(model, [pay], middleware=[governed], checkpointer=InMemorySaver())
    agent.invoke(START_WITH, CONFIG)
    assert asked(operator) == [6, 7]
    agent.invoke(START_WITH, CONFIG)
    ApprovalResumer(agent, operator, name="r").run_once()
    assert (asked(operator), sorted(withdrawn(operator))) == ([8], [(6, "thread"), (7, "thread")])
    operator.approvals.decide(operator.approvals.list()[0].approval_id, "reject", by="lea")


@pytest.mark.leaves("questions")
def test_a_question_that_may_still_be_taken_up_stays(operator: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """It was asked, and no checkpoint says so; its state was edited; or its message is gone, as a summary leaves it."""
    paying = Paying(aegis)
    asks(paying, 6)
    (message,) = [each for each in paying.graph.get_state(CONFIG).values["messages"] if each.type == "ai"]
    resumer = ApprovalResumer(paying.graph, operator, name="r")
    paying.graph.update_state(CONFIG, {"messages": [("user", "It is for the rent.")]}, as_node="agent")
    assert not paying.graph.get_state(CONFIG).interrupts
    resumer.run_once()
    assert asked(operator) == [6]
    gone = {"messages": [RemoveMessage(message.id)]}
    paying.graph.update_state(CONFIG, gone, as_node="agent")
    ApprovalResumer(paying.graph, operator, name="r").run_once()
    assert asked(operator) == [6]


@pytest.mark.leaves("questions")
def test_a_question_of_another_graph_stays(operator: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """Which calls its thread the same, and keeps it elsewhere."""
    mine, other = Paying(aegis), Paying(aegis)
    asks(other, 6)
    asks(mine, 7)
    mine.calls = []
    mine.graph.invoke(START_WITH, CONFIG)
    ApprovalResumer(mine.graph, operator, name="r").run_once()
    assert (asked(operator), withdrawn(operator)) == ([6], [(7, "thread")])

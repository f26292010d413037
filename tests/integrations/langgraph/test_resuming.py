"""What resumes a paused thread, and what a person may say to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aegis_langgraph import ApprovalResumer, GovernedToolNode, approval_node
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

import aegis_core
from aegis_core import Settings, connect_sync
from aegis_core.errors import ConfigurationError, InvalidRequestError
from aegis_core.sync import SyncGovernor

CONFIG: Any = {"configurable": {"thread_id": "t"}}
START_WITH: Any = {"messages": [("user", "Pay.")]}


@pytest.fixture
def operator(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as governor:
        yield governor


class Paying:
    """A graph whose model asks for payments once and then ends; `paid` is what was really paid."""

    def __init__(self, aegis: Any, *amounts: int, checkpointer: Any = None) -> None:
        self.paid: list[int] = []
        self.calls = [{"name": "pay", "args": {"amount": each}, "id": f"call-{each}"} for each in amounts]
        graph: Any = StateGraph(MessagesState)
        graph.add_node("agent", self._agent)
        graph.add_node("approve", approval_node(aegis, costs=lambda _, arguments: arguments["amount"]))
        graph.add_node("tools", GovernedToolNode([self.pay], aegis, costs=lambda _, arguments: arguments["amount"]))
        graph.add_edge(START, "agent")
        graph.add_edge("agent", "approve")
        graph.add_edge("tools", "agent")
        self.graph = graph.compile(checkpointer=checkpointer or InMemorySaver())

    def pay(self, amount: int) -> str:
        """Pay."""
        self.paid.append(amount)
        return f"paid {amount}"

    def _agent(self, state: MessagesState) -> Any:
        if state["messages"][-1].type == "tool":
            return {"messages": [AIMessage("Done.")]}
        return {"messages": [AIMessage("", tool_calls=self.calls)]}

    def told(self) -> list[str]:
        return [each.text for each in self.graph.get_state(CONFIG).values["messages"] if each.type == "tool"]

    def says(self, *decisions: dict[str, Any]) -> Any:
        return self.graph.invoke(Command(resume={"decisions": list(decisions)}), CONFIG)


def test_a_graph_without_a_checkpointer_is_refused(operator: SyncGovernor) -> None:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: state)
    graph.add_edge(START, "agent")
    with pytest.raises(ConfigurationError, match=r"compile\(checkpointer="):
        ApprovalResumer(graph.compile(), operator, name="r")
    with pytest.raises(ConfigurationError, match=r"compile\(checkpointer="):
        ApprovalResumer(graph.compile, operator, name="r").resume("t")


def test_an_approval_in_the_resume_counts_only_when_an_operator_of_aegis_gave_it(operator: SyncGovernor) -> None:
    paying = Paying(operator.handshake("payer"), 7)
    paying.graph.invoke(START_WITH, CONFIG)
    assert "__interrupt__" in paying.says({"type": "approve"})
    assert paying.paid == []
    operator.approvals.decide(operator.approvals.list()[0].approval_id, "approve", by="lea")
    paying.says({"type": "approve"})
    assert (paying.paid, paying.told()) == ([7], ["paid 7"])


def test_an_answer_of_the_wrong_form_poisons_no_thread(operator: SyncGovernor) -> None:
    paying = Paying(operator.handshake("payer"), 7)
    paying.graph.invoke(START_WITH, CONFIG)
    for wrong in ([], [{"type": "approve"}] * 2, [{"type": "maybe"}], [{"type": "edit"}]):
        assert "__interrupt__" in paying.says(*wrong)
    resumer = ApprovalResumer(paying.graph, operator, name="r")
    with pytest.raises(InvalidRequestError, match="waits for"):
        resumer.answer("t", [{"type": "approve"}] * 2)
    operator.approvals.decide(operator.approvals.list()[0].approval_id, "approve", by="lea")
    (resumed,) = resumer.run_once()
    assert resumed.state["messages"][-1].text == "Done."
    assert paying.paid == [7]


@pytest.mark.parametrize(
    ("decision", "paid", "told"),
    [
        ({"type": "reject", "message": "too dear"}, [], "A person declined it: too dear"),
        ({"type": "respond", "message": "I paid it in cash"}, [], "I paid it in cash"),
        ({"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 3}}}, [3], "paid 3"),
    ],
)
def test_a_person_at_the_graph_may_narrow(
    operator: SyncGovernor, decision: dict[str, Any], paid: list[int], told: str
) -> None:
    aegis = operator.handshake("payer")
    paying = Paying(aegis, 7)
    paying.graph.invoke(START_WITH, CONFIG)
    assert "__interrupt__" not in paying.says(decision)
    assert paying.paid == paid
    assert told.lower() in paying.told()[0].lower()
    assert operator.approvals.list() == ()
    day = next(s for s in aegis.budget().budgets if (s.scope, s.window) == ("agent", "day"))
    assert (day.spent_usd, day.reserved_usd) == (sum(paid), 0)


def test_an_edit_to_something_dear_asks_an_operator_again(operator: SyncGovernor) -> None:
    paying = Paying(operator.handshake("payer"), 7)
    paying.graph.invoke(START_WITH, CONFIG)
    assert "__interrupt__" in paying.says({"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 8}}})
    (approval,) = operator.approvals.list()
    assert approval.amount_usd == 8
    operator.approvals.decide(approval.approval_id, "approve", by="lea")
    ApprovalResumer(paying.graph, operator, name="r").run_once()
    assert (paying.paid, paying.told()) == ([8], ["paid 8"])


def test_it_interrupts_once_for_those_that_need_a_person_and_resumes_when_all_are_decided(
    operator: SyncGovernor,
) -> None:
    aegis = operator.handshake("payer")
    operator.set_budget("agent", "payer", "day", 100)
    paying = Paying(aegis, 1, 6, 7)
    (asked,) = paying.graph.invoke(START_WITH, CONFIG)["__interrupt__"]
    assert [each["args"]["amount"] for each in asked.value["action_requests"]] == [6, 7]
    resumer = ApprovalResumer(paying.graph, operator, name="r")
    first, second = sorted(operator.approvals.list(), key=lambda approval: approval.amount_usd)
    operator.approvals.decide(first.approval_id, "approve", by="lea")
    assert resumer.run_once() == []
    operator.approvals.decide(second.approval_id, "reject", by="lea", reason="no")
    assert len(resumer.run_once()) == 1
    assert sorted(paying.paid) == [1, 6]
    assert resumer.run_once() == []


def test_of_many_resumers_one_carries_a_thread_on(operator: SyncGovernor) -> None:
    paying = Paying(operator.handshake("payer"), 7)
    paying.graph.invoke(START_WITH, CONFIG)
    operator.approvals.decide(operator.approvals.list()[0].approval_id, "approve", by="lea")
    resumers = [ApprovalResumer(paying.graph, operator, name="r") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        done = [len(each) for each in pool.map(lambda resumer: resumer.run_once(), resumers)]
    assert sorted(done) == [0, 0, 0, 0, 0, 1]
    assert paying.paid == [7]


async def test_an_async_connection_resumes_an_async_graph(settings: Settings) -> None:
    async with aegis_core.connect(settings=settings) as governor:
        paying = Paying(await governor.handshake("payer"), 7)
        await paying.graph.ainvoke(START_WITH, CONFIG)
        resumer = ApprovalResumer(paying.graph, governor, name="r")
        with pytest.raises(ConfigurationError, match="await arun"):
            resumer.run_once()
        running = asyncio.ensure_future(resumer.arun(until=lambda: bool(paying.paid), interval=0.1))
        (approval,) = await governor.approvals.list()
        await governor.approvals.decide(approval.approval_id, "approve", by="lea")
        async with asyncio.timeout(60):
            await running
        assert paying.paid == [7]

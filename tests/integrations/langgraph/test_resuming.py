"""What resumes a paused thread, and what a person may say to it."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aegis_langchain import AegisMiddleware
from aegis_langgraph import ApprovalResumer, GovernedToolNode, approval_node
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

import aegis_core
from aegis_core import AegisDenied, Settings, connect_sync
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.errors import ConfigurationError, InvalidRequestError
from aegis_core.protocol.messages import BudgetState
from aegis_core.store.embedded import find_binary
from aegis_core.testing import private_settings

pytestmark = pytest.mark.concurrent

CONFIG: Any = {"configurable": {"thread_id": "t"}}
START_WITH: Any = {"messages": [("user", "Pay.")]}


@pytest.fixture
def operator(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as governor:
        yield governor


class ScriptedChat(GenericFakeChatModel):
    """A model of `create_agent` that says what it was told to."""

    model: str = "gpt-4o-mini"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        return self


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


def day_of(aegis: SyncGovernedAgent) -> BudgetState:
    return next(each for each in aegis.budget().budgets if (each.scope, each.window) == ("agent", "day"))


def settled_within(aegis: SyncGovernedAgent, seconds: float) -> bool:
    """Whether nothing is held after so many seconds, long before a deadline."""
    until = time.monotonic() + seconds
    while day_of(aegis).reserved_usd > 0 and time.monotonic() < until:
        time.sleep(0.05)
    return day_of(aegis).reserved_usd == 0


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
    day = day_of(aegis)
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


def test_a_final_refusal_leaves_nothing_held_for_the_calls_beside_it(operator: SyncGovernor) -> None:
    """What was granted in the same answer is not run, so it costs nothing."""
    aegis = operator.handshake("payer")
    paying = Paying(aegis, 1, 20)
    for thread in "abc":
        config: Any = {"configurable": {"thread_id": thread}}
        if thread == "c":
            with pytest.raises(AegisDenied, match="so the run ends"):
                paying.graph.invoke(START_WITH, config)
        else:
            paying.graph.invoke(START_WITH, config)
    assert paying.paid == [1, 1]
    assert settled_within(aegis, 2)
    assert day_of(aegis).spent_usd == 2


def test_a_call_whose_cost_cannot_be_said_leaves_nothing_held_for_the_others(operator: SyncGovernor) -> None:
    """A model forgets an argument that the function of costs needs."""
    aegis = operator.handshake("payer")
    paying = Paying(aegis, 1)
    paying.calls.append({"name": "pay", "args": {}, "id": "call-2"})
    with pytest.raises(KeyError, match="amount"):
        paying.graph.invoke(START_WITH, CONFIG)
    assert settled_within(aegis, 2)
    assert (paying.paid, day_of(aegis).spent_usd) == ([], 0)


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


def test_questions_that_a_thread_asks_at_once_are_answered_by_their_ids(operator: SyncGovernor) -> None:
    """An agent of `create_agent` asks for each call by itself."""

    class PowerCutError(BaseException):
        """The process dies."""

    cuts, paid = threading.Semaphore(2), list[int]()

    def pay(amount: int) -> str:
        """Pay."""
        if cuts.acquire(blocking=False):
            raise PowerCutError
        paid.append(amount)
        return f"paid {amount}"

    aegis = operator.handshake("payer")
    calls = [{"name": "pay", "args": {"amount": each}, "id": f"call-{each}"} for each in (1, 2)]
    script = [AIMessage("", tool_calls=calls, id="asks"), AIMessage("Done.")]
    agent: Any = create_agent(
        ScriptedChat(messages=iter(script)), [pay], middleware=[AegisMiddleware(aegis)], checkpointer=InMemorySaver()
    )
    with pytest.raises(PowerCutError):
        agent.invoke(START_WITH, CONFIG, durability="sync")
    resumer = ApprovalResumer(agent, operator, name="r")
    assert resumer.resume("t") is not None
    asked = {each.value["action_requests"][0]["args"]["amount"]: each.id for each in agent.get_state(CONFIG).interrupts}
    assert set(asked) == {1, 2}
    with pytest.raises(InvalidRequestError, match=f"waits for these numbers .*{asked[1]}: 1"):
        resumer.answer("t", [{"type": "approve"}, {"type": "approve"}])
    with pytest.raises(InvalidRequestError, match="waits for these numbers"):
        resumer.answer("t", {"another": [{"type": "approve"}]})
    resumer.answer("t", {asked[2]: [{"type": "respond", "message": "two was paid"}]})
    resumed = resumer.answer("t", {asked[1]: [{"type": "approve"}]})
    assert resumed is not None
    told = [each.text for each in resumed.state["messages"]]
    assert told[-3:] == ["paid 1", "two was paid", "Done."]
    assert paid == [1]


@contextmanager
def server_in(directory: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server of its own, with its data on disk before it answers: by default a write may wait for the one before it,
    and would be lost with the process."""
    command = [str(find_binary()), "--port", "0", "--unixsocket", f"{directory}/s", "--dir", directory, "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--logfile", f"{directory}/log"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not Path(directory, "s").exists() and time.monotonic() < until:
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
        Path(directory, "s").unlink(missing_ok=True)


def test_a_resumer_outlives_an_outage_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """Its threads wait while Aegis cannot be reached; then they are carried on."""
    caplog.set_level("WARNING", logger="aegis.langgraph")
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        first = stack.enter_context(server_in(directory))
        settings = private_settings(url=f"unix://{directory}/s", store_timeout_seconds=1)
        governor = stack.enter_context(connect_sync(settings=settings))
        paying = Paying(governor.handshake("payer"), 7)
        paying.graph.invoke(START_WITH, CONFIG)
        resumer = ApprovalResumer(paying.graph, governor, name="r")
        ends, pool = threading.Event(), stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(ends.set)
        running = pool.submit(resumer.run, until=lambda: bool(paying.paid) or ends.is_set(), interval=0.2)
        first.kill()
        first.wait()
        until = time.monotonic() + 60
        while "cannot be reached" not in caplog.text and time.monotonic() < until:
            time.sleep(0.05)
        assert not running.done()
        Path(directory, "s").unlink(missing_ok=True)
        stack.enter_context(server_in(directory))
        governor.approvals.decide(governor.approvals.list()[0].approval_id, "approve", by="lea")
        running.result(timeout=60)
        assert paying.paid == [7]

"""What is agentchat's own: selectors, hand-offs that outlive a process, workbenches, streams, tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from aegis_autogen.agentchat.cancellation import linked
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import HandoffTermination, TextMentionTermination
from autogen_agentchat.messages import HandoffMessage, ToolCallExecutionEvent
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_agentchat.tools import AgentTool
from autogen_core import CancellationToken
from autogen_core.models import UserMessage
from autogen_core.tools import FunctionTool, StaticWorkbench, ToolResult
from autogen_ext.models.openai import OpenAIChatCompletionClient

from aegis_core.adapting import CallGovernor, Reservation, ToolCall, ToolLock, current_fence, hash_arguments
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.testing import ModelScript, ToolUse, Turn, private_settings

from .harness import ScriptedClient

pytestmark = pytest.mark.concurrent

PAY = ToolUse("pay", {"amount": 7}, "call-1")
PRICE = Decimal("0.000027")
"""100 and 20 tokens of gpt-4o-mini, which scripts report."""


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4().hex[:12]}"


@pytest.fixture
def governor(server_url: str, tenant: str) -> Iterator[SyncGovernor]:
    with connect_sync(settings=private_settings(url=server_url, tenant=tenant)) as governor:
        yield governor


@pytest.fixture
def aegis(governor: SyncGovernor) -> SyncGovernedAgent:
    return governor.handshake("agentchat")


def day(aegis: SyncGovernedAgent) -> tuple[Decimal, Decimal]:
    found = next(state for state in aegis.budget().budgets if (state.scope, state.window) == ("agent", "day"))
    return found.spent_usd, found.reserved_usd


def governed(aegis: SyncGovernedAgent, script: ModelScript) -> Any:
    return GovernedChatCompletionClient(ScriptedClient(script), aegis, model=script.model, max_output_tokens=64)


def assistant(aegis: SyncGovernedAgent, script: ModelScript, *functions: Any, **more: Any) -> AssistantAgent:
    settings = {
        key: more.pop(key) for key in ("costs", "locks", "approval_seconds", "hand_off", "thread") if key in more
    }
    tools: Any = govern_tools(functions, aegis, **settings)
    return AssistantAgent("assistant", governed(aegis, script), tools=tools, max_tool_iterations=10, **more)


def told(messages: Any) -> list[str]:
    return [each.content for event in messages if isinstance(event, ToolCallExecutionEvent) for each in event.content]


async def test_a_selector_is_governed_by_its_own_client(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    chair, picks, says = governor.handshake("chair"), ModelScript(Turn("bob")), ModelScript(Turn("DONE"))
    members: Any = [AssistantAgent(name, governed(aegis, says), description=name) for name in ("alice", "bob")]
    ends = TextMentionTermination("DONE")
    team = SelectorGroupChat(members, model_client=governed(chair, picks), termination_condition=ends)
    result: Any = await team.run(task="Who are you?")
    assert result.messages[-1].source == "bob"
    assert (day(chair), day(aegis)) == ((PRICE * len(picks.calls), 0), (PRICE, 0))
    governor.set_budget("agent", chair.agent_id, "day", "0.000001")
    await team.reset()
    with pytest.raises(Exception, match="Aegis refused this call") as caught:
        await team.run(task="Who are you?")
    denied = AegisDenied.from_exception(caught.value)
    assert denied is not None
    assert (denied.code, len(says.calls)) == ("budget_exceeded", 1)


async def test_the_words_of_a_hand_off_are_no_intent(aegis: SyncGovernedAgent) -> None:
    """A Swarm says "Transferred to bob", which the shipped rules would take for a transfer on a chain."""
    says = ModelScript(Turn(tools=(ToolUse("transfer_to_bob", {}, "call-1"),)), Turn("Bob is here. DONE"))
    team = Swarm(
        [
            AssistantAgent("alice", governed(aegis, says), handoffs=["bob"]),
            AssistantAgent("bob", governed(aegis, says)),
        ],
        termination_condition=TextMentionTermination("DONE"),
    )
    result: Any = await team.run(task="Explain how a bank transfer works")
    assert (result.messages[-1].source, len(says.calls)) == ("bob", 2)


def script_of_hand_off(*further: Turn) -> ModelScript:
    hand_over = ToolUse("transfer_to_user", {}, "call-2")
    return ModelScript(Turn(tools=(PAY,)), Turn(tools=(hand_over,)), *further)


def durable(aegis: SyncGovernedAgent, script: ModelScript, paid: list[int], **more: Any) -> RoundRobinGroupChat:
    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return f"paid {amount}"

    more |= {"costs": {"pay": 7}, "hand_off": "user", "thread": "order-1", "handoffs": ["user"]}
    agent = assistant(aegis, script, pay, **more)
    ends = HandoffTermination(target="user") | TextMentionTermination("DONE")
    return RoundRobinGroupChat([agent], termination_condition=ends)


@pytest.mark.parametrize("decision", ["approve", "reject", "edit"])
@pytest.mark.leaves("questions")
async def test_a_hand_off_waits_for_a_human_without_a_process(
    server_url: str, tenant: str, governor: SyncGovernor, aegis: SyncGovernedAgent, decision: str
) -> None:
    """The state is JSON; another connection loads it after the decision, and the approved call runs once."""
    paid: list[int] = []
    governor.set_budget("agent", aegis.agent_id, "day", "100")
    first = script_of_hand_off()
    team = durable(aegis, first, paid)
    result: Any = await team.run(task="Pay 7.")
    assert "handed" in (result.stop_reason or "").lower() or "Handoff" in (result.stop_reason or "")
    assert "A human must approve pay(amount=7)" in told(result.messages)[0]
    state = json.dumps(await team.save_state())
    (waiting,) = governor.approvals.list()
    assert (paid, day(aegis)[1]) == ([], 7)
    more: Any = {"edit": {"arguments_hash": hash_arguments({"amount": 1})}} if decision == "edit" else {}
    word: Any = "reject" if decision == "reject" else "approve"
    governor.approvals.decide(waiting.approval_id, word, by="ada", **more)

    with connect_sync(settings=private_settings(url=server_url, tenant=tenant)) as elsewhere:
        again = elsewhere.handshake("agentchat")
        second = ModelScript(Turn(tools=(PAY,)), Turn(tools=(PAY,)), Turn("DONE"))
        resumed = durable(again, second, paid)
        await resumed.load_state(json.loads(state))
        answer = HandoffMessage(source="user", target="assistant", content="They have answered.")
        result = await resumed.run(task=answer)
    heard = told(result.messages)
    if decision == "approve":
        assert (heard[0], paid) == ("paid 7", [7])
        assert "A human must approve pay(amount=7)" in heard[1]  # the same call once more is another question
        assert day(aegis)[0] == 7 + PRICE * (len(first.calls) + len(second.calls))
    else:
        assert paid == []
        assert "Aegis refused pay(amount=7)" in heard[0]


@pytest.mark.leaves("questions")
async def test_two_equal_calls_at_once_are_two_questions(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """One approval runs one of them."""
    paid: list[int] = []
    governor.set_budget("agent", aegis.agent_id, "day", "100")
    twice = Turn(tools=(PAY, ToolUse("pay", {"amount": 7}, "call-2")))
    team = durable(aegis, ModelScript(twice, Turn("DONE")), paid)
    await team.run(task="Pay 7 twice.")
    assert len(governor.approvals.list()) == 1  # the second joined it
    governor.approvals.decide(governor.approvals.list()[0].approval_id, "approve", by="ada")
    again = durable(aegis, ModelScript(twice, Turn("DONE")), paid)
    await again.run(task="Both, now.")
    assert paid == [7]
    assert len(governor.approvals.list()) == 1


async def test_a_handed_off_call_takes_its_lock_after_the_answer(
    governor: SyncGovernor, aegis: SyncGovernedAgent
) -> None:
    """Where it is not available, the call has had its turn and costs nothing; the next one is another question."""
    paid: list[int] = []
    governor.set_budget("agent", aegis.agent_id, "day", "100")
    locks = {"pay": ToolLock("wallet", wait=0)}
    await durable(aegis, script_of_hand_off(), paid, locks=locks).run(task="Pay 7.")
    assert governor.locks() == ()
    governor.approvals.decide(governor.approvals.list()[0].approval_id, "approve", by="ada")
    twice = ModelScript(Turn(tools=(PAY,)), Turn(tools=(PAY,)), Turn("DONE"))
    with governor.handshake("other").lock("wallet"):
        result: Any = await durable(aegis, twice, paid, locks=locks).run(task="They have answered.")
    refused, asked = told(result.messages)
    assert "the lock wallet was not free within 0 s" in refused
    assert "A human must approve pay(amount=7)" in asked
    governor.approvals.decide(governor.approvals.list()[0].approval_id, "approve", by="ada")
    await durable(aegis, ModelScript(Turn(tools=(PAY,)), Turn("DONE")), paid, locks=locks).run(
        task="They have answered."
    )
    assert paid == [7]
    assert governor.locks() == ()
    assert day(aegis)[1] == 0


async def test_a_handed_off_call_is_judged_anew_once_its_refusal_was_told(
    server_url: str, tenant: str, governor: SyncGovernor, aegis: SyncGovernedAgent
) -> None:
    """Budgets are raised and questions run out; only what a person declined stays declined."""
    paid: list[int] = []
    once = script_of_hand_off(Turn("DONE"))
    governor.set_budget("agent", aegis.agent_id, "day", "3")
    result: Any = await durable(aegis, ModelScript(Turn(tools=(PAY,)), Turn("DONE")), paid).run(task="Pay 7.")
    assert "it costs up to $7.00" in told(result.messages)[0]

    governor.set_budget("agent", aegis.agent_id, "day", "100")
    hasty = private_settings(url=server_url, tenant=tenant, approval_seconds=0.2)
    with connect_sync(settings=hasty) as elsewhere:
        asked: Any = await durable(elsewhere.handshake("agentchat"), once, paid).run(task="There is more now.")
    assert "A human must approve pay(amount=7)" in told(asked.messages)[0]
    await asyncio.sleep(0.3)
    twice = ModelScript(Turn(tools=(PAY,)), Turn(tools=(PAY,)), Turn("DONE"))
    late: Any = await durable(aegis, twice, paid).run(task="They come late.")
    assert "Aegis refused pay(amount=7)" in told(late.messages)[0]
    assert "A human must approve pay(amount=7)" in told(late.messages)[1]

    governor.approvals.decide(governor.approvals.list()[0].approval_id, "reject", by="ada")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="so the run ends"):
            await durable(aegis, ModelScript(Turn(tools=(PAY,))), paid).run(task="They have answered.")
    assert (paid, governor.approvals.list()) == ([], ())


async def test_several_answers_of_one_call_are_all_reserved(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """Each may be as long as the cap that is sent."""
    script = ModelScript(Turn("Hello."))
    said = [UserMessage(content="Hello?", source="user")]
    governor.set_budget("agent", aegis.agent_id, "day", "0.0003")
    await governed(aegis, script).create(said, extra_create_args={"n": 8, "max_tokens": 100})
    (entry,) = script.calls
    assert 16 <= (entry.cap or 0) <= 62


async def test_a_plain_function_learns_the_fence_of_its_lock(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """Also one that was made a tool before, which stays as it was."""

    def look() -> int | None:
        """Look."""
        return current_fence()

    own = FunctionTool(look, description="Look.")
    tools: Any = govern_tools([look, own], aegis, locks={"look": "wallet"})
    first, second = [await tool.run_json({}, CancellationToken()) for tool in tools]
    assert first < second
    assert await own.run_json({}, CancellationToken()) is None


async def test_others_go_on_while_one_waits(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """An approval that is awaited in the tool pauses that call alone."""
    looked = asyncio.Event()

    async def look() -> str:
        """Look."""
        looked.set()
        return "looked"

    async def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    async def operator() -> None:
        await asyncio.wait_for(looked.wait(), 60)
        while not (waiting := governor.approvals.list()):  # noqa: ASYNC110 - it is in the server
            await asyncio.sleep(0.02)
        governor.approvals.decide(waiting[0].approval_id, "approve", by="ada")

    script = ModelScript(Turn(tools=(PAY, ToolUse("look", {}, "call-2"))), Turn("DONE"))
    agent = assistant(aegis, script, pay, look, costs={"pay": 7}, approval_seconds=60)
    result, _ = await asyncio.gather(agent.run(task="Pay and look."), operator())
    assert sorted(told(result.messages)) == ["looked", "paid 7"]


async def test_a_token_cancels_a_call_that_waits(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """At once, and an approval that comes later holds nothing. (An agent's run hangs on it, as on any tool.)"""

    async def pay(amount: int) -> str:
        """Pay."""
        raise AssertionError

    (tool,) = govern_tools([pay], aegis, costs={"pay": 7}, approval_seconds=60)
    token = CancellationToken()
    running = asyncio.ensure_future(tool.run_json({"amount": 7}, token, call_id="call-1"))
    while not (waiting := governor.approvals.list()):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)  # half of how long it would wait for the approval
    governor.approvals.decide(waiting[0].approval_id, "approve", by="ada")
    async with asyncio.timeout(30):
        while day(aegis) != (0, 0):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_call_that_is_cancelled_as_it_is_granted_holds_nothing(aegis: SyncGovernedAgent) -> None:
    """Its money was held, and before anybody heard of that nobody wanted it any more."""
    calls = CallGovernor(aegis, framework="autogen", costs={"pay": 3})

    async def granted() -> Reservation:
        held = await calls.abegin(ToolCall("pay", {"amount": 1}))
        assert day(aegis) == (0, 3)
        asyncio.get_running_loop().call_soon(task.cancel)
        return held

    task = asyncio.create_task(linked(granted(), None))
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while day(aegis) != (0, 0):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_workbench_is_governed(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """As that of an MCP server: a refusal is a failed result, and a failed tool costs nothing."""
    ran: list[int] = []

    def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        if amount > 100:
            raise RuntimeError("too much")
        return f"paid {amount}"

    plain: Any = govern_tools([pay], aegis)
    bench = govern_tools(StaticWorkbench([plain[0]._inner]), aegis, costs=lambda _tool, given: given["amount"] / 100)
    async with bench:
        assert [tool["name"] for tool in await bench.list_tools()] == ["pay"]
        done = await bench.call_tool("pay", {"amount": 100})
        failed = await bench.call_tool("pay", {"amount": 200})
        governor.set_budget("agent", aegis.agent_id, "day", "1.50")
        refused = await bench.call_tool("pay", {"amount": 60})
    assert (done.to_text(), done.is_error) == ("paid 100", False)
    assert failed.is_error
    assert refused.is_error
    assert "Aegis refused pay(amount=60): it costs up to $0.60 and $0.50" in refused.to_text()
    assert (ran, day(aegis)) == ([100, 200], (1, 0))
    assert isinstance(refused, ToolResult)


async def test_an_agent_as_a_tool_streams_through(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """What it says meanwhile comes through, and a refusal keeps it from starting."""
    inner = ModelScript(Turn("The sky is blue."))
    expert = AssistantAgent("expert", governed(aegis, inner), description="Knows.")
    tools: Any = govern_tools([AgentTool(expert)], aegis, costs={"expert": 1})
    asks = Turn(tools=(ToolUse("expert", {"task": "The sky?"}, "call-1"),))
    agent = AssistantAgent(
        "assistant", governed(aegis, ModelScript(asks, Turn("Blue."))), tools=tools, max_tool_iterations=3
    )
    result: Any = await agent.run(task="Ask.")
    assert "expert" in [message.source for message in result.messages]
    assert day(aegis) == (1 + 3 * PRICE, 0)
    governor.set_budget("agent", aegis.agent_id, "day", "1.50")
    agent = AssistantAgent(
        "assistant", governed(aegis, ModelScript(asks, Turn("Blue."))), tools=tools, max_tool_iterations=3
    )
    assert "Aegis refused expert(" in told((await agent.run(task="Ask.")).messages)[0]
    assert len(inner.calls) == 1


async def test_an_unbroken_team_can_be_asked_again_after_a_final_refusal(
    governor: SyncGovernor, aegis: SyncGovernedAgent
) -> None:
    """The refusal ends the run that earned it, not those after it."""
    governor.set_budget("agent", aegis.agent_id, "day", "2")

    def pay(amount: int) -> str:
        """Pay."""
        raise AssertionError

    stubborn = Turn(tools=(PAY,))
    script = ModelScript(stubborn, stubborn, stubborn, Turn("Sorry."))
    agent = assistant(aegis, script, pay, costs={"pay": 7})
    with pytest.raises(AegisDenied, match="so the run ends"):
        await agent.run(task="Pay.")
    assert len(script.calls) == 3
    result: Any = await agent.run(task="Never mind.")
    assert result.messages[-1].content == "Sorry."


async def test_the_model_and_cap_of_a_configured_client_are_read(aegis: SyncGovernedAgent) -> None:
    """They need not be said twice."""
    inner = OpenAIChatCompletionClient(model="gpt-4o-mini", api_key="none", max_tokens=50)
    client = GovernedChatCompletionClient(inner, aegis)
    assert (client._model, client._inner.cap) == ("gpt-4o-mini", 50)
    await client.close()


def test_what_is_missing_is_told(aegis: SyncGovernedAgent) -> None:
    script: Any = ModelScript(Turn())
    with pytest.raises(ConfigurationError, match="does not say which model it calls"):
        GovernedChatCompletionClient(ScriptedClient(script), aegis)
    with pytest.raises(ConfigurationError, match="aegis= takes an agent of Aegis"):
        govern_tools([], "me")
    with pytest.raises(ConfigurationError, match="hand_off= needs thread="):
        govern_tools([], aegis, hand_off="user")


async def test_unknown_prices_refuse(aegis: SyncGovernedAgent) -> None:
    script = ModelScript(Turn("Hello."), model="nobodys-model")
    agent = AssistantAgent("assistant", governed(aegis, script))
    with pytest.raises(Exception, match="nobodys-model"):
        await agent.run(task="Hello.")
    assert script.calls == []

"""Calls that wait in asynchronous runs wait in no thread of the loop's shared pool, which others need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aegis_langchain import AegisCallbackHandler, AegisMiddleware
from langchain.agents import create_agent
from langchain_core.tools import StructuredTool

from aegis_core import AegisDenied, Settings, connect_sync
from aegis_core.adapting import ToolLock, current_fence
from aegis_core.client.sync import SyncGovernor
from aegis_core.testing import ModelScript, ToolUse, Turn

from .harness import ScriptedChat

pytestmark = pytest.mark.concurrent

PATIENCE = 60.0
MANY = 7


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as connected:
        yield connected


def in_small_pool(work: Any) -> None:
    """In an event loop whose shared pool has two threads, of whatever name."""

    async def within() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2, "loop"))
        async with asyncio.timeout(PATIENCE):
            await work

    asyncio.run(within())


def _paid(amount: int) -> str:
    """Pay so many dollars."""
    return f"paid {amount}"


async def _apaid(amount: int) -> str:
    return _paid(amount)


# LangChain runs a tool that has only plain code in a thread of the pool, with its callbacks.
pay = StructuredTool.from_function(_paid, coroutine=_apaid, name="pay")


async def until(done: Callable[[], object]) -> None:
    for _ in range(3_000):
        if done():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not come to that")


def decide(governor: SyncGovernor) -> None:
    for each in governor.approvals.list():
        governor.approvals.decide(each.approval_id, "approve", by="lea")


def test_approvals_that_a_callback_waits_for_keep_nobody_waiting(governor: SyncGovernor) -> None:
    """Another agent's model answers before anybody decides."""
    governor.handshake("payer")
    governor.set_budget("agent", "payer", "day", 100)
    paying: Any = {"callbacks": [AegisCallbackHandler(governor.handshake("payer"), costs={"pay": 7})]}
    harmless: Any = {"callbacks": [AegisCallbackHandler(governor.handshake("other"))]}

    async def work() -> None:
        waiting = [asyncio.create_task(pay.ainvoke({"amount": n}, paying)) for n in range(MANY)]
        await until(lambda: len(governor.approvals.list()) == MANY)
        answer = await ScriptedChat(ModelScript(Turn("It is sunny."))).ainvoke("Is it?", harmless)
        assert (answer.text, len(governor.approvals.list())) == ("It is sunny.", MANY)
        decide(governor)
        assert sorted(await asyncio.gather(*waiting)) == [f"paid {n}" for n in range(MANY)]

    in_small_pool(work())


def test_tools_that_share_a_lock_take_turns(governor: SyncGovernor) -> None:
    """Each of them, whoever waits: the holder gives it back by a callback, too."""
    locks = {"pay": ToolLock("wallet", wait=PATIENCE)}
    config: Any = {"callbacks": [AegisCallbackHandler(governor.handshake("payer"), locks=locks)]}

    async def work() -> None:
        paid = await asyncio.gather(*(pay.ainvoke({"amount": n}, config) for n in range(MANY)))
        assert sorted(paid) == [f"paid {n}" for n in range(MANY)]

    in_small_pool(work())
    assert governor.locks("wallet") == ()


def test_an_agents_middleware_keeps_nobody_waiting(governor: SyncGovernor) -> None:
    governor.handshake("payer")
    governor.set_budget("agent", "payer", "day", 100)
    payer = AegisMiddleware(governor.handshake("payer"), costs={"pay": 7}, approval_seconds=PATIENCE)

    def agent(turn: Turn, middleware: Any) -> Any:
        model = ScriptedChat(ModelScript(turn, Turn("Done."), tools={"pay": lambda amount: ""}))
        return create_agent(model, [pay], middleware=[middleware])

    async def work() -> None:
        start: Any = {"messages": [("user", "Pay.")]}
        turns = [Turn(tools=(ToolUse("pay", {"amount": n}, f"call-{n}"),)) for n in range(MANY)]
        waiting = [asyncio.create_task(agent(turn, payer).ainvoke(start)) for turn in turns]
        await until(lambda: len(governor.approvals.list()) == MANY)
        other = AegisMiddleware(governor.handshake("other"))
        assert (await agent(Turn("It is sunny."), other).ainvoke(start))["messages"][-1].text == "It is sunny."
        decide(governor)
        ended = await asyncio.gather(*waiting)
        assert [each["messages"][-1].text for each in ended] == ["Done."] * MANY

    in_small_pool(work())


def test_a_callback_refuses_in_each_way(governor: SyncGovernor) -> None:
    """Called in plain runs, also where a loop runs, and awaited in others: what it raises is never swallowed."""
    governor.handshake("payer")
    governor.set_budget("agent", "payer", "day", "0.01")
    config: Any = {"callbacks": [AegisCallbackHandler(governor.handshake("payer"), costs={"pay": 1})]}

    async def work() -> None:
        with pytest.raises(AegisDenied):
            pay.invoke({"amount": 1}, config)
        with pytest.raises(AegisDenied):
            await pay.ainvoke({"amount": 2}, config)
        with pytest.raises(AegisDenied):
            await asyncio.to_thread(pay.invoke, {"amount": 3}, config)

    in_small_pool(work())
    with pytest.raises(AegisDenied):
        pay.invoke({"amount": 4}, config)


def test_a_callback_can_be_called_by_hand(governor: SyncGovernor) -> None:
    """As other libraries do; and it is what its class says that it is."""
    handler = AegisCallbackHandler(governor.handshake("payer"))
    assert not asyncio.iscoroutinefunction(AegisCallbackHandler.on_tool_start)
    assert asyncio.iscoroutinefunction(handler.on_tool_start)
    assert current_fence() is None
    assert handler.on_llm_end.__doc__

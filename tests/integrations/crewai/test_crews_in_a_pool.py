"""CrewAI keeps a thread of the loop's shared pool for each crew that runs. Crews that wait need no further one."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aegis_crewai import GovernedLLM, govern_tools

from aegis_core.adapting import ToolLock
from aegis_core.client.sync import SyncGovernor
from aegis_core.testing import ModelScript, ToolUse, Turn

from .harness import ScriptedLLM, ScriptedTool, crew_of

pytestmark = pytest.mark.concurrent

PATIENCE = 100.0
THREADS = 2


def crew(aegis: Any, *turns: Turn, **options: Any) -> Any:
    script = ModelScript(*turns, tools={"pay": lambda amount: f"paid {amount}"})
    llm = GovernedLLM(aegis=aegis, models=ScriptedLLM(script))
    return crew_of(llm, govern_tools([ScriptedTool(script, "pay")], aegis, **options), "Pay.")


def asks(amount: int) -> Turn:
    return Turn(tools=(ToolUse("pay", {"amount": amount}, f"call-{amount}"),))


def in_small_pool(work: Any) -> None:
    async def within() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "asyncio"))
        async with asyncio.timeout(PATIENCE):
            await work

    asyncio.run(within())


def test_crews_that_fill_the_pool_while_they_wait_for_a_person_go_on(governor: SyncGovernor) -> None:
    payer = governor.handshake("payer")
    governor.set_budget("agent", "payer", "day", 100)

    async def work() -> None:
        crews = [crew(payer, asks(n), Turn("Done."), costs={"pay": 7}) for n in range(THREADS)]
        waiting = [asyncio.create_task(each.kickoff_async()) for each in crews]
        for _ in range(1_000):
            if len(governor.approvals.list()) == THREADS:
                break
            await asyncio.sleep(0.05)
        for each in governor.approvals.list():
            governor.approvals.decide(each.approval_id, "approve", by="lea")
        assert [str(each) for each in await asyncio.gather(*waiting)] == ["Done."] * THREADS

    in_small_pool(work())


@pytest.mark.parametrize("way", ["kickoff_async", "akickoff"])
def test_crews_that_share_a_lock_take_turns(governor: SyncGovernor, way: str) -> None:
    payer = governor.handshake("payer")
    locks = {"pay": ToolLock("wallet", wait=PATIENCE)}

    async def work() -> None:
        crews = [crew(payer, asks(n), Turn("Done."), locks=locks) for n in range(THREADS + 1)]
        ended = await asyncio.gather(*(getattr(each, way)() for each in crews))
        assert [str(each) for each in ended] == ["Done."] * len(crews)

    in_small_pool(work())
    assert governor.locks("wallet") == ()

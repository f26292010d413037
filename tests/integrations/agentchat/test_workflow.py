"""A team in a workflow: what is given the same one shares a session, under one approval."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_agentchat.teams import RoundRobinGroupChat
from planned import approve_plan

import aegis_core
from aegis_core import Settings, Step, connect_sync
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.testing import ModelScript, ToolUse, Turn

from .harness import ScriptedClient

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("questions")]

PLAN = [Step(tool="pay", times=1, upto_usd="0.5"), Step(resource_type="llm_tokens", upto_usd="0.05")]


async def test_a_team_is_governed_as_one(settings: Settings) -> None:
    def pay(amount: int) -> str:
        """Pay."""
        return f"Paid {amount}."

    with connect_sync(settings=settings) as governor, ThreadPoolExecutor(1) as pool:
        person = pool.submit(approve_plan, governor)
        with governor.workflow("pay", budget_usd="0.55", plan=PLAN) as flow:
            person.result(60)
            pays = [Turn(tools=(ToolUse("pay", {"amount": 1}, f"c{number}"),)) for number in range(2)]
            script = ModelScript(pays[0], pays[1], Turn("Done."), Turn("Seen."), tools={})
            model = GovernedChatCompletionClient(ScriptedClient(script), flow, model=script.model, max_output_tokens=64)
            tools: Any = govern_tools([pay], flow, costs={"pay": "0.5"}, approval_seconds=0)
            team = RoundRobinGroupChat(
                [AssistantAgent("payer", model, tools=tools, max_tool_iterations=5), AssistantAgent("clerk", model)],
                termination_condition=MaxMessageTermination(20),
                max_turns=2,
            )
            result: Any = await team.run(task="Pay the invoice")
            told = [each.content for event in result.messages if isinstance(event, ToolCallExecutionEvent)
                    for each in event.content]  # fmt: skip
            assert told[0] == "Paid 1."
            assert "Aegis refused pay(amount=1)" in told[1]
            found = flow.report()
            assert [(each.agent_id, each.agent_framework) for each in found.members] == [("autogen", "autogen")]
            assert [step.uses for step in found.plan.steps] == [1, len(script.calls)]
            assert (found.asked, found.open) == (1, 0)
            flow.end()
            with pytest.raises(Exception, match="workflow") as caught:
                await team.run(task="Pay another one")
            denied = AegisDenied.from_exception(caught.value)
            assert denied is not None
            assert denied.code == "workflow_ended"


async def test_a_workflow_of_coroutines_is_joined_first(settings: Settings) -> None:
    async with aegis_core.connect(settings=settings) as governor:
        block = governor.workflow("pay", budget_usd="0.5", plan=PLAN)
        waiting = asyncio.create_task(block.__aenter__())
        async for event in governor.follow(after="0"):
            if event.kind == "pending":
                break
        (asked,) = await governor.approvals.list()
        await governor.approvals.decide(asked.approval_id, "approve", by="ada")
        flow = await waiting
        inner = ScriptedClient(ModelScript(Turn("Done.")))
        with pytest.raises(ConfigurationError, match=r"join it first: aegis=await flow\.join"):
            GovernedChatCompletionClient(inner, flow, model="gpt-4o-mini")
        member = await flow.join("clerk", framework="autogen")
        agent = AssistantAgent("clerk", GovernedChatCompletionClient(inner, member, model="gpt-4o-mini"))
        assert (await agent.run(task="Go")).messages[-1].to_text() == "Done."
        assert (await flow.report()).plan.steps[1].uses == 1
        await block.__aexit__(None, None, None)

"""A hundred recorded runs through agentchat: every call is made, paid for and, where a rule asks, approved once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from autogen_agentchat.agents import AssistantAgent
from autogen_core import CancellationToken
from autogen_core.models import CreateResult, FunctionExecutionResultMessage
from autogen_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing import ModelScript, ToolUse, Turn
from integrations.airline import (
    AGENT,
    APPROVALS,
    CAP,
    MODEL,
    MODEL_CALLS,
    TOOL_CALLS,
    TOOL_USD,
    Answer,
    ApprovingOperator,
    Flight,
    Run,
    Totals,
    airline_governor,
    daily_and_deep,
    read_runs,
    recorded,
    spent_in_all,
)

from .harness import ScriptedClient, result_of


class RecordedClient(ScriptedClient):
    """The recorded model."""

    def __init__(self, flight: Flight) -> None:
        super().__init__(ModelScript(Turn()), MODEL)
        self._flight = flight

    async def create(self, messages: Any, *, extra_create_args: Any = None, **more: Any) -> CreateResult:
        assert extra_create_args == {"max_tokens": CAP}
        newest = messages[-1]
        told = newest.content[-1].content if isinstance(newest, FunctionExecutionResultMessage) else newest.content
        return result_of(turn_of(self._flight.answer(told)))


def turn_of(answer: Answer) -> Turn:
    tools = (ToolUse(answer.tool, json.loads(answer.arguments), answer.call_id),) if answer.tool else ()
    return Turn(answer.text, tools, (answer.input_tokens, answer.output_tokens))


class Anything(BaseModel):
    """Arguments of any shape."""

    model_config = ConfigDict(extra="allow")


class RecordedTool(BaseTool[Anything, str]):
    """A tool of the recording."""

    def __init__(self, flight: Flight, name: str) -> None:
        super().__init__(Anything, str, name, "")
        self._flight = flight

    async def run(self, args: Anything, cancellation_token: CancellationToken) -> str:
        return self._flight.use(self.name, args.model_dump())


async def replay(run: Run, aegis: SyncGovernedAgent) -> Flight:
    flight = Flight(run)
    client = GovernedChatCompletionClient(
        RecordedClient(flight), aegis, model=MODEL, max_output_tokens=CAP, thread=run.name
    )
    tools: Any = [RecordedTool(flight, name) for name in run.tools]
    governed: Any = govern_tools(tools, aegis, costs=lambda _tool, _arguments: TOOL_USD, thread=run.name)
    agent = AssistantAgent("assistant", client, tools=governed, system_message="", max_tool_iterations=60)
    for exchange in run.exchanges:
        await agent.run(task=exchange.user)
    return flight


@daily_and_deep
async def test_every_recorded_call_is_made_and_paid_for_once(shared_data: Path, tmp_path: Path, every: int) -> None:
    totals = Totals()
    runs = read_runs(shared_data, every)
    expected = recorded(runs)
    with airline_governor(tmp_path, asks=True) as governor, ApprovingOperator(governor) as operator:
        aegis = governor.handshake(AGENT)
        for run in runs:
            totals.add(await replay(run, aegis))
        assert spent_in_all(governor) == (totals.usd, 0)
    assert (totals.model_calls, totals.tool_calls, totals.escalated) == expected
    assert len(operator.approved) == expected[2]
    assert every > 1 or expected == (MODEL_CALLS, TOOL_CALLS, APPROVALS)

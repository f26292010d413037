"""A third party's server counts exactly the calls that the budget admits, alone and in a team."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ModelFamily
from autogen_ext.models.openai import OpenAIChatCompletionClient

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing import Drive
from integrations.ledger import S2

from .harness import caught, outcome_of, team_of


@pytest.mark.parametrize("alone", [True, False])
def test_s2(s2: S2, s2_aegis: SyncGovernedAgent, alone: bool) -> None:
    async def run() -> Any:
        info: Any = {
            "vision": False, "function_calling": True, "json_output": False, "structured_output": False,
            "family": ModelFamily.UNKNOWN,
        }  # fmt: skip
        inner = OpenAIChatCompletionClient(
            model=s2.model, base_url=s2.base_url, api_key="mock", max_tokens=s2.cap, model_info=info
        )
        agent = AssistantAgent(
            "assistant",
            GovernedChatCompletionClient(inner, s2_aegis),
            tools=govern_tools([s2.get_weather], s2_aegis),  # type: ignore[arg-type]
            system_message="",
            max_tool_iterations=20,
        )
        runner: Any = agent if alone else team_of(agent, Drive())
        try:
            return outcome_of((await runner.run(task=s2.user)).messages)
        finally:
            await inner.close()

    s2.agrees(s2_aegis, caught(lambda: asyncio.run(run())).error)

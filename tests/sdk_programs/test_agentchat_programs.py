"""agentchat: teams, selectors and swarms over clients of several providers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_ext.models.anthropic import AnthropicChatCompletionClient
from autogen_ext.models.openai import OpenAIChatCompletionClient
from loopback import Providers
from loopback.answering import Asked, Said
from loopback.clients import without_temperature
from pydantic import BaseModel

from aegis_core.client.sync import SyncGovernedAgent

Settled = Callable[..., None]


class Verdict(BaseModel):
    fair: bool
    why: str


async def weigh(grams: int) -> str:
    """Weigh a thing."""
    return f"It weighs {grams} g."


def test_models_that_think_and_others_in_one_team(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    async def main() -> None:
        thinker = GovernedChatCompletionClient(OpenAIChatCompletionClient(model="o3-mini"), aegis)
        claude = AnthropicChatCompletionClient(
            model="claude-haiku-4-5", base_url=at.root, api_key="none", model_info=INFO
        )
        writer = GovernedChatCompletionClient(without_temperature(claude), aegis)
        team = RoundRobinGroupChat(
            [AssistantAgent("thinker", thinker), AssistantAgent("writer", writer)],
            termination_condition=MaxMessageTermination(4),
        )
        await team.run(task="Agree on a title.")

    asyncio.run(main())
    assert set(at.models) == {"o3-mini", "claude-haiku-4-5"}
    settled()


def test_a_selector_chooses_who_speaks(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    def reply(asked: Asked) -> Said:
        if "select the next role" in str(asked.body).lower() or "Only return the role" in str(asked.body):
            return Said("judge" if len(at.bills) % 4 else "baker")
        return Said("Too salty.")

    at.reply = reply

    async def main() -> None:
        client = GovernedChatCompletionClient(OpenAIChatCompletionClient(model="gpt-4o-mini"), aegis)
        members: Any = [AssistantAgent(name, client, description=f"The {name}.") for name in ("baker", "judge")]
        team = SelectorGroupChat(members, client, termination_condition=MaxMessageTermination(4))
        await team.run(task="Bake a bread.")

    asyncio.run(main())
    assert len(at.bills) > 3
    settled()


def test_a_swarm_hands_over(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    def reply(asked: Asked) -> Said:
        if "transfer_to_clerk" in asked.tools and not asked.answered:
            return Said(calls=(("transfer_to_clerk", {}),))
        return Said("It is done. TERMINATE")

    at.reply = reply

    async def main() -> None:
        client = GovernedChatCompletionClient(OpenAIChatCompletionClient(model="gpt-4.1-mini"), aegis)
        team = Swarm(
            [AssistantAgent("desk", client, handoffs=["clerk"]), AssistantAgent("clerk", client)],
            termination_condition=TextMentionTermination("TERMINATE"),
        )
        await team.run(task="I want my money back.")

    asyncio.run(main())
    settled()


def test_tools_a_stream_and_a_shape(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    def reply(asked: Asked) -> Said:
        if asked.schema is not None:
            return Said('{"fair": true, "why": "It weighs enough."}')
        return Said("It is heavy.") if asked.answered else Said(calls=(("weigh", {"grams": 500}),))

    at.reply = reply

    async def main() -> Any:
        client = GovernedChatCompletionClient(OpenAIChatCompletionClient(model="gpt-4.1-mini"), aegis)
        tools = govern_tools([weigh], aegis, costs={"weigh": "0.003"}, priority=lambda call: 7)
        agent = AssistantAgent("scale", client, tools=tools, model_client_stream=True, reflect_on_tool_use=True)
        async for _ in agent.run_stream(task="Weigh the bread."):
            pass
        judge = AssistantAgent("judge", client, output_content_type=Verdict)
        return (await judge.run(task="Is it fair?")).messages[-1]

    found = asyncio.run(main())
    assert found.content == Verdict(fair=True, why="It weighs enough.")
    settled("0.003")


INFO: Any = {
    "vision": False, "function_calling": True, "json_output": True, "family": "unknown", "structured_output": True,
}  # fmt: skip

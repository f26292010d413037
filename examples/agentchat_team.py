"""An agentchat team on one budget. It needs autogen-ext[openai], and calls a model where OPENAI_API_KEY is set."""

import asyncio
import os
from typing import Any

from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient

import aegis_core


def order(item: str) -> str:
    return f"{item} is on its way"


async def main() -> None:
    async with aegis_core.connect() as governor:
        aegis = await governor.handshake("shop", session_budget_usd="0.0003")
        ideas = [f"Idea {number}: sell umbrellas." for number in range(100)]
        info: Any = dict.fromkeys(("vision", "json_output", "structured_output", "family"), False)
        model: Any = ReplayChatCompletionClient(ideas, model_info=info | {"function_calling": True})
        model.set_cached_bool_value(False)  # it says else that every answer was free
        model = OpenAIChatCompletionClient(model="gpt-4o-mini") if "OPENAI_API_KEY" in os.environ else model
        client = GovernedChatCompletionClient(model, aegis, model="gpt-4o-mini", max_output_tokens=100)
        tools: Any = govern_tools([order], aegis, costs={"order": "0.10"})
        team = RoundRobinGroupChat([AssistantAgent(name, client, tools=tools) for name in ("thinker", "critic")])
        try:
            async for message in team.run_stream(task="What should I sell in Bern? Keep improving on it."):
                print(getattr(message, "content", ""))
        except Exception as error:
            if (denied := aegis_core.AegisDenied.from_exception(error)) is None:
                raise
            print("The team ended within its budget:", denied.message)


asyncio.run(main())

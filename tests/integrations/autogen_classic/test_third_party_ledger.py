"""A third party's server counts exactly the calls that the budget admits, through AutoGen's own OpenAI client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aegis_autogen import register_governor
from autogen import ConversableAgent

from aegis_core.client.sync import SyncGovernedAgent
from integrations.ledger import S2

from .harness import QUIET, caught, ends, outcome_of


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_s2(s2: S2, s2_aegis: SyncGovernedAgent, mode: str) -> None:
    entry = {"model": s2.model, "base_url": s2.base_url, "api_key": "mock", "max_tokens": s2.cap, "price": [0, 0]}
    config: Any = {"config_list": [entry], "cache_seed": None}
    assistant = ConversableAgent("assistant", system_message="", llm_config=config, **QUIET)
    user = ConversableAgent("user", llm_config=False, is_termination_msg=ends, **QUIET)

    def get_weather(city: str) -> str:
        return s2.get_weather(city)

    register_governor(assistant, s2_aegis)
    assistant.register_for_llm(name="get_weather", description="Get weather for a city.")(get_weather)
    user.register_for_execution(name="get_weather")(get_weather)
    register_governor(user, s2_aegis)
    chat = {"message": s2.user, "silent": True, "max_turns": 20}

    def run() -> Any:
        if mode == "async":
            return outcome_of(asyncio.run(user.a_initiate_chat(assistant, **chat)))
        return outcome_of(user.initiate_chat(assistant, **chat))

    s2.agrees(s2_aegis, caught(run).error)

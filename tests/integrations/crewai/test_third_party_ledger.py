"""A third party's server counts exactly the calls that the budget admits, made by CrewAI's own client of OpenAI."""

from __future__ import annotations

import pytest
from aegis_crewai import GovernedLLM, govern_tools
from crewai import LLM
from crewai.tools import tool

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.protocol.denial import AegisDenied
from integrations.ledger import S2

from .harness import crew_of


@pytest.mark.parametrize("retries", [0, 3])
def test_a_crew(s2: S2, s2_aegis: SyncGovernedAgent, retries: int) -> None:
    model = LLM(model=f"openai/{s2.model}", base_url=s2.base_url, api_key="mock", max_tokens=s2.cap)

    @tool("get_weather")
    def get_weather(city: str) -> str:
        """Get weather for a city."""
        return s2.get_weather(city)

    llm = GovernedLLM(aegis=s2_aegis, models=model)
    crew = crew_of(llm, govern_tools([get_weather], s2_aegis), s2.user, retries)
    with pytest.raises(AegisDenied) as caught:
        crew.kickoff()
    s2.agrees(s2_aegis, caught.value)

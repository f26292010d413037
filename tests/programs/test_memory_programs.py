"""A crew that remembers: CrewAI's memory on its own store, whose model's every call is paid for like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aegis_crewai import govern_crew
from crewai import LLM, Agent, Crew, Task
from crewai.memory.unified_memory import Memory
from loopback.answering import sample
from paid_model import MODEL, Said, check_books, provider

from aegis_core.client.sync import SyncGovernor

FACT = "The red parcel weighs 4 kg."


def letters(texts: list[str]) -> list[list[float]]:
    """An embedder that costs nothing: how often each letter stands in a text."""
    return [[float(text.lower().count(chr(97 + place))) for place in range(26)] for text in texts]


def kept(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
    """What memory's model says: the one fact, and that all that is known of it stays."""
    schema = body["response_format"]["json_schema"]["schema"]
    if "memories" in schema["properties"]:
        return json.dumps({"memories": [FACT]})
    if "insert_new" in schema["properties"]:
        return json.dumps({"actions": [], "insert_new": False, "insert_reason": "It is known."})
    return json.dumps(sample(schema, "'parcels'"))


@pytest.mark.deep
def test_a_crew_remembers_what_another_learnt(governor: SyncGovernor, tmp_path: Path) -> None:
    """The first crew weighs a parcel; the second finds it among its memories, and its agent pays for nothing else."""

    def reply(messages: list[dict[str, Any]], body: dict[str, Any]) -> Said:
        if "response_format" in body:
            return Said(kept(messages, body))
        asked = str(messages[-1]["content"])
        if "Relevant memories" in asked:
            return Said("It was 4 kg." if FACT in asked else "I remember something else.")
        return Said(FACT)

    with provider(reply) as serves:
        llm = LLM(model=f"openai/{MODEL}", base_url=serves.url, api_key="none", max_tokens=300)
        memory = Memory(llm=llm, embedder=letters, storage=str(tmp_path))
        said = []
        for name, asked in (("weighers", "Weigh the red parcel."), ("writers", "What did the red parcel weigh?")):
            clerk = Agent(role=f"Clerk of {name}", goal="Be exact", backstory="You are.", llm=llm, verbose=False)
            task = Task(description=asked, expected_output="Its weight", agent=clerk)
            crew = Crew(name=name, agents=[clerk], tasks=[task], memory=memory, verbose=False)
            governed = govern_crew(crew, governor)
            assert {each.kind for each in governed.report() if not each.governed} == {"embedder"}
            said.append(str(crew.kickoff()))
        memory.close()
        assert said == [FACT, "It was 4 kg."]
        assert [each.content for each in memory.list_records()] == [FACT]
        assert len(serves.requests) > 4, "memory asks its model what to keep, and where"
        spent = {each.agent_id: governor.budget(each.agent_id).budgets[0].spent_usd for each in governor.agents()}
        assert set(spent) == {"Clerk-of-weighers", "Clerk-of-writers", "weighers"}, "memory is the first crew's"
        assert min(spent.values()) > 0
        check_books(governor, serves)

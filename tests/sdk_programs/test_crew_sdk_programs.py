"""CrewAI and classic AutoGen: crews, flows and nested chats. The slowest wait for `make test-deep`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from loopback import Providers
from loopback.answering import Asked, Said

from aegis_core.client.sync import SyncGovernedAgent

Settled = Callable[..., None]


def quiet_crew(aegis: Any, *members: tuple[str, str, dict[str, Any]], **options: Any) -> Any:
    """A crew of agents by role and task, governed."""
    from aegis_crewai import govern_crew
    from crewai import Agent, Crew, Task

    agents = [Agent(role=role, goal="Help", backstory="You help.", verbose=False, **more) for role, _, more in members]
    tasks = [
        Task(description=told, expected_output="A sentence", agent=agent)
        for agent, (_, told, _) in zip(agents, members, strict=True)
    ]
    crew = Crew(agents=agents, tasks=tasks, verbose=False, **options)
    govern_crew(crew, aegis, priority=6, task_type="report")
    return crew


def test_a_crew_for_each_of_several_inputs(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    at.reply = lambda _: Said("Thought: I know it.\nFinal Answer: It is 4 degrees.")
    crew = quiet_crew(
        aegis,
        ("observer", "The weather in {city}?", {"llm": "openai/gpt-5-mini"}),
        ("editor", "Make it short.", {"llm": "anthropic/claude-haiku-4-5"}),
    )
    found = crew.kickoff_for_each([{"city": city} for city in ("Bern", "Chur")])
    assert len(found) == 2
    assert set(at.models) == {"gpt-5-mini", "claude-haiku-4-5"}
    settled()


@pytest.mark.deep
def test_a_crew_with_a_manager(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    from crewai import Process

    at.reply = lambda _: Said("It is done.")
    crew = quiet_crew(
        aegis, ("writer", "Write a line.", {"llm": "openai/gpt-4o-mini"}),
        process=Process.hierarchical, manager_llm="openai/gpt-4.1-mini",
    )  # fmt: skip
    assert crew.kickoff().raw == "It is done."
    settled()


@pytest.mark.deep
def test_a_flow_with_a_guardrail(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    from crewai.flow.flow import Flow, listen, start

    at.reply = lambda _: Said("Thought: I know it.\nFinal Answer: It is 4 degrees.")
    seen: list[str] = []

    def short(output: Any) -> tuple[bool, Any]:
        seen.append(output.raw)
        return len(output.raw) < 80, output.raw

    class Report(Flow):  # type: ignore[type-arg]
        @start()
        def first(self) -> str:
            crew = quiet_crew(aegis, ("observer", "The weather?", {"llm": "openai/gpt-4o-mini"}))
            crew.tasks[0].guardrail = short
            return crew.kickoff().raw

        @listen(first)
        def then(self, told: str) -> str:
            crew = quiet_crew(aegis, ("editor", f"Shorten: {told}", {"llm": "openai/gpt-4o-mini"}))
            return crew.kickoff().raw

    assert Report(suppress_flow_events=True).kickoff() == "It is 4 degrees."
    settled()


def test_nested_chats_of_classic_autogen(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    from aegis_autogen import register_governor
    from autogen import ConversableAgent

    def reply(asked: Asked) -> Said:
        return Said("Shorter." if "critic" in str(asked.body["messages"][0]) else "A long text.")

    at.reply = reply
    quiet: Any = {"human_input_mode": "NEVER", "code_execution_config": False}

    def agent(name: str, model: str) -> ConversableAgent:
        config: Any = {"config_list": [{"model": model, "base_url": at.openai, "api_key": "none"}], "cache_seed": None}
        made = ConversableAgent(name, system_message=f"You are the {name}.", llm_config=config, **quiet)
        register_governor(made, aegis, task_type="text")
        return made

    writer, critic = agent("writer", "gpt-4o-mini"), agent("critic", "o3-mini")
    user = ConversableAgent("user", llm_config=False, **quiet)
    nested: Any = [{"recipient": critic, "summary_method": "last_msg", "max_turns": 1, "message": "Is it good?"}]
    outer = ConversableAgent("outer", llm_config=False, **quiet)
    outer.register_nested_chats(
        [*nested, {"recipient": writer, "summary_method": "last_msg", "max_turns": 1, "message": "Write."}],
        trigger=user,
    )
    user.initiate_chat(outer, message="Write a letter.", max_turns=1, silent=True)
    assert set(at.models) == {"gpt-4o-mini", "o3-mini"}
    settled()

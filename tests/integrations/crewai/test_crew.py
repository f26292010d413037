"""`govern_crew`: whatever a crew holds is governed, copies of it too, and the report tells what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from aegis_crewai import CallRefused, GovernedLLM, GovernedTool, govern_crew
from crewai import Agent, Crew, Process, Task
from crewai.agent.planning_config import PlanningConfig
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.memory.unified_memory import Memory
from crewai.tools import BaseTool
from pydantic import BaseModel

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.settings import Settings
from aegis_core.testing import ModelScript, ToolUse, Turn

from .harness import ScriptedLLM, ScriptedTool


class Sunny(BaseModel):
    sunny: bool


def scripted(*turns: Turn, **values: Any) -> ScriptedLLM:
    return ScriptedLLM(ModelScript(*turns or (Turn("It is sunny in Bern."),), **values))


def agent_of(role: str, llm: Any, tools: Any = (), **values: Any) -> Agent:
    return Agent(
        role=role, goal="Help", backstory="You help.", llm=llm, tools=list(tools), max_retry_limit=0, **values
    )  # fmt: skip


def task_of(agent: Agent | None, **values: Any) -> Task:
    return Task(description="What is the weather?", expected_output="An answer", agent=agent, **values)


def spent_by(governor: SyncGovernor, name: str) -> Decimal:
    return next(s.spent_usd for s in governor.budget(name).budgets if (s.scope, s.window) == ("agent", "day"))


def test_every_agent_asks_for_itself(governor: SyncGovernor) -> None:
    script = ModelScript(
        Turn(tools=(ToolUse("pay", {"amount": 1}, "a"),)), Turn("Paid."), tools={"pay": lambda amount: "ok"}
    )
    first = agent_of("Senior Payer", ScriptedLLM(script), [ScriptedTool(script, "pay")])
    second = agent_of("Writer", scripted())
    crew = Crew(agents=[first, second], tasks=[task_of(first), task_of(second)])
    governed = govern_crew(crew, governor, costs={"pay": "0.5"}, strict=True)
    assert crew.kickoff().raw == "It is sunny in Bern."
    call = Decimal("0.000027")  # 100 and 20 tokens
    assert spent_by(governor, "Senior-Payer") == Decimal("0.5") + 2 * call
    assert spent_by(governor, "Writer") == call
    assert [str(place) for place in governed.report()] == [
        "llm      agent Senior Payer: llm: gpt-4o-mini: governed",
        "tool     agent Senior Payer: tools: pay: governed",
        "llm      agent Writer: llm: gpt-4o-mini: governed",
        "tool     task 1: tools: pay: governed",
    ]


def test_one_agent_of_aegis_can_ask_for_all(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    agents = [agent_of("One", scripted()), agent_of("Two", scripted())]
    crew = Crew(agents=agents, tasks=[task_of(each) for each in agents])
    govern_crew(crew, aegis)
    crew.kickoff()
    assert spent_by(governor, aegis.agent_id) == Decimal("0.000054")


def test_a_tasks_own_tools_are_governed(governor: SyncGovernor) -> None:
    """They stand instead of the agent's."""
    script = ModelScript(
        Turn(tools=(ToolUse("own", {"amount": 1}, "a"),)), Turn("Paid."), tools={"own": lambda amount: "ok"}
    )
    agent = agent_of("Payer", ScriptedLLM(script), [ScriptedTool(script, "other")])
    crew = Crew(agents=[agent], tasks=[task_of(agent, tools=[ScriptedTool(script, "own")])])
    govern_crew(crew, governor, costs={"own": "0.5"})
    crew.kickoff()
    assert len(script.uses) == 1
    assert spent_by(governor, "Payer") > Decimal("0.5")


def test_every_hidden_model_is_found(governor: SyncGovernor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    planned = PlanningConfig(llm=scripted(model="gpt-4.1-nano"))
    agent = agent_of("Worker", scripted(), planning_config=planned)
    task = task_of(agent, guardrails=["must be sunny"], name="look")
    memory = Memory(llm=scripted(model="gpt-4.1"), embedder=lambda texts: [[0.0] * 8 for _ in texts])
    crew = Crew(
        agents=[agent], tasks=[task], process=Process.hierarchical, manager_llm="gpt-4o", planning=True,
        function_calling_llm="gpt-4o-mini", chat_llm=scripted(), memory=memory,
    )  # fmt: skip
    before = {place.where: place.governed for place in _report_before(crew)}
    governed = govern_crew(crew, governor)
    after = {place.where: place for place in governed.report()}
    handed_down = "agent Worker: function_calling_llm"
    expected = [
        "agent Worker: llm",
        "agent Worker: planning_config.llm",
        "task look: guardrail",
        "crew: manager_llm",
        "crew: planning_llm",
        "crew: chat_llm",
        "crew: memory.llm",
    ]
    assert set(before) == {*expected, "crew: function_calling_llm", "crew: memory.embedder"}
    assert not any(before.values())
    assert {place.where for place in after.values() if place.governed} == {*expected, handed_down}
    assert "crew: function_calling_llm" not in after
    assert isinstance(agent.__dict__["function_calling_llm"], GovernedLLM)
    assert isinstance(memory._llm, GovernedLLM)
    assert isinstance(crew.planning_llm, GovernedLLM)
    assert after["crew: memory.embedder"].note == "CrewAI asks nobody before it embeds"
    assert "embedder crew: memory.embedder: function: NOT GOVERNED (CrewAI asks nobody" in str(governed)


def _report_before(crew: Crew) -> Any:
    from aegis_crewai.coverage import places

    return list(places(crew))


def test_strict_names_what_stays_outside(governor: SyncGovernor) -> None:
    source = StringKnowledgeSource(content="It never rains in Bern.")
    agent = agent_of("Worker", scripted(), mcps=["https://tools.example/mcp"])
    crew = Crew(agents=[agent], tasks=[task_of(agent)])
    agent.knowledge_sources = [source]
    with pytest.raises(ConfigurationError, match=r"agent Worker: mcps: https.*agent Worker: knowledge"):
        govern_crew(crew, governor, strict=True)


def test_a_tool_added_later_shows_in_the_report(governor: SyncGovernor) -> None:
    script = ModelScript(Turn("Paid."), tools={"pay": lambda amount: "ok"})
    agent = agent_of("Worker", scripted(), [ScriptedTool(script, "pay")])
    crew = Crew(agents=[agent], tasks=[task_of(agent)])
    governed = govern_crew(crew, governor)
    (first,) = agent.tools or ()
    assert agent.tools is not None
    agent.tools.append(ScriptedTool(script, "late"))
    assert [place.name for place in governed.report() if not place.governed] == ["late", "late"]  # and the task's
    again = govern_crew(crew, governor, strict=True)
    assert all(place.governed for place in again.report())
    assert agent.tools[0] is first
    assert all(isinstance(tool, GovernedTool) for tool in agent.tools)


def test_copies_of_a_crew_stay_governed(governor: SyncGovernor) -> None:
    """`kickoff_for_each` copies a crew by writing its models down and making them anew."""
    planned = PlanningConfig(llm=scripted(), max_attempts=1)
    agent = agent_of("Worker", scripted(), planning_config=planned, function_calling_llm=scripted())
    crew = Crew(agents=[agent], tasks=[task_of(agent)], planning_llm=scripted(), chat_llm=scripted())
    govern_crew(crew, governor)
    copied = crew.copy()
    copy_of = copied.agents[0]
    assert isinstance(copy_of, Agent)
    models = [
        copy_of.llm,
        copy_of.__dict__["function_calling_llm"],
        copy_of.planning_config.llm if copy_of.planning_config else None,
        copied.planning_llm,
        copied.chat_llm,
    ]
    assert [type(model).__name__ for model in models] == ["GovernedLLM"] * 5


def test_json_is_made_through_the_model(governor: SyncGovernor) -> None:
    """CrewAI would ask the provider past it when the agent's answer is no JSON yet."""
    script = ModelScript(Turn("It is sunny."), Turn(json.dumps({"sunny": True})))
    agent = agent_of("Worker", ScriptedLLM(script))
    crew = Crew(agents=[agent], tasks=[task_of(agent, output_json=Sunny)])
    govern_crew(crew, governor)
    assert crew.kickoff().json_dict == {"sunny": True}
    assert len(script.calls) == 2
    assert spent_by(governor, "Worker") == Decimal("0.000054")


@pytest.mark.parametrize("place", ["planning", "guardrail", "manager", "memory"])
def test_a_refusal_of_a_hidden_model_ends_the_run(governor: SyncGovernor, place: str) -> None:
    """And not only that model's part: CrewAI would go on without it."""
    hidden = ModelScript(Turn(json.dumps({"valid": True, "feedback": None})))
    agent = agent_of("Worker", scripted())
    values: dict[str, Any] = {}
    if place == "planning":
        values = {"planning": True, "planning_llm": ScriptedLLM(hidden)}
    if place == "manager":
        values = {"process": Process.hierarchical, "manager_llm": ScriptedLLM(hidden)}
    if place == "memory":
        values = {"memory": Memory(llm=ScriptedLLM(hidden), embedder=lambda texts: [[0.1] * 8 for _ in texts])}
    task = task_of(agent, guardrails=["must be sunny"]) if place == "guardrail" else task_of(agent)
    if place == "guardrail":
        task._guardrails[0].llm = ScriptedLLM(hidden)  # type: ignore[attr-defined]
    crew = Crew(agents=[agent], tasks=[task], **values)
    govern_crew(crew, governor)
    owner = "Worker" if place == "guardrail" else "crew"
    governor.set_budget("agent", owner, "day", "0.000001" if place != "guardrail" else "0.00003")
    if place == "memory":
        with pytest.raises(CallRefused):
            crew._memory.extract_memories("It is sunny in Bern.")  # type: ignore[union-attr]
    else:
        with pytest.raises(CallRefused):
            crew.kickoff()
    assert hidden.calls == []


class Loud(BaseTool):
    name: str = "loud"
    description: str = "Shout."

    def _run(self) -> str:
        return "!"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda crew, governor: ("crew", governor), "takes a Crew of CrewAI"),
        (lambda crew, governor: (crew, None), "aegis= takes an agent of Aegis"),
    ],
)
def test_what_is_handed_over_is_checked(governor: SyncGovernor, wrong: Callable[..., Any], said: str) -> None:
    agent = agent_of("Worker", scripted(), [Loud()])
    with pytest.raises(ConfigurationError, match=said):
        govern_crew(*wrong(Crew(agents=[agent], tasks=[task_of(agent)]), governor))


async def test_a_governor_for_async_code_is_refused_in_one_sentence(settings: Settings) -> None:
    agent = agent_of("Worker", scripted())
    async with connect(settings=settings) as governor:
        with pytest.raises(ConfigurationError, match="connect_sync"):
            govern_crew(Crew(agents=[agent], tasks=[task_of(agent)]), governor)

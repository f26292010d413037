"""Where the models, tools and embedders of a crew are, looked for each time: a report tells what is there now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from crewai import Agent, Crew
from crewai.llms.base_llm import BaseLLM
from crewai.utilities.planning_handler import CrewPlanner

from aegis_crewai.llm import GovernedLLM
from aegis_crewai.tools import GovernedTool

_NO_POINT = "CrewAI asks nobody before it embeds"
_LATE = "resolved only when the agent runs"
_FOREIGN = "an agent of another framework; govern it there"


@dataclass(frozen=True, slots=True)
class Place:
    """One model, tool or embedder of a crew.

    Attributes:
        where: such as ``agent Researcher: llm``.
        kind: what it is.
        name: of the model or tool.
        governed: whether Aegis is asked before each call.
        note: why not, where it cannot be.
        owner: the CrewAI agent whose call it is; None: the crew's own.
    """

    where: str
    kind: Literal["llm", "tool", "embedder"]
    name: str
    governed: bool
    note: str = ""
    owner: object = field(default=None, repr=False, compare=False)
    value: Any = field(default=None, repr=False, compare=False)
    put: Callable[[object], None] | None = field(default=None, repr=False, compare=False)

    @property
    def late(self) -> bool:
        """Whether it stands for tools that are known only when the agent runs."""
        return self.note == _LATE

    def __str__(self) -> str:
        told = "governed" if self.governed else f"NOT GOVERNED{f' ({self.note})' if self.note else ''}"
        return f"{self.kind:8} {self.where}: {self.name}: {told}"


def places(crew: Crew) -> Iterator[Place]:
    """Every place of a crew, its agents and its tasks."""
    for agent in agents_of(crew):
        yield from _of_agent(agent)
    for number, task in enumerate(crew.tasks, 1):
        where = f"task {task.name or number}"
        yield from _tools(f"{where}: tools", task.tools, task.agent)
        guardrails = [getattr(task, "_guardrail", None), *(getattr(task, "_guardrails", None) or ())]
        for guardrail in guardrails:
            yield from _guardrail(f"{where}: guardrail", guardrail, task.agent)
    for name in ("manager_llm", "planning_llm", "function_calling_llm", "chat_llm"):
        value = vars(crew).get(name)  # reading a deprecated field by its name would warn
        if value is None and name == "planning_llm" and crew.planning:
            value = CrewPlanner(tasks=[]).planning_agent_llm  # its default
        yield from _llm(f"crew: {name}", value, None, _setter(crew, name))
    yield from _memory("crew: memory", getattr(crew, "_memory", None), None)
    if crew.knowledge or crew.knowledge_sources:
        yield Place("crew: knowledge", "embedder", _spelt(crew.embedder), False, _NO_POINT)


def agents_of(crew: Crew) -> list[object]:
    """The crew's agents, those of its tasks, and the manager; each once."""
    every = [*crew.agents, *(task.agent for task in crew.tasks), crew.manager_agent]
    return list({id(agent): agent for agent in every if agent is not None}.values())


def _of_agent(agent: Any) -> Iterator[Place]:
    where = f"agent {agent.role.strip()}"
    if not isinstance(agent, Agent):
        yield Place(f"{where}: llm", "llm", type(agent).__name__, False, _FOREIGN, agent)
        return
    for name in ("llm", "function_calling_llm"):
        yield from _llm(f"{where}: {name}", vars(agent).get(name), agent, _setter(agent, name))
    if (planning := agent.planning_config) is not None:
        yield from _llm(f"{where}: planning_config.llm", planning.llm, agent, _setter(planning, "llm"))
    yield from _tools(f"{where}: tools", agent.tools, agent)
    for name in ("mcps", "apps", "a2a"):
        for each in _listed(getattr(agent, name, None)):
            yield Place(f"{where}: {name}", "tool", _spelt(each), False, _LATE, agent)
    yield from _guardrail(f"{where}: guardrail", agent.guardrail, agent)
    yield from _memory(f"{where}: memory", getattr(agent, "memory", None), agent)
    if agent.knowledge or agent.knowledge_sources:
        yield Place(f"{where}: knowledge", "embedder", _spelt(agent.embedder), False, _NO_POINT, agent)


def _llm(where: str, value: object, owner: object, put: Callable[[object], None]) -> Iterator[Place]:
    if value is None:
        return
    governed = isinstance(value, GovernedLLM)
    name = value.model if isinstance(value, BaseLLM) else str(value)
    takes = isinstance(value, str | BaseLLM)
    note = "" if takes else "not a model of CrewAI"
    yield Place(where, "llm", name, governed, note, owner, value, put if takes and not governed else None)


def _tools(where: str, tools: Any, owner: object) -> Iterator[Place]:
    for position, tool in enumerate(_listed(tools)):
        governed = isinstance(tool, GovernedTool)  # pyright: ignore[reportUnnecessaryIsInstance]
        put = None if governed else _item_setter(tools, position)
        yield Place(where, "tool", str(getattr(tool, "name", tool)), governed, "", owner, tool, put)


def _guardrail(where: str, guardrail: object, owner: object) -> Iterator[Place]:
    """A guardrail in words has a model of its own; one in code has none."""
    yield from _llm(where, getattr(guardrail, "llm", None), owner, _setter(guardrail, "llm"))


def _memory(where: str, memory: Any, owner: object) -> Iterator[Place]:
    memory = getattr(memory, "_memory", memory)  # a scope or slice of a memory
    if not hasattr(memory, "_llm_instance"):
        return

    def put(llm: object) -> None:
        memory.llm = memory._llm_instance = llm  # noqa: SLF001 - the second is the one that is called

    found = memory._llm_instance or memory.llm  # noqa: SLF001
    yield from _llm(f"{where}.llm", found, owner, put)
    yield Place(f"{where}.embedder", "embedder", _spelt(memory.embedder), False, _NO_POINT, owner)


def put_field(target: object, name: str, value: object) -> None:
    """Set a field past its deprecation, which would warn of what the user did not write."""
    vars(target)[name] = value


def _setter(target: object, name: str) -> Callable[[object], None]:
    return lambda value: put_field(target, name, value)


def _item_setter(items: list[object], position: int) -> Callable[[object], None]:
    return lambda value: items.__setitem__(position, value)


def _listed(value: object) -> list[object]:
    if isinstance(value, list | tuple):
        return list(cast("list[object]", value))
    return [value] if value else []


def _spelt(value: object) -> str:
    return "CrewAI's default" if value is None else value if isinstance(value, str) else type(value).__name__

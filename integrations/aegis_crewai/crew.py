"""`govern_crew`: every model and tool of a crew behind Aegis in one line, and a report of what is not."""

from __future__ import annotations

import re
from typing import Any, Unpack

from crewai import Crew
from crewai.utilities.converter import Converter, ConverterError

from aegis_core.adapting import CallGovernor, CallWishes, Locks
from aegis_core.adapting.call_governor import Costs
from aegis_core.adapting.tool_names import ToolNames
from aegis_core.client.agent import Governor
from aegis_core.client.sync import SyncFlow, SyncGovernor
from aegis_core.protocol.errors import ConfigurationError
from aegis_crewai.coverage import Place, places, put_field
from aegis_crewai.llm import GovernedLLM
from aegis_crewai.tools import govern_tools


def govern_crew(
    crew: Crew,
    governor: object = None,
    *,
    workflow: SyncFlow | None = None,
    costs: Costs | None = None,
    locks: Locks | None = None,
    max_output_tokens: int = 4_096,
    approval_seconds: float = 600,
    intent: str | None = None,
    strict: bool = False,
    **wishes: Unpack[CallWishes],
) -> GovernedCrew:
    """Govern a crew in place: agents' and tasks' tools, and the models of agents, manager, planning, function calling,
    guardrails in words, and memory. Call it again after you add to the crew; what is governed stays as it is.

    Args:
        crew: the crew.
        governor: a `SyncGovernor` of `connect_sync`: each agent of the crew shakes hands by its role, and the crew's
            own models by the crew's name. An agent of Aegis instead asks for all of them. None with a `workflow`.
        workflow: a workflow of `SyncGovernor.workflow`, which each agent of the crew joins by its role instead.
        costs: dollars a tool call costs: ``{"search": "0.01"}``, or a function of name and arguments.
        locks: the lock a tool holds while it runs: ``{"pay": "wallet_main"}``, with a `ToolLock` or a function of the
            arguments in place of the name; or a function of name and arguments.
        max_output_tokens: the output cap of models that the crew holds by name; others keep their own.
        approval_seconds: how long a call waits for a human, blocking; 0: it is refused.
        intent: what the model calls are for. Rules read this, and nothing of the prompts.
        strict: raise where something stays outside (embedders, tools that are resolved late).
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call; see `CallWishes`.

    Raises:
        ConfigurationError: `crew` or `governor` is something else; a name in `costs` or `locks` is of no tool of the
            crew; or `strict` found what cannot be governed.
    """
    if not isinstance(crew, Crew):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"govern_crew takes a Crew of CrewAI; this is of type {type(crew).__name__}.")
    terms: dict[str, Any] = {
        "costs": costs, "locks": locks, "approval_seconds": approval_seconds, "intent": intent, **wishes
    }  # fmt: skip
    governed = GovernedCrew(crew, governor if workflow is None else workflow, max_output_tokens, terms)
    governed.govern()
    outside = [place for place in governed.report() if not place.governed]
    if strict and outside:
        told = "; ".join(f"{place.where}: {place.name}" for place in outside)
        raise ConfigurationError(f"Not everything in this crew can be governed: {told}.", outside=len(outside))
    return governed


class GovernedCrew:
    """What `govern_crew` answers: the crew, and what of it is governed. ``print`` it for the report as text."""

    def __init__(self, crew: Crew, governor: object, max_output_tokens: int, terms: dict[str, Any]) -> None:
        """`terms`: what the `CallGovernor` of each agent is told."""
        self.crew = crew
        self._governor, self._cap, self._terms = governor, max_output_tokens, terms
        self._names = ToolNames(costs=terms["costs"], locks=terms["locks"])
        self._callers: dict[int, CallGovernor] = {}
        self._made: dict[tuple[int, int], Any] = {}
        if isinstance(governor, Governor):
            raise ConfigurationError(
                "CrewAI runs its agents in threads, so govern_crew needs a governor of `connect_sync`, or an agent "
                "that a governor's handshake answered.",
                code="not_an_agent",
            )
        if not isinstance(governor, SyncGovernor | SyncFlow):
            self._shared = self._caller_of(governor)

    def report(self) -> tuple[Place, ...]:
        """Each model, tool and embedder that the crew holds now, governed or not."""
        return tuple(places(self.crew))

    def __str__(self) -> str:
        return "\n".join(map(str, self.report()))

    def govern(self) -> None:
        """Put a governed one in every place that takes one."""
        self._hand_down()
        tools = [place for place in self.report() if place.kind == "tool"]
        if any(place.late for place in tools):
            self._names.warn([place.name for place in tools])
        else:
            self._names.check([place.name for place in tools])
        for place in self.report():
            if place.put is not None:
                place.put(self._governed(place))
        for task in self.crew.tasks:
            if task.output_json is not None and task.converter_cls is None:
                task.converter_cls = GovernedConverter

    def _hand_down(self) -> None:
        """Give agents the crew's model for function calls, as its kickoff would: the crew takes no governed one."""
        own = vars(self.crew)
        if (model := own.get("function_calling_llm")) is None:
            return
        for agent in self.crew.agents:
            if not vars(agent).get("function_calling_llm"):
                put_field(agent, "function_calling_llm", model)
        put_field(self.crew, "function_calling_llm", None)

    def _governed(self, place: Place) -> Any:
        """One wrapper for what the same agent holds in several places."""
        key = (id(place.owner), id(place.value))
        if key not in self._made:
            calls = self._calls_of(place.owner)
            if place.kind == "tool":
                made: Any = govern_tools([place.value], calls)[0]
            else:
                made = GovernedLLM(aegis=calls, models=place.value, max_output_tokens=self._cap)
            self._made[key] = (made, place.value)  # the value lives on, so that its id stays its own
        return self._made[key][0]

    def _calls_of(self, owner: Any) -> CallGovernor:
        if not isinstance(self._governor, SyncGovernor | SyncFlow):
            return self._shared
        if id(owner) not in self._callers:
            name = _identifier(self.crew.name or "crew" if owner is None else owner.role)
            opens = self._governor.handshake if isinstance(self._governor, SyncGovernor) else self._governor.member
            self._callers[id(owner)] = self._caller_of(opens(name, framework="crewai"))
        return self._callers[id(owner)]

    def _caller_of(self, aegis: object) -> CallGovernor:
        return CallGovernor(aegis, framework="crewai", **self._terms)


class GovernedConverter(Converter):
    """Makes a task's JSON through the model; CrewAI's own asks the provider past it."""

    def to_json(self, current_attempt: int = 1) -> Any:
        """The text as JSON, or CrewAI's error as its value."""
        try:
            return self.to_pydantic(current_attempt).model_dump_json(indent=2)
        except ConverterError as error:
            return error

    async def ato_json(self, current_attempt: int = 1) -> Any:
        """As `to_json`."""
        try:
            return (await self.ato_pydantic(current_attempt)).model_dump_json(indent=2)
        except ConverterError as error:
            return error


def _identifier(name: str) -> str:
    """A role in the alphabet of agents' names: ``Senior Researcher`` is ``Senior-Researcher``."""
    return re.sub(r"[^\w.:@/-]+", "-", name.strip()).strip("-")[:128] or "agent"

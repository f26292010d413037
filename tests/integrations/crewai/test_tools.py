"""What a wrapped tool keeps, and what CrewAI does with its refusal."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from typing import Any

import pytest
from aegis_crewai import CallRefused, GovernedLLM, RefusedTool, govern_tools
from crewai.hooks import clear_all_global_hooks
from crewai.tools import BaseTool, tool
from crewai.tools.tool_failure import ToolExecutionFailedError, ToolFailure
from pydantic import BaseModel

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.testing import ModelScript, ToolUse, Turn
from aegis_core.testing.contract.base import reserved, spent

from .harness import ScriptedLLM, ScriptedTool, crew_of

pytestmark = pytest.mark.concurrent


class Amount(BaseModel):
    amount: int


def never(_arguments: Any = None, _result: Any = None) -> bool:
    return False


def always(_arguments: Any = None, _result: Any = None) -> bool:
    return True


class Pay(BaseTool):
    name: str = "Pay a bill"
    description: str = "Pay."
    args_schema: type[BaseModel] = Amount

    def _run(self, amount: int) -> str:
        return f"paid {amount}"

    async def _arun(self, amount: int) -> str:
        return f"paid {amount} later"


def test_what_crewai_knows_of_a_tool_is_kept(aegis: SyncGovernedAgent) -> None:
    own = Pay(result_as_answer=True, max_usage_count=3, cache_function=never, tool_failure_policy="warn")
    (governed,) = govern_tools([own], aegis)
    for name in ("name", "description", "args_schema", "result_as_answer", "max_usage_count", "tool_failure_policy"):
        assert getattr(governed, name) == getattr(own, name), name
    assert governed.formatted_description == own.formatted_description
    assert governed.cache_function({}, "paid") is False
    assert "paid 7" in governed.run(amount=7)
    assert repr(governed)


def test_the_limit_of_uses_is_the_tools_own(aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
    """Two agents that share a tool share its limit."""
    own = Pay(max_usage_count=2)
    (first,), (second,) = govern_tools([own], aegis), govern_tools([own], governor.handshake("other"))
    assert first.run(amount=1) == "paid 1"
    assert second.run(amount=2) == "paid 2"
    assert isinstance(first.run(amount=3), ToolFailure)
    assert (own.current_usage_count, first.current_usage_count) == (2, 2)
    first.reset_usage_count()
    assert second.run(amount=4) == "paid 4"


def test_arguments_are_checked_before_aegis_is_asked(aegis: SyncGovernedAgent) -> None:
    (governed,) = govern_tools([Pay()], aegis, costs={"Pay a bill": "0.5"})
    with pytest.raises(ValueError, match="validation failed"):
        governed.run(amount="much")
    assert spent(aegis) == 0


async def test_an_async_tool_is_paid_for(aegis: SyncGovernedAgent) -> None:
    (governed,) = govern_tools([Pay()], aegis, costs={"Pay a bill": "0.5"})
    assert await governed.arun(amount=7) == "paid 7 later"
    assert spent(aegis) == Decimal("0.5")


def test_a_coroutine_tool_is_paid_for_when_it_ends(aegis: SyncGovernedAgent) -> None:
    @tool("search")
    async def search(words: str) -> str:
        """Search."""
        return words

    (governed,) = govern_tools([search], aegis, costs={"search": "0.25"})
    assert governed.run(words="x") == "x"
    assert (spent(aegis), reserved(aegis)) == (Decimal("0.25"), 0)


def test_a_failure_that_a_tool_declares_costs_nothing(aegis: SyncGovernedAgent) -> None:
    class Failing(Pay):
        def _run(self, amount: int) -> Any:
            return ToolFailure(message="the bank is closed")

    (governed,) = govern_tools([Failing()], aegis, costs={"Pay a bill": "0.5"})
    assert isinstance(governed.run(amount=7), ToolFailure)
    assert (spent(aegis), reserved(aegis)) == (0, 0)


def test_a_refusal_is_not_cached(aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
    governor.set_budget("agent", aegis.agent_id, "day", "1")
    (governed,) = govern_tools([Pay()], aegis, costs={"Pay a bill": 2}, approval_seconds=0)
    refusal = governed.run(amount=7)
    assert isinstance(refusal, RefusedTool)
    assert isinstance(refusal.error, AegisDenied)
    assert refusal.code == "budget_exceeded"
    assert not governed.cache_function({"amount": 7}, refusal)
    assert governed.cache_function({"amount": 7}, "paid 7")


def test_a_tool_is_refused_while_the_governor_is_gone(settings: Any) -> None:
    from aegis_core.connect import connect_sync

    with connect_sync(settings=settings) as governor:
        (governed,) = govern_tools([Pay()], governor.handshake("crew"))
    refusal = governed.run(amount=7)
    assert isinstance(refusal, RefusedTool)
    assert "closed" in refusal.message
    assert not refusal.final


def test_aegis_is_checked(governor: SyncGovernor) -> None:
    with pytest.raises(ConfigurationError, match="shake hands first"):
        govern_tools([Pay()], governor)


class ReActLLM(ScriptedLLM):
    """A model without tool calls: CrewAI reads its actions out of text."""

    def supports_function_calling(self) -> bool:
        return False

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().call(messages, *args, **kwargs)
        if isinstance(answer, str):
            return f"Thought: I know.\nFinal Answer: {answer}"
        function = answer[0]["function"]
        return f"Thought: I act.\nAction: {function['name']}\nAction Input: {function['arguments']}"


def refused(aegis: SyncGovernedAgent, governor: SyncGovernor, model: type[ScriptedLLM], *turns: Turn) -> Any:
    """A crew whose tool is refused, and its script."""
    governor.set_budget("agent", aegis.agent_id, "day", "1")
    script = ModelScript(*turns, tools={"pay": lambda amount: f"paid {amount}"})
    tools = govern_tools([ScriptedTool(script, "pay")], aegis, costs={"pay": 2}, approval_seconds=0)
    return crew_of(GovernedLLM(aegis=aegis, models=model(script)), tools, "Pay"), script


ACT = Turn(tools=(ToolUse("pay", {"amount": 7}, "call-1"),))


@pytest.mark.parametrize("model", [ScriptedLLM, ReActLLM])
def test_a_refusal_is_read_by_the_model_once_a_turn(
    aegis: SyncGovernedAgent, governor: SyncGovernor, model: type[ScriptedLLM]
) -> None:
    """CrewAI repeats a tool that raises up to six times; a refusal is not raised."""
    crew, script = refused(aegis, governor, model, ACT, ACT, Turn("I could not pay."))
    assert str(crew.kickoff()) == "I could not pay."
    assert len(script.calls) == 3
    assert script.uses == []
    events = governor.events()
    kinds = [event.kind for event in (*events, *governor.events(after=events[-1].id))]
    assert "refusals_repeated" not in kinds
    assert kinds.count("rejected") == (
        2 if model is ScriptedLLM else 1
    )  # in text CrewAI itself holds back a repeated call


def test_the_third_refusal_ends_the_run_whatever_hooks_are_cleared(
    aegis: SyncGovernedAgent, governor: SyncGovernor
) -> None:
    clear_all_global_hooks()
    crew, script = refused(aegis, governor, ScriptedLLM, ACT)
    with pytest.raises(CallRefused) as caught:
        crew.kickoff()
    assert caught.value.final
    assert len(script.calls) == 3
    assert script.uses == []
    clear_all_global_hooks()


def test_in_text_crewai_itself_ends_a_stubborn_run(aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
    """It hands a repeated call to the tool no more, and stops at the fifth."""
    crew, script = refused(aegis, governor, ReActLLM, ACT)
    with pytest.raises(ToolExecutionFailedError, match="not making progress"):
        crew.kickoff()
    assert script.uses == []


@pytest.mark.parametrize("kept", [True, False])
def test_a_result_from_crewais_cache_costs_nothing(aegis: SyncGovernedAgent, kept: bool) -> None:
    """And where the tool's own function says no, it runs and costs again."""
    script = ModelScript(ACT, ACT, Turn("Paid."), tools={"pay": lambda amount: f"paid {amount}"})
    own = ScriptedTool(script, "pay", cache_function=always if kept else never)
    llm = GovernedLLM(aegis=aegis, models=ScriptedLLM(script))
    crew = crew_of(llm, govern_tools([own], aegis, costs={"pay": "0.5"}), "Pay", cache=True)
    assert str(crew.kickoff()) == "Paid."
    assert len(script.uses) == (1 if kept else 2)
    assert spent(aegis) == Decimal("0.5") * len(script.uses) + 3 * Decimal("0.000027")


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_person_decides_while_the_tool_waits(aegis: SyncGovernedAgent, governor: SyncGovernor, decision: Any) -> None:
    (governed,) = govern_tools([Pay()], aegis, costs={"Pay a bill": 7}, approval_seconds=120)
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(governed.run(amount=7)))
    waiting.start()
    while not (asked := governor.approvals.list()):
        assert waiting.is_alive()
        time.sleep(0.02)
    governor.approvals.decide(asked[0].approval_id, decision, by="operator", reason="because")
    waiting.join()
    if decision == "approve":
        assert answers == ["paid 7"]
        assert spent(aegis) == 7
    else:
        assert isinstance(answers[0], RefusedTool)
        assert "because" in answers[0].message
        assert (spent(aegis), reserved(aegis)) == (0, 0)

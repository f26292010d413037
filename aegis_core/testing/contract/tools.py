"""Tools: each call is asked for, paid for and refused by itself, and a stubborn model comes to an end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import NOTHING, Base, denial_of, lower_budget, price, reserved, spent
from aegis_core.testing.contract.demands import in_each, needs
from aegis_core.testing.scripts import Drive, Mode, ModelScript, ToolUse, Turn


def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def broken(amount: int) -> str:
    """Fail."""
    raise RuntimeError(f"the bank is closed to {amount}")


SLOW = 0.05
"""Seconds."""


def slowly(amount: int) -> str:
    """Pay, and take some time for it."""
    time.sleep(SLOW)
    return pay(amount)


def use(amount: int, call_id: str = "call-1", tool: str = "pay") -> ToolUse:
    """The model asks for a payment."""
    return ToolUse(tool, {"amount": amount}, call_id)


class Tools(Base):
    """What a tool costs is held while it runs and charged after it."""

    @needs("tools")
    @in_each("sync", "async")
    def test_a_tool_is_paid_for(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """The model's calls and the tool's cost together."""
        turns = Turn(tools=(use(7),)), Turn("Paid.")
        script = ModelScript(*turns, tools={"pay": pay})
        outcome = self.run(aegis, script, Drive(mode, costs={"pay": "0.25"}))
        assert (outcome.error, outcome.text) == (None, "Paid.")
        assert [entry.arguments for entry in script.uses] == [{"amount": 7}]
        assert spent(aegis) == Decimal("0.25") + price(*turns)
        assert reserved(aegis) == NOTHING

    @needs("tools")
    def test_parallel_calls_are_each_paid_for(self, aegis: SyncGovernedAgent) -> None:
        """Three calls of one answer, each once."""
        turns = Turn(tools=(use(1, "a"), use(2, "b"), use(3, "c"))), Turn("Paid.")
        script = ModelScript(*turns, tools={"pay": pay})
        assert self.run(aegis, script, Drive(costs={"pay": "0.25"})).error is None
        assert sorted(entry.arguments["amount"] for entry in script.uses) == [1, 2, 3]
        assert spent(aegis) == Decimal("0.75") + price(*turns)

    @needs("tools")
    def test_a_repeated_call_id_is_another_call(self, aegis: SyncGovernedAgent) -> None:
        """Recorded models repeat ids with other content, and with the same."""
        turns = Turn(tools=(use(1),)), Turn(tools=(use(2),)), Turn(tools=(use(2),)), Turn("Paid.")
        script = ModelScript(*turns, tools={"pay": pay})
        assert self.run(aegis, script, Drive(costs={"pay": "0.25"})).error is None
        assert [entry.arguments["amount"] for entry in script.uses] == [1, 2, 2]
        assert spent(aegis) == Decimal("0.75") + price(*turns)

    @needs("tools")
    @in_each("sync", "async")
    def test_a_refused_tool_does_not_run(self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode) -> None:
        """The model is told in one sentence what is left, or the program gets the denial."""
        lower_budget(governor, aegis, "2.50")
        script = ModelScript(Turn(tools=(use(7),)), Turn("I could not pay."), tools={"pay": pay})
        outcome = self.run(aegis, script, Drive(mode, costs=by_amount))
        assert script.uses == []
        told = denial_of(outcome).message if "tool_denial_as_text" in self.harness.lacks else outcome.observations[0]
        assert "Aegis refused pay(amount=7): it costs up to $7.00 and $2.49" in told
        assert "Do not call pay again with more than $2.49" in told
        assert reserved(aegis) == NOTHING

    @needs("tools", "tool_denial_as_text")
    def test_the_third_identical_refusal_ends_the_run(self, aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
        """A stubborn model does not loop on."""
        lower_budget(governor, aegis, "2.50")
        script = ModelScript(Turn(tools=(use(7),)), tools={"pay": pay})  # repeats for ever
        denied = denial_of(self.run(aegis, script, Drive(costs=by_amount)))
        assert denied.final
        assert len(script.calls) == 3
        assert script.uses == []

    @needs("tools")
    def test_a_tool_that_raises_is_not_charged(self, aegis: SyncGovernedAgent) -> None:
        """Its error is the framework's to show."""
        turns = Turn(tools=(use(7, tool="broken"),)), Turn("The bank is closed.")
        script = ModelScript(*turns, tools={"broken": broken})
        self.run(aegis, script, Drive(costs={"broken": "0.25"}))
        assert len(script.uses) >= 1
        assert spent(aegis) == price(*turns[: len(script.calls)])
        assert reserved(aegis) == NOTHING

    @needs("tools")
    @in_each("sync", "async")
    def test_the_event_of_a_tool_call_says_how_long_it_took(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode
    ) -> None:
        """Whoever looks for slow tools finds them there."""
        script = ModelScript(Turn(tools=(use(7),)), Turn("Paid."), tools={"pay": slowly})
        assert self.run(aegis, script, Drive(mode, costs={"pay": "0.25"})).error is None
        (paid,) = ends_of(governor, "settled", 0.25)
        assert paid["latency_ms"] >= SLOW * 1_000
        assert "error_class" not in paid

    @needs("tools", "tool_errors")
    @in_each("sync", "async")
    def test_the_event_of_a_tool_that_raises_names_the_class_of_its_error(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode
    ) -> None:
        """Never its words, which may quote what the tool was given."""
        turns = Turn(tools=(use(7, tool="broken"),)), Turn("The bank is closed.")
        self.run(aegis, ModelScript(*turns, tools={"broken": broken}), Drive(mode, costs={"broken": "0.25"}))
        failed = ends_of(governor, "released", 0.25)
        assert {facts["error_class"] for facts in failed} == {"RuntimeError"}
        assert "the bank" not in str(failed)


def ends_of(governor: SyncGovernor, kind: str, usd: float) -> list[dict[str, Any]]:
    """The facts of the ends of this kind of grants of this amount."""
    found = [event for event in governor.events(limit=1_000) if event.kind == kind]
    return [event.facts for event in found if event.facts["amount_usd"] == usd]


def by_amount(_tool: str, arguments: Mapping[str, int]) -> int:
    """A payment costs what it pays."""
    return arguments["amount"]

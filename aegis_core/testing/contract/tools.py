"""Tools: each call is asked for, paid for and refused by itself, and a stubborn model comes to an end."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

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


def by_amount(_tool: str, arguments: Mapping[str, int]) -> int:
    """A payment costs what it pays."""
    return arguments["amount"]

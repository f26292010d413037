"""A forked child goes on with the agent of its parent, on a connection of its own."""

from __future__ import annotations

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import NOTHING, Base, denial_of, lower_budget, price, reserved, spent
from aegis_core.testing.contract.demands import in_each, needs
from aegis_core.testing.forking import forked
from aegis_core.testing.scripts import Drive, Mode, ModelScript, Turn

_TURN = Turn("It rains in Zug.")


class Forks(Base):
    """As servers and queues do it that load a program before they fork."""

    @needs("forking")
    @in_each("sync", "async")
    def test_a_forked_child_governs(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """Each process is charged once, whether its parent has asked before or asks later."""

        def asks() -> str:
            script = ModelScript(_TURN)
            outcome = self.run(aegis, script, Drive(mode))
            return f"{outcome.text} {outcome.error} {len(script.calls)}"

        said = f"{_TURN.text} None 1"
        assert [forked(asks), asks(), forked(asks)] == [said] * 3
        assert (spent(aegis), reserved(aegis)) == (price(_TURN) * 3, NOTHING)

    @needs("forking")
    def test_a_forked_child_is_refused(self, aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
        """By the budget that it shares with its parent."""
        lower_budget(governor, aegis, "0.000001")

        def asks() -> str:
            script = ModelScript(_TURN)
            return f"{denial_of(self.run(aegis, script)).code} {len(script.calls)}"

        assert forked(asks) == "budget_exceeded 0"

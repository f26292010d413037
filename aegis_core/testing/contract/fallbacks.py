"""A refusal is no outage: no other model is called in the refused one's place."""

from __future__ import annotations

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import NOTHING, Base, denial_of, lower_budget, reserved, spent
from aegis_core.testing.contract.demands import in_each, needs
from aegis_core.testing.contract.refusals import MODES
from aegis_core.testing.scripts import Drive, Mode, ModelScript, Turn


class Fallbacks(Base):
    """Where a program named another model for when the first one fails."""

    @needs("fallbacks")
    @in_each(*MODES)
    def test_a_refusal_calls_no_fallback(self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode) -> None:
        """The program sees the denial, and neither model was called."""
        lower_budget(governor, aegis, "0.000001")
        script, spare = ModelScript(Turn("It snows in Chur.")), ModelScript(Turn("It may snow."))
        denied = denial_of(self.run(aegis, script, Drive(mode, fallback=spare)))
        assert (denied.code, script.calls, spare.calls) == ("budget_exceeded", [], [])
        assert (spent(aegis), reserved(aegis)) == (NOTHING, NOTHING)

    @needs("fallbacks")
    @in_each("sync", "async")
    def test_an_outage_calls_the_fallback(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """Once; and nothing stays held for the model that was down."""
        script = ModelScript(Turn(error=ConnectionRefusedError("provider is down")))
        spare = ModelScript(Turn("It may snow."))
        outcome = self.run(aegis, script, Drive(mode, fallback=spare))
        assert (outcome.error, outcome.text) == (None, "It may snow.")
        assert (len(script.calls), len(spare.calls)) == (1, 1)
        assert reserved(aegis) == NOTHING

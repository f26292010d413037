"""A refusal stops the call before it is made: in every mode, and with the framework's own retries on."""

from __future__ import annotations

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import NOTHING, Base, denial_of, lower_budget, price, reserved, spent
from aegis_core.testing.contract.demands import in_each, needs
from aegis_core.testing.scripts import Drive, Mode, ModelScript, Turn

MODES: tuple[Mode, ...] = ("sync", "async", "stream", "astream", "batch")


class Refusals(Base):
    """No call reaches the provider that Aegis did not admit."""

    @in_each(*MODES)
    def test_a_granted_call_is_made(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """Once for each input, and its text comes back."""
        script = ModelScript(Turn("It is sunny in Bern."))
        outcome = self.run(aegis, script, Drive(mode))
        assert outcome.error is None
        assert outcome.text == "It is sunny in Bern."
        assert len(script.calls) == (Drive.batch if mode == "batch" else 1)
        assert reserved(aegis) == NOTHING

    @in_each(*MODES)
    def test_a_refused_call_is_not_made(self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode) -> None:
        """The provider sees nothing, the program sees the denial, and nothing stays held."""
        lower_budget(governor, aegis, "0.000001")
        script = ModelScript(Turn("It is sunny in Bern."))
        denied = denial_of(self.run(aegis, script, Drive(mode)))
        assert script.calls == []
        assert denied.code == "budget_exceeded"
        assert denied.message.startswith("Aegis refused this call of gpt-4o-mini: it costs up to $0.0000")
        assert (reserved(aegis), spent(aegis)) == (NOTHING, NOTHING)

    @needs("retries")
    @in_each("sync", "async")
    def test_retries_make_no_call_after_a_refusal(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode
    ) -> None:
        """However often the framework tries again."""
        lower_budget(governor, aegis, "0.000001")
        script = ModelScript(Turn("It is sunny in Bern."))
        assert denial_of(self.run(aegis, script, Drive(mode, retries=4))).code == "budget_exceeded"
        assert script.calls == []

    @needs("retries")
    def test_a_retried_call_is_charged_for_what_succeeded(self, aegis: SyncGovernedAgent) -> None:
        """Each attempt is admitted by itself, and a failed one costs nothing."""
        good = Turn("It is sunny in Bern.")
        script = ModelScript(Turn(error=ConnectionRefusedError("provider is down")), good)
        outcome = self.run(aegis, script, Drive(retries=2))
        assert outcome.text == good.text
        assert len(script.calls) == 2
        assert (spent(aegis), reserved(aegis)) == (price(good), NOTHING)

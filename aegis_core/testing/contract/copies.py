"""Frameworks copy, pickle and hand to threads what they are given; what is governed stays governed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import Base, calm, denial_of, lower_budget, price, spent
from aegis_core.testing.contract.demands import needs
from aegis_core.testing.scripts import Drive, ModelScript, Turn

_TURN = Turn("It is sunny in Bern.")


class Copies(Base):
    """A copy asks the same governor for the same agent."""

    @needs("copying")
    def test_a_deep_copy_governs(self, aegis: SyncGovernedAgent) -> None:
        """And charges once."""
        assert self.run(aegis, ModelScript(_TURN), Drive(copied=True)).text == _TURN.text
        assert spent(aegis) == price(_TURN)

    @needs("pickling")
    def test_a_pickled_copy_governs(self, aegis: SyncGovernedAgent) -> None:
        """Within a process it comes back on the same connection."""
        assert self.run(aegis, ModelScript(_TURN), Drive(pickled=True)).text == _TURN.text
        assert spent(aegis) == price(_TURN)

    def test_threads_share_one_budget(self, aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
        """Of eight runs at once the money admits what it admits, and no more."""
        lower_budget(governor, aegis, "0.0002")
        scripts = [ModelScript(Turn("It is sunny in Bern.", usage=(200, 50))) for _ in range(8)]
        with calm(), ThreadPoolExecutor(8) as pool:
            running = [pool.submit(self.harness.run, aegis, script, Drive()) for script in scripts]
        outcomes = [each.result() for each in running]
        made = sum(len(script.calls) for script in scripts)
        assert 1 <= made < 8
        assert [denial_of(outcome).code for outcome in outcomes if outcome.error] == ["budget_exceeded"] * (8 - made)
        assert spent(aegis) == price(scripts[0].turns[0]) * made

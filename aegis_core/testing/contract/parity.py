"""Given equal usage, the same script with the same budget admits the same calls and dollars in every framework."""

from __future__ import annotations

from decimal import Decimal

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import NOTHING, Base, lower_budget, reserved, spent
from aegis_core.testing.scripts import Drive, ModelScript, Turn


class Parity(Base):
    """Constants, because each framework is tested apart from the others."""

    def test_the_same_budget_admits_the_same_calls(self, aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
        """Each call costs $0.00012 and at most $0.00016 is asked for one: $0.0005 admits four, not five."""
        lower_budget(governor, aegis, "0.0005")
        script = ModelScript(Turn("It is sunny in Bern.", usage=(400, 100)), user="words " * 100, cap=100)
        errors = [self.run(aegis, script, Drive(thread=f"thread-{number}")).error for number in range(6)]
        assert [error is None for error in errors] == [True, True, True, True, False, False]
        assert len(script.calls) == 4
        assert (spent(aegis), reserved(aegis)) == (Decimal("0.00048"), NOTHING)

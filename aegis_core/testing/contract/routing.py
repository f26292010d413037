"""The recommended model is the one that is called, and its price the one that is charged."""

from __future__ import annotations

from decimal import Decimal

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing.contract.base import Base, spent
from aegis_core.testing.contract.demands import needs
from aegis_core.testing.scripts import Drive, ModelScript, Turn


class RoutingContract(Base):
    """Only for adapters that stand where a model can be exchanged."""

    @needs("routing")
    def test_the_recommended_model_is_called(self, aegis: SyncGovernedAgent) -> None:
        """Of two that satisfy the work the cheaper; the caller's own is neither."""
        script = ModelScript(Turn("It is sunny in Bern.", usage=(1_000, 100)), model="gpt-4o")
        assert self.run(aegis, script, Drive(models=("gpt-4o", "gpt-4.1-mini"))).error is None
        assert script.models == ["gpt-4.1-mini"]
        assert spent(aegis) == Decimal("0.00056")  # 1,000 at $0.40 and 100 at $1.60 per million

    @needs("routing", "caps")
    def test_each_provider_gets_the_cap_by_its_own_name(self, aegis: SyncGovernedAgent) -> None:
        """Whichever of them is chosen; the choice is among three tiers."""
        script = ModelScript(Turn("It is sunny in Bern."), model="gpt-4o")
        for density in (1, 6, 9):
            ask = Drive(models=("gpt-4o-mini", "o3-mini", "gpt-4o"), density=density, mixed=True)
            assert self.run(aegis, script, ask).error is None
        assert script.models == ["gpt-4o-mini", "o3-mini", "gpt-4o"]
        assert [call.cap for call in script.calls] == [script.cap] * 3

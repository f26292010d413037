"""``simulation``: transactions that would fail, or of which nobody can say what they would do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import TransactionFacts

Failing = Literal["failed", "unavailable"]


class SimulationRule(ChainRule, frozen=True):
    """A transaction that would be reverted now (``failed``), or that the nodes cannot run (``unavailable``)."""

    type: Literal["simulation"] = "simulation"
    on: Annotated[tuple[Failing, ...], Field(min_length=1, max_length=2)] = ("failed", "unavailable")

    def compile(self) -> Conditions:
        """A look at what the nodes said."""

        def look(shown: TransactionFacts) -> Seen:
            found = shown.simulation
            if found is None:
                return "unavailable" in self.on, f"it could not be simulated: {shown.simulation_problem or 'no reason'}"
            if not found.success:
                return "failed" in self.on, f"it would be reverted: {found.reason}"
            return False, "the simulation succeeds"

        return self.compile_seen(look)


RULE = SimulationRule

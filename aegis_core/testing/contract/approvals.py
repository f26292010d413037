"""An escalated tool call pauses; approved it runs, declined or unanswered it does not."""

from __future__ import annotations

import pytest

from aegis_core.sync import SyncGovernedAgent
from aegis_core.testing.contract.base import NOTHING, Base, reserved
from aegis_core.testing.contract.tools import pay, use
from aegis_core.testing.scripts import Ask, Script, Turn


class Approvals(Base):
    """More than $5 at once asks a human, by the default policy."""

    def test_an_unanswered_call_does_not_run(self, aegis: SyncGovernedAgent) -> None:
        """Nobody approves it in time: it is refused, and nothing stays held."""
        self.need("tools")
        self.need("approvals")
        script = Script(Turn(tools=(use(7),)), Turn("Nobody approved."), tools={"pay": pay})
        outcome = self.run(aegis, script, Ask(costs={"pay": 7}, approval_seconds=0.2))
        assert script.uses == []
        told = str(outcome.error) if outcome.error else outcome.observations[0]
        assert "nobody approved it in time" in told.lower()
        assert reserved(aegis) == NOTHING

    @pytest.mark.parametrize("decision", ["approve", "reject"])
    def test_a_decided_call_does_what_was_decided(self, aegis: SyncGovernedAgent, decision: str) -> None:
        """Approved, it runs exactly once; rejected, never."""
        self.need("tools")
        self.need("approvals")
        if not hasattr(aegis.inner, "approvals"):
            pytest.skip(f"this version of Aegis has no way to {decision} yet")

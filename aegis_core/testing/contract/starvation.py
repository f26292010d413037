"""Calls that wait keep neither others nor the one that they wait for from their threads."""

from __future__ import annotations

from aegis_core.adapting import ToolLock
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import PATIENCE, Base
from aegis_core.testing.contract.demands import in_each, needs
from aegis_core.testing.contract.tools import pay, use
from aegis_core.testing.scripts import Drive, Mode, ModelScript, Turn

_MORE_THAN_THREADS = 36
"""More than asyncio's shared pool has on the largest machine."""


class Starvation(Base):
    """However the framework runs the calls of one answer, and in whichever pool."""

    @needs("tools", "locks")
    @in_each("sync", "async")
    def test_more_calls_than_there_are_threads_take_turns(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode
    ) -> None:
        """Each of them gets the wallet before its patience is over, and it is free at the end."""
        governor.set_budget("agent", aegis.agent_id, "day", 100)
        amounts = range(1, 1 + _MORE_THAN_THREADS)
        turns = Turn(tools=tuple(use(n, f"call-{n}") for n in amounts)), Turn("Paid.")
        script = ModelScript(*turns, tools={"pay": pay})
        locks = {"pay": ToolLock("wallet_main", wait=PATIENCE)}
        outcome = self.run(aegis, script, Drive(mode, locks=locks))
        assert (outcome.error, outcome.text) == (None, "Paid.")
        assert sorted(entry.arguments["amount"] for entry in script.uses) == list(amounts)
        assert governor.locks("wallet_main") == ()

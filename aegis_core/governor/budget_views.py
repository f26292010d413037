"""What a governor shows of the budgets of its tenant."""

from __future__ import annotations

from decimal import Decimal

from aegis_core.governor import budgets
from aegis_core.protocol.messages import BudgetReport, BudgetState
from aegis_core.store.ledger import Ledger


class BudgetViews:
    """Budgets as they stand, for agents and operators."""

    _ledger: Ledger

    async def budget(self, agent_id: str) -> BudgetReport:
        """Every budget that bounds an agent now."""
        session, rows = await self._ledger.read_budgets(budgets.checked(agent_id, "agent_id"), None)
        states = tuple(budgets.state_of(row, agent_id, session) for row in rows)
        day = next((s.remaining_usd for s in states if (s.scope, s.window) == ("agent", "day")), Decimal(0))
        return BudgetReport(agent_id, day, states)

    async def shared_budgets(self) -> tuple[BudgetState, ...]:
        """The tenant's own budgets and those of models, resource types and labels."""
        _, rows = await self._ledger.read_budgets(None, None)
        return tuple(budgets.state_of(row, None, None) for row in rows)

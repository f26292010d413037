"""A budget that begins anew, for operators: what is counted in it is wrong, as after a clock that was ahead."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from aegis_core.governor import budgets
from aegis_core.protocol.money import to_usd
from aegis_core.store.operator_verbs import ResetBudget

if TYPE_CHECKING:
    from aegis_core.protocol.messages import BudgetState
    from aegis_core.store.operators import OperatorStore


@dataclass(frozen=True, slots=True)
class BudgetReset:
    """A budget that began its present window anew.

    Attributes:
        budget: as it is now.
        spent_usd: dollars that were counted as spent, and no longer are.
        held_usd: dollars that open grants hold, which count as spent now.
    """

    budget: BudgetState
    spent_usd: Decimal
    held_usd: Decimal


async def reset(registry: OperatorStore, scope: str, name: str, window: str, author: str) -> BudgetReset:
    """See `Operator.reset_budget`."""
    owner = budgets.owner_of(scope, name)
    named = budgets.checked(name, "name") if owner in "as" else None
    agent, session = (named, None) if owner == "a" else (None, named)
    row, spent, held = await registry.reset_budget(ResetBudget(owner, agent, session, budgets.kind_of(window), author))
    return BudgetReset(budgets.state_of(row, agent, session), to_usd(spent), to_usd(held))

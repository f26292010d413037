"""The audit: what the models, tools and wallet counted, held against what the governor recorded."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from payer import FEE_NANOS, WALLET
from wallet import StaleFenceError, Wallet

from aegis_core import Governor
from aegis_core.protocol.events import Event
from aegis_core.protocol.messages import BudgetState


@dataclass(frozen=True)
class Row:
    """One framework's part, by its own count."""

    framework: str
    model_calls: int
    tool_calls: int
    usd: Decimal
    refused: int
    fences: tuple[int, ...]


@dataclass(frozen=True)
class Audit:
    """The rows, the ledger's word, and what was checked."""

    rows: tuple[Row, ...]
    budget: BudgetState
    checks: tuple[tuple[bool, str], ...]

    @property
    def sound(self) -> bool:
        """True when somebody played and everything agrees."""
        return bool(self.rows) and all(holds for holds, _ in self.checks)

    @property
    def bill(self) -> Decimal:
        """What all models and tools charged together, in dollars."""
        return sum((row.usd for row in self.rows), Decimal(0))


async def audit(governor: Governor, team: str, wallet: Wallet, reports: dict[str, dict[str, Any]]) -> Audit:
    """Hold the reports against the governor.

    Args:
        governor: the one that all agents asked.
        team: the label of their budget.
        wallet: what they paid from.
        reports: the last word of each framework's process.
    """
    rows = tuple(
        Row(
            framework, report["model_calls"], report["tool_calls"], Decimal(report["nanos"]).scaleb(-9),
            report["refused"], tuple(report["fences"]),
        )
        for framework, report in reports.items()
    )  # fmt: skip
    states = (await governor.budget(f"{rows[0].framework}-payer")).budgets
    budget = next(state for state in states if (state.scope, state.name) == ("label", team))
    events = await all_events(governor)
    found = Audit(rows, budget, ())
    checks = (*of_money(found, events), *of_wallet(found, events, wallet))
    return Audit(rows, budget, checks)


async def all_events(governor: Governor) -> list[Event]:
    """Every event of the tenant, oldest first."""
    found: list[Event] = []
    while page := await governor.events(after=found[-1].id if found else "0", limit=500):
        found += page
    return found


def of_money(found: Audit, events: list[Event]) -> list[tuple[bool, str]]:
    """The bill and the ledger agree, nothing is above the limit, and nothing more would have fitted."""
    budget, fee = found.budget, Decimal(FEE_NANOS).scaleb(-9)
    left = budget.limit_usd - budget.spent_usd
    refused = {row.framework: row.refused for row in found.rows}
    recorded = {
        name: sum(refusals_in(event) for event in events if event.agent_id == f"{name}-payer") for name in refused
    }
    return [
        (
            found.bill == budget.spent_usd and not budget.reserved_usd,
            f"${found.bill:f} is what models and tools charged, ${budget.spent_usd:f} what the ledger says.",
        ),
        (
            0 <= left < fee,
            f"${left:f} of ${budget.limit_usd:.2f} is left, too little for one more payment of ${fee:.2f}.",
        ),
        (
            refused == recorded and all(refused.values()),
            f"{sum(refused.values())} refusals reached the agents, {sum(recorded.values())} stand in the ledger.",
        ),
    ]  # fmt: skip


def refusals_in(event: Event) -> int:
    """How many refusals an event tells of: those that are alike share one."""
    if event.kind == "refusals_repeated":
        return int(str(event.facts["count"]))
    return event.kind == "rejected"


def of_wallet(found: Audit, events: list[Event], wallet: Wallet) -> list[tuple[bool, str]]:
    """No payment is lost, each was made under a lease that the governor gave, and an old fence pays nothing."""
    entries, paid = wallet.entries(), sum(row.tool_calls for row in found.rows)
    given = {
        (event.agent_id, event.facts["fence"])
        for event in events
        if event.kind == "lock_acquired" and event.facts["resource"] == WALLET
    }
    fences = [entry.fence for entry in entries]
    leased = {(entry.who, entry.fence) for entry in entries} == given and fences == sorted(set(fences))
    lost = paid - len({entry.left for entry in entries})
    try:
        wallet.spend("late", fences[0])
        late = "A late payment with the first fence was accepted."
    except StaleFenceError as error:
        late = f"A late payment with the first fence is refused: {error}."
    return [
        (lost == 0, f"{paid} payments, {len({entry.left for entry in entries})} coins gone from the wallet."),
        (leased, f"{len(entries)} times the wallet was touched, {len(given)} leases were given, fences in order."),
        (len(wallet.entries()) == len(entries), late),
    ]

"""The bill: what was charged, by day, agent, resource type, model and label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from aegis_core.protocol.money import to_usd

if TYPE_CHECKING:  # `aegis --help` loads no store
    from aegis_core.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line of the bill of one day. Of its cost, `estimated_usd` is what nobody measured."""

    day: date
    agent_id: str
    resource_type: str
    model: str
    labels: dict[str, str]
    calls: int
    cost_usd: Decimal
    estimated_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The sum of several lines under one name."""

    name: str
    calls: int
    cost_usd: Decimal
    estimated_usd: Decimal = Decimal(0)


def decode_usage(day: date, raw: dict[str, int]) -> list[UsageRow]:
    """Bring the counters of one day together: calls, cost, and what of it is estimated."""
    names = {field.rpartition("\t")[0] for field in raw}
    rows: list[UsageRow] = []
    for name in sorted(names):
        agent, resource, model, labels, *_ = name.split("\t")
        pairs = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
        calls, cost, estimated = (raw.get(f"{name}\t{kind}", 0) for kind in "n$~")
        rows.append(UsageRow(day, agent, resource, model, pairs, calls, to_usd(cost), to_usd(estimated)))
    return rows


def total_by(rows: Iterable[UsageRow], by: str) -> list[UsageTotal]:
    """Sum by ``agent``, ``model``, ``resource``, ``day`` or the name of a label, dearest first."""
    cost: dict[str, Decimal] = defaultdict(Decimal)
    estimated: dict[str, Decimal] = defaultdict(Decimal)
    calls: dict[str, int] = defaultdict(int)
    for row in rows:
        name = {
            "agent": row.agent_id,
            "model": row.model,
            "resource": row.resource_type,
            "day": row.day.isoformat(),
        }.get(by, row.labels.get(by, ""))
        cost[name or "(none)"] += row.cost_usd
        estimated[name or "(none)"] += row.estimated_usd
        calls[name or "(none)"] += row.calls
    dearest_first = sorted(cost, key=lambda name: (-cost[name], name))
    return [UsageTotal(name, calls[name], cost[name], estimated[name]) for name in dearest_first]


class UsageViews:
    """What a governor shows of the bill of its tenant."""

    _ledger: Ledger

    async def usage(self, days: Iterable[date]) -> list[UsageRow]:
        """What was charged on those days (of the tenant's zone), by agent, resource type, model and labels."""
        rows: list[UsageRow] = []
        for day in days:
            rows += decode_usage(day, await self._ledger.usage(day.toordinal() - date(1970, 1, 1).toordinal()))
        return rows

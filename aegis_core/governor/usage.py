"""The bill: what was charged, by day, agent, resource type, model and label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from aegis_core.protocol.money import to_usd


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line of the bill of one day."""

    day: date
    agent_id: str
    resource_type: str
    model: str
    labels: dict[str, str]
    calls: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The sum of several lines under one name."""

    name: str
    calls: int
    cost_usd: Decimal


def decode_usage(day: date, raw: dict[str, int]) -> list[UsageRow]:
    """Pair the cost and call counters of one day."""
    names = {field.rpartition("\t")[0] for field in raw}
    rows: list[UsageRow] = []
    for name in sorted(names):
        agent, resource, model, labels, *_ = name.split("\t")
        pairs = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
        rows.append(
            UsageRow(day, agent, resource, model, pairs, raw.get(f"{name}\tn", 0), to_usd(raw.get(f"{name}\t$", 0)))
        )
    return rows


def total_by(rows: Iterable[UsageRow], by: str) -> list[UsageTotal]:
    """Sum by ``agent``, ``model``, ``resource``, ``day`` or the name of a label, dearest first."""
    cost: dict[str, Decimal] = defaultdict(Decimal)
    calls: dict[str, int] = defaultdict(int)
    for row in rows:
        name = {
            "agent": row.agent_id,
            "model": row.model,
            "resource": row.resource_type,
            "day": row.day.isoformat(),
        }.get(by, row.labels.get(by, ""))
        cost[name or "(none)"] += row.cost_usd
        calls[name or "(none)"] += row.calls
    return [UsageTotal(name, calls[name], cost[name]) for name in sorted(cost, key=lambda name: (-cost[name], name))]

"""Budgets of agents and labels as figures for Prometheus: those nearest to their limits, where the settings ask."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.messages import BudgetState

AGENTS_LOOKED_AT = 2_000
"""Agents among which those are looked for, the first by name; a larger tenant asks `GET /api/v1/activity`."""
_PAGE = 500
_FRESH = 30.0
"""Seconds for which the budgets of agents are taken as they were."""


class _Figure(NamedTuple):
    scope: str
    name: str
    window: str
    limit: float
    spent: float
    reserved: float

    @property
    def left(self) -> float:
        """What is left, as a part of the limit."""
        return (self.limit - self.spent - self.reserved) / self.limit if self.limit else 0.0


class BudgetFigures(Collector):
    """The budgets of at most so many agents (of a day) and labels (of any window)."""

    def __init__(self, governor: ResourceGovernor, most: int) -> None:
        self._governor, self._most = governor, most
        self._labels, self._agents = list[_Figure](), list[_Figure]()
        self._agents_until = 0.0

    def clear(self) -> None:
        """Show nothing rather than figures of the past."""
        self._labels, self._agents, self._agents_until = [], [], 0.0

    async def look(self, shared: Sequence[BudgetState]) -> None:
        """Take them from the shared budgets and from the agents. Raises StoreError: Redis could not be asked."""
        if not self._most:
            return
        labels = [
            _Figure("label", of.name, of.window, float(of.limit_usd), float(of.spent_usd), float(of.reserved_usd))
            for of in shared
            if of.scope == "label"
        ]
        self._labels = self._nearest(labels)
        if time.monotonic() >= self._agents_until:
            self._agents = self._nearest(await self._agents_days())
            self._agents_until = time.monotonic() + _FRESH

    async def _agents_days(self) -> list[_Figure]:
        found, after = list[_Figure](), None
        while len(found) < AGENTS_LOOKED_AT:
            page = await self._governor.agents(after=after, limit=_PAGE)
            for each in page:
                amounts = map(float, (each.limit_usd, each.spent_today_usd, each.reserved_usd))
                found.append(_Figure("agent", each.agent_id, "day", *amounts))
            if len(page) < _PAGE:
                break
            after = page[-1].agent_id
        return found

    def _nearest(self, figures: list[_Figure]) -> list[_Figure]:
        return sorted(figures, key=lambda figure: (figure.left, figure.name))[: self._most]

    def collect(self) -> Iterator[Metric]:
        """In Prometheus's form."""
        if not self._most:
            return
        title = "Budgets of the agents and labels that are nearest to their limits."
        family = GaugeMetricFamily("aegis_budget_usd", title, labels=("scope", "name", "window", "part"))
        for figure in (*self._agents, *self._labels):
            for part in ("limit", "spent", "reserved"):
                family.add_metric((figure.scope, figure.name, figure.window, part), getattr(figure, part))
        yield family

"""What a tenant's outcomes say of the tiers: expected quality, its bounds, and the tier that they call for.

Outcomes are counted by task type and by agent and declared density, each with the model that answered. A count is a
Beta posterior, shrunk from the row to the tenant's mean of the tier, and from there to a weak prior that ships with
Aegis: round figures, learned from nothing, worth four outcomes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from statistics import NormalDist
from typing import Literal, NamedTuple

TARGET = 0.97
"""The share of the strongest tier's quality that a cheaper one must keep."""

CONFIDENCE = 0.95
ENOUGH = 30
"""Outcomes of a tier before they may move a choice away from the declared density."""

TIERS = 5
Basis = Literal["prior", "task_type", "text", "agent"]

_Z = NormalDist().inv_cdf(CONFIDENCE)
_CHOICES = 4_096


class DecayedSums(NamedTuple):
    """Decayed sums: of scores, and of outcomes."""

    good: float = 0.0
    total: float = 0.0

    def __add__(self, other: DecayedSums) -> DecayedSums:  # pyright: ignore[reportIncompatibleMethodOverride]
        return DecayedSums(self.good + other.good, self.total + other.total)


class ExpectedScore(NamedTuple):
    """The expected score of a tier, the lower bound on it, and how many outcomes it rests on."""

    mean: float
    lower: float
    outcomes: float

    @property
    def variance(self) -> float:
        """Of the mean."""
        return ((self.mean - self.lower) / _Z) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The lowest tier that may serve a request, and why.

    Attributes:
        tier: 1 to 5.
        asked: the tier that the declared density asks for.
        basis: what called for it; ``prior``: the declared density alone.
        outcomes: how many outcomes that rests on.
        estimates: for each tier, lowest first.
    """

    tier: int
    asked: int
    basis: Basis
    outcomes: float
    estimates: tuple[ExpectedScore, ...]


class Prior(NamedTuple):
    """The weak prior: what is assumed of the tiers before any outcome, and how many outcomes that is worth."""

    name: str
    outcomes: float
    quality_by_tier: tuple[float, ...]


Row = dict[int, DecayedSums]


@dataclass(frozen=True)
class Evidence:
    """One reading of a tenant's table of outcomes. `version` grows with every outcome that is counted."""

    version: int = 0
    overall: Mapping[int, DecayedSums] = field(default_factory=dict[int, DecayedSums])
    by_type: Mapping[str, Row] = field(default_factory=dict[str, Row])
    by_agent: Mapping[tuple[str, int], Row] = field(default_factory=dict[tuple[str, int], Row])

    @classmethod
    def of(cls, rows: Mapping[str, DecayedSums], version: int, tier_of: Callable[[str], int | None]) -> Evidence:
        """Sum rows by tier; models that the catalog no longer has do not count.

        Args:
            rows: by key: ``*``, ``t TYPE`` or ``a AGENT DENSITY``, then the model, separated by tabs.
            version: of the table.
            tier_of: the tier of a model of the catalog.
        """
        overall: Row = {}
        by_type: dict[str, Row] = {}
        by_agent: dict[tuple[str, int], Row] = {}
        for key, tally in rows.items():
            kind, *names, model = key.split("\t")
            tier = tier_of(model)
            if tier is None:
                continue
            if kind == "*":
                row = overall
            elif kind == "t":
                row = by_type.setdefault(names[0], {})
            else:
                row = by_agent.setdefault((names[0], int(names[1])), {})
            row[tier] = row.get(tier, DecayedSums()) + tally
        return cls(version, overall, by_type, by_agent)

    def choose(self, tier: int, density: int, task_type: str | None, agent: str) -> Choice:
        """The tier that the outcomes call for, where the declared density asks for `tier`."""
        if not self.overall:
            return _of_prior(tier)
        return self._choices(tier, density, task_type, agent)

    @cached_property
    def _choices(self) -> Callable[[int, int, str | None, str], Choice]:
        return lru_cache(maxsize=_CHOICES)(self._choose)

    def _choose(self, tier: int, density: int, task_type: str | None, agent: str) -> Choice:
        rows: list[tuple[Basis, Row | None]] = [
            ("task_type", self.by_type.get(task_type) if task_type else None),
            ("agent", self.by_agent.get((agent, density))),
        ]
        for basis, row in rows:
            if row and (found := self._by_row(tier, basis, row)):
                return found
        return Choice(tier, tier, "prior", 0, self.estimates({}))

    def _by_row(self, tier: int, basis: Basis, row: Row) -> Choice | None:
        """What one row calls for; None when it says too little of the tiers that it would choose between."""
        estimates = self.estimates(row)
        known = [each for each in range(1, TIERS + 1) if row.get(each, DecayedSums()).total >= ENOUGH]
        if not known:
            return None
        best = max(known)
        # Without outcomes of a tier at least as strong as the one asked for, perfection is what must be kept up with.
        against = estimates[best - 1] if best >= tier else ExpectedScore(1.0, 1.0, 0.0)
        for each in known:
            if each < tier and _kept(estimates[each - 1], against, -1) >= 0:
                return Choice(each, tier, basis, row[each].total, estimates)
        if tier in known and best > tier and _kept(estimates[tier - 1], against, +1) < 0:
            enough = (each for each in known if each > tier and _kept(estimates[each - 1], against, -1) >= 0)
            raised = next(enough, best)
            return Choice(raised, tier, basis, row[tier].total, estimates)
        return Choice(tier, tier, basis, sum(tally.total for tally in row.values()), estimates)

    def estimates(self, row: Row) -> tuple[ExpectedScore, ...]:
        """Expected quality of each tier by one row of outcomes, lowest tier first."""
        weight = prior().outcomes
        found: list[ExpectedScore] = []
        for tier, assumed in enumerate(prior().quality_by_tier, start=1):
            seen, mine = self.overall.get(tier, DecayedSums()), row.get(tier, DecayedSums())
            middle = (weight * assumed + seen.good) / (weight + seen.total)
            found.append(_estimate(weight * middle + mine.good, weight + mine.total, mine.total))
        return tuple(found)


@lru_cache(maxsize=1_024)  # the same object for the same choice, by which explanations are kept
def lowered_by_text(weak: int, choice: Choice) -> Choice:
    """The choice of a fitted text model for which the weak model of its pair is good enough."""
    return Choice(weak, choice.asked, "text", 0, choice.estimates)


@lru_cache(maxsize=1)
def prior() -> Prior:
    """The shipped prior."""
    content = json.loads((files("aegis_core.arbiter") / "prior.json").read_text(encoding="utf-8"))
    return Prior(content["name"], content["outcomes"], tuple(content["quality_by_tier"]))


NO_EVIDENCE = Evidence()


@lru_cache(maxsize=TIERS)
def _of_prior(tier: int) -> Choice:
    return Choice(tier, tier, "prior", 0, NO_EVIDENCE.estimates({}))


def _estimate(good: float, total: float, outcomes: float) -> ExpectedScore:
    """Mean and lower bound of a Beta posterior with these sums, by its first two moments."""
    mean = good / total
    return ExpectedScore(mean, max(0.0, mean - _Z * math.sqrt(mean * (1 - mean) / (total + 1))), outcomes)


def _kept(cheap: ExpectedScore, best: ExpectedScore, side: int) -> float:
    """The bound on what a tier has to spare over `TARGET` of the best one's quality: -1 the lower, +1 the upper."""
    spread = math.sqrt(cheap.variance + TARGET**2 * best.variance)
    return cheap.mean - TARGET * best.mean + side * _Z * spread

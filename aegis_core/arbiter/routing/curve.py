"""How good a router is: what it recovers of the strong model's lead for its share of calls, and what that costs.

APGR and CPT are those of Ong et al., "RouteLLM: learning to route LLMs with preference data" (2024). Prompts with equal
scores are averaged over every order, so that a router which cannot tell them apart gains nothing from the file's order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from aegis_core.arbiter.routing.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Curve:
    """What a router attains at each share of strong calls.

    Attributes:
        shares: from 0, always weak, to 1, always strong; ascending.
        quality: the mean score at each share; linear between them.
    """

    shares: tuple[float, ...]
    quality: tuple[float, ...]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], scores: Sequence[float]) -> Curve:
        """Send the prompts with the highest scores to the strong model first."""
        count = len(outcomes)
        order = sorted(range(count), key=scores.__getitem__, reverse=True)
        sent, total = 0, sum(outcome.weak for outcome in outcomes)
        shares, quality = [0.0], [total / count]
        for _, equal in groupby(order, key=scores.__getitem__):
            for place in equal:
                total += outcomes[place].gain
                sent += 1
            shares.append(sent / count)
            quality.append(total / count)
        return cls(tuple(shares), tuple(quality))

    def recovered(self, quality: float) -> float | None:
        """The share of the strong model's lead that a quality stands for; None: it has no lead."""
        weak, strong = self.quality[0], self.quality[-1]
        return (quality - weak) / (strong - weak) if strong != weak else None

    @property
    def apgr(self) -> float | None:
        """The mean performance gap recovered over all shares: 0.5 is chance. None: the models are equally good."""
        area = 0.0
        for at in range(1, len(self.shares)):
            width = self.shares[at] - self.shares[at - 1]
            area += width * (self.quality[at] + self.quality[at - 1]) / 2
        return self.recovered(area)

    def share_for(self, quality: float) -> float:
        """The smallest share of strong calls that attains a quality; 1 where none does."""
        before = self.quality[0]
        if before >= quality:
            return 0.0
        for at in range(1, len(self.shares)):
            here = self.quality[at]
            if here >= quality:
                width = self.shares[at] - self.shares[at - 1]
                return self.shares[at - 1] + width * (quality - before) / (here - before)
            before = here
        return 1.0

    def cpt(self, part: float) -> float:
        """The call-performance threshold: the smallest share of strong calls that recovers `part` of the lead."""
        weak, strong = self.quality[0], self.quality[-1]
        return self.share_for(weak + part * (strong - weak))

    def share_keeping(self, retained: float) -> float:
        """The smallest share of strong calls that keeps `retained` of the strong model's mean score."""
        return self.share_for(retained * self.quality[-1])


def cost_of(share: float, ratio: float | None) -> float | None:
    """What a share of strong calls costs; 1 is always strong. None: the ratio of prices is unknown."""
    return None if ratio is None else share + (1 - share) * ratio


def summary(outcomes: Sequence[Outcome], scores: Sequence[float], ratio: float | None) -> dict[str, float | None]:
    """The figures of one router."""
    curve = Curve.of(outcomes, scores)
    return {
        "apgr": rounded(curve.apgr),
        "cpt50": rounded(curve.cpt(0.5)),
        "cpt80": rounded(curve.cpt(0.8)),
        "cost_at_95": rounded(cost_of(curve.share_keeping(0.95), ratio)),
        "cost_at_97": rounded(cost_of(curve.share_keeping(0.97), ratio)),
    }


def kept(outcomes: Sequence[Outcome], strong: Sequence[bool]) -> tuple[float | None, float]:
    """What choices attain: the share of the strong model's mean score that is retained, and of strong calls."""
    best = sum(outcome.strong for outcome in outcomes)
    got = sum(each.strong if chosen else each.weak for each, chosen in zip(outcomes, strong, strict=True))
    return (got / best if best else None), sum(strong) / len(outcomes)


def baselines(outcomes: Sequence[Outcome], ratio: float | None) -> dict[str, dict[str, float | None]]:
    """What needs no learning, on the same prompts; ``oracle`` knows the answers beforehand."""
    weak, _ = kept(outcomes, [False] * len(outcomes))
    found = {
        "random": summary(outcomes, [0.0] * len(outcomes), ratio),
        "length": summary(outcomes, [float(len(outcome.prompt)) for outcome in outcomes], ratio),
        "oracle": summary(outcomes, [outcome.gain for outcome in outcomes], ratio),
    }
    found["always_weak"] = {"retained": rounded(weak), "cost": rounded(cost_of(0, ratio))}
    found["always_strong"] = {"retained": 1.0, "cost": rounded(cost_of(1, ratio))}
    return found


def intervals(
    outcomes: Sequence[Outcome], measure: Callable[[list[int]], dict[str, Any]], *, rounds: int = 200, seed: int = 0
) -> dict[str, list[float | None]]:
    """95 % intervals by the bootstrap over prompts (Efron 1979), percentile method.

    Args:
        outcomes: how many prompts there are to draw from.
        measure: figures of the prompts at these places, drawn with replacement.
        rounds: samples.
        seed: equal seeds give equal intervals.
    """
    draw = random.Random(seed)  # noqa: S311 - statistics, not secrets
    count = len(outcomes)
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, value in measure(draw.choices(range(count), k=count)).items():
            if value is not None:
                seen.setdefault(name, []).append(value)
    found: dict[str, list[float | None]] = {}
    for name, values in seen.items():
        values.sort()
        low, high = values[int(0.025 * len(values))], values[min(len(values) - 1, int(0.975 * len(values)))]
        found[name] = [rounded(low), rounded(high)]
    return found


def rounded(value: float | None) -> float | None:
    """Four decimals, for reports."""
    return None if value is None else round(value, 4)

"""How good a router is: what it recovers of the strong model's lead for its share of calls, and what that costs.

APGR and CPT are those of Ong et al., "RouteLLM: learning to route LLMs with preference data" (2024). Prompts with equal
scores are averaged over every order, so that a router which cannot tell them apart gains nothing from the file's order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aegis_core.arbiter.routing.outcomes import Outcome

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What a router attains at each share of strong calls.

    Attributes:
        shares: from 0, always weak, to 1, always strong; ascending.
        quality: the mean score at each share; linear between them.
    """

    shares: NDArray[np.float64]
    quality: NDArray[np.float64]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], scores: ArrayLike) -> Curve:
        """Send the prompts with the highest scores to the strong model first."""
        weak, strong = columns(outcomes)
        falling = -np.asarray(scores, dtype=np.float64)
        order = np.argsort(falling, kind="stable")
        last = np.flatnonzero(np.diff(falling[order], append=np.inf))  # of those with equal scores
        gained = np.cumsum((strong - weak)[order])[last]
        shares = np.concatenate([[0.0], (last + 1) / len(outcomes)])
        return cls(shares, (weak.sum() + np.concatenate([[0.0], gained])) / len(outcomes))

    def recovered(self, quality: float) -> float | None:
        """The share of the strong model's lead that a quality stands for; None: it has no lead."""
        weak, strong = self.quality[0], self.quality[-1]
        return float((quality - weak) / (strong - weak)) if strong != weak else None

    @property
    def apgr(self) -> float | None:
        """The mean performance gap recovered over all shares: 0.5 is chance. None: the models are equally good."""
        return self.recovered(float(np.trapezoid(self.quality, self.shares)))

    def quality_at(self, share: float) -> float:
        """The mean score at a share of strong calls."""
        return float(np.interp(share, self.shares, self.quality))

    def share_for(self, quality: float) -> float:
        """The smallest share of strong calls that attains a quality; 1 where none does."""
        enough = self.quality >= quality
        if not enough.any():
            return 1.0
        at = int(enough.argmax())
        if at == 0:
            return 0.0
        return float(np.interp(quality, self.quality[at - 1 : at + 1], self.shares[at - 1 : at + 1]))

    def cpt(self, part: float) -> float:
        """The call-performance threshold: the smallest share of strong calls that recovers `part` of the lead."""
        weak, strong = self.quality[0], self.quality[-1]
        return self.share_for(weak + part * (strong - weak))

    def share_keeping(self, retained: float) -> float:
        """The smallest share of strong calls that keeps `retained` of the strong model's mean score."""
        return self.share_for(retained * self.quality[-1])


def columns(outcomes: Sequence[Outcome]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The scores of the weak and of the strong model."""
    return np.array([each.weak for each in outcomes]), np.array([each.strong for each in outcomes])


def cost_of(share: float, ratio: float | None) -> float | None:
    """What a share of strong calls costs; 1 is always strong. None: the ratio of prices is unknown."""
    return None if ratio is None else share + (1 - share) * ratio


def summary(outcomes: Sequence[Outcome], scores: ArrayLike, ratio: float | None) -> dict[str, float | None]:
    """The figures of one router."""
    curve = Curve.of(outcomes, scores)
    return {
        "apgr": rounded(curve.apgr),
        "cpt50": rounded(curve.cpt(0.5)),
        "cpt80": rounded(curve.cpt(0.8)),
        "cost_at_95": rounded(cost_of(curve.share_keeping(0.95), ratio)),
        "cost_at_97": rounded(cost_of(curve.share_keeping(0.97), ratio)),
    }


def kept(outcomes: Sequence[Outcome], chosen: ArrayLike) -> tuple[float | None, float]:
    """What choices attain: the share of the strong model's mean score that is retained, and of strong calls."""
    weak, strong = columns(outcomes)
    sent = np.asarray(chosen, dtype=np.bool_)
    best = strong.sum()
    return (float(np.where(sent, strong, weak).sum() / best) if best else None), float(sent.mean())


def baselines(outcomes: Sequence[Outcome], ratio: float | None) -> dict[str, dict[str, float | None]]:
    """What needs no learning, on the same prompts; ``oracle`` knows the answers beforehand."""
    weak, _ = kept(outcomes, np.zeros(len(outcomes)))
    found = {
        "random": summary(outcomes, np.zeros(len(outcomes)), ratio),
        "length": summary(outcomes, [len(outcome.prompt) for outcome in outcomes], ratio),
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
    draw = random.Random(seed)  # noqa: S311 - statistics, not secrets; NumPy's draws may change with its version
    count = len(outcomes)
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, value in measure(draw.choices(range(count), k=count)).items():
            if value is not None:
                seen.setdefault(name, []).append(value)
    found: dict[str, list[float | None]] = {}
    for name, values in seen.items():
        low, high = np.quantile(values, (0.025, 0.975), method="higher")
        found[name] = [rounded(low), rounded(high)]
    return found


def rounded(value: float | None) -> float | None:
    """Four decimals, for reports."""
    return None if value is None else round(float(value), 4)

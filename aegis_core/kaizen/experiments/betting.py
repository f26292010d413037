"""The test: bets against "the candidate is worse than allowed", whose gain is the evidence, valid at every moment.

A pair is one request answered by both models, with scores s (present) and c (candidate) from 0 to 1. Under the
hypothesis the mean of d = c - margin * s, given all pairs before, is at most 0. Whoever bets the share λ of a stake on
every d multiplies it by 1 + λd, and under the hypothesis never expects to win: so a mean of such stakes, over bets that
are fixed beforehand, is a non-negative supermartingale from 1, and exceeds 1/α ever with a chance of at most α (Ville).

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024); the
mixture is Robbins' (1970). Several experiments: Wang and Ramdas, "False discovery rate control with e-values", JRSS B
84 (2022). `store/lua/lib/betting.lua` does the same where pairs are stored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import exp, log, log1p, sqrt

BETS = 12
SMALLEST, LARGEST = 0.02, 0.9
"""Of the least d: the bets are a geometric row between them, so that none can lose everything."""
MARGIN, LABELLED_MARGIN = 0.97, 0.90
"""How much of the present model's score is enough; and of labelled pairs, which only bound what a judge got wrong."""
ALPHA = 0.05
ENOUGH = log(1 / ALPHA)
"""The logarithm of an e-value that is evidence enough for one experiment alone."""


def bets(least: float) -> tuple[float, ...]:
    """The shares that are bet on differences of at least -`least`."""
    return tuple(SMALLEST / least * (LARGEST / SMALLEST) ** (at / (BETS - 1)) for at in range(BETS))


@dataclass(slots=True)
class Evidence:
    """What pairs say so far, in natural logarithms. They are taken one by one, in the order of their numbers.

    Attributes:
        margin: see `MARGIN`.
        n, total, squares: how many pairs, and the sums of d and of its square.
        logs: of each bet its stake now; `against` the same for the mirrored differences, which refute.
    """

    margin: float = MARGIN
    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    logs: list[float] = field(default_factory=lambda: [0.0] * BETS)
    against: list[float] = field(default_factory=lambda: [0.0] * BETS)

    def add(self, present: float, candidate: float) -> None:
        """Take in one pair of scores from 0 to 1."""
        d = candidate - self.margin * present
        self.n, self.total, self.squares = self.n + 1, self.total + d, self.squares + d * d
        for at, bet in enumerate(bets(self.margin)):
            self.logs[at] += log1p(bet * d)
        for at, bet in enumerate(bets(1.0)):
            self.against[at] += log1p(-bet * d)

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value: how much the mean stake has won."""
        return log_mean(self.logs)

    @property
    def log_against(self) -> float:
        """The same against the candidate: from `ENOUGH` on it is refuted."""
        return log_mean(self.against)


def log_mean(logs: Sequence[float]) -> float:
    """The logarithm of the mean of numbers of which the logarithms are given."""
    top = max(logs)
    return top + log(sum(exp(each - top) for each in logs) / len(logs))


def discoveries(logs: Sequence[float], alpha: float = ALPHA) -> frozenset[int]:
    """Which of several e-values (by their logarithms) are evidence together, with a false discovery rate of `alpha`.

    e-BH: the k largest, for the largest k whose smallest is at least K / (alpha k), of K experiments, ended ones too.
    """
    order = sorted(range(len(logs)), key=lambda at: (-logs[at], at))
    enough = [k for k, at in enumerate(order, 1) if logs[at] >= log(len(logs) / (alpha * k))]
    return frozenset(order[: max(enough, default=0)])


def forecast(evidence: Evidence) -> tuple[int, int] | None:
    """How many more pairs it probably takes to certify, in half and in nine of ten such experiments; None: it will not.

    n ≈ 8 V / Δ² and 17 V / Δ², Δ and V the mean and the mean square of d: fitted to simulations of this project.
    """
    if evidence.n < _LEAST or evidence.total <= 0:
        return None
    share = evidence.squares * evidence.n / (evidence.total * evidence.total)
    return max(0, round(8 * share) - evidence.n), max(0, round(17 * share) - evidence.n)


_LEAST = 30
"""Pairs from which a forecast says anything."""


def least_ratio(pairs: Collection[tuple[float, float]], alpha: float = ALPHA) -> float:
    """The lower end of a confidence sequence for the ratio of the mean scores: the largest margin, in steps of 0.005,
    that is shown to be met together with all below it. One-sided, as the decision is; 0: none is.

    The e-value falls as the margin grows, so the first margin that is not met ends the search by halving.
    """
    met, not_met = 0, round(2 / _STEP)
    while not_met - met > 1:
        middle = (met + not_met) // 2
        found = Evidence(middle * _STEP)
        for present, candidate in pairs:
            found.add(present, candidate)
        met, not_met = (middle, not_met) if found.log_e >= log(1 / alpha) else (met, middle)
    return met * _STEP


_STEP = 0.005


def spread(evidence: Evidence) -> float:
    """The standard error of the mean of d; 0 of fewer than two pairs."""
    if evidence.n < 2:
        return 0.0
    mean = evidence.total / evidence.n
    return sqrt(max(0.0, evidence.squares / evidence.n - mean * mean) / evidence.n)

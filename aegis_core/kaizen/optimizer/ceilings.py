"""Where a ceiling may lie so that, with 95 % confidence, at most a small share of requests asks for more.

The tolerance bound (Wilks, "Determination of sample sizes for setting tolerance limits", 1941): of n amounts the
smallest order statistic k of which a binomial of n trials with chance 1 - share is below k in at least 95 %. It takes
299 amounts for 1 %, 149 for 2 % and 59 for 5 %; of fewer nobody can say it. Amounts are what was asked for, refused
requests included, because the ceiling in force hides what is above it.
"""

from __future__ import annotations

from collections.abc import Collection
from math import exp, lgamma, log, log1p

CONFIDENCE = 0.95
STEP, WEEK = 0.10, 0.30
"""By how much a ceiling moves at most in one step, and in seven days."""


def least_needed(share: float, confidence: float = CONFIDENCE) -> int:
    """How many amounts it takes at least: 299 for a share of 0.01."""
    needed = log(1 - confidence) / log1p(-share)
    return int(needed) + (needed > int(needed))


def tolerance_bound(amounts: Collection[int], share: float, confidence: float = CONFIDENCE) -> int | None:
    """The amount above which at most `share` of such requests ask, with so much confidence. None: there are too few."""
    n = len(amounts)
    if n < least_needed(share, confidence):
        return None
    total, k = 0.0, 0  # the chance of at most k - 1 amounts below the quantile
    while total < confidence:
        total += _chance(n, k, 1 - share)
        k += 1
    return sorted(amounts)[k - 1]


def _chance(n: int, k: int, p: float) -> float:
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))


def next_ceiling(present: int, wanted: int, low: int, high: int, week_ago: int | None = None) -> int:
    """The next step of a ceiling towards what is wanted.

    Args:
        present, wanted: nano-dollars.
        low, high: what its owner allows.
        week_ago: what it was seven days ago, where that is known.
    """
    least, most = present * (1 - STEP), present * (1 + STEP)
    if week_ago is not None:
        least, most = max(least, week_ago * (1 - WEEK)), min(most, week_ago * (1 + WEEK))
    within = min(max(wanted, low), high)
    return round(min(max(within, least), max(most, least)))

"""How sure a sum is: an interval by the bootstrap over sessions, the same every time that it is asked for.

Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7 (1979). Requests of one session depend
on each other, so whole sessions are drawn, not requests.
"""

from __future__ import annotations

import random
from collections.abc import Collection

ROUNDS = 1_000
GROUPS = 200
"""More sessions than that are dealt into so many groups, which are drawn as one session is: the sum of a group varies
as its sessions together do, and a day of a hundred thousand sessions takes no longer than one of two hundred."""

LOW, HIGH = 24, 975
"""Which of the sorted sums are the ends: 2.5 and 97.5 per cent of `ROUNDS`."""


def interval(losses: Collection[int], units: int, seed: str) -> tuple[int, int] | None:
    """The 95 % interval of a sum by its percentiles.

    Args:
        losses: what each session lost, those that lost something.
        units: how many sessions there were, the others included.
        seed: draws are the same for the same one.

    Returns:
        None where there were fewer than two sessions, so that nobody knows how sessions differ.
    """
    if units < 2:
        return None
    draws, values = random.Random(seed), sorted(losses)  # noqa: S311 - statistics, no secret
    if units > GROUPS:
        sums = [0] * GROUPS
        for place, value in zip(draws.sample(range(units), len(values)), values, strict=True):
            sums[place % GROUPS] += value
        values = sums
    else:
        values += [0] * (units - len(values))
    drawn = sorted(sum(draws.choices(values, k=len(values))) for _ in range(ROUNDS))
    return drawn[LOW], drawn[HIGH]


def quantile(values: Collection[int], share: float) -> int:
    """The value that is exceeded by at most the rest: the smallest with at least so many values up to it."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1))]


def median(values: Collection[int]) -> int:
    """The middle value; of an even number of values the lower of the two, which is one that occurred."""
    return quantile(values, 0.5)

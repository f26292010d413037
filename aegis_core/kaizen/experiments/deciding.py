"""What follows from e-values at the close of days, for all experiments of a tenant together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

from aegis_core.kaizen.experiments.betting import ALPHA, ENOUGH, MARGIN, discoveries

WHOLE_DAYS = 2
"""So many whole days must have passed: over part of a day a daily cycle looks like an effect."""
PRICE_CHANGE = 0.10
"""A certificate lapses where a price of one of its models changed by more."""
CERTIFICATE_MS = 30 * 86_400_000

Decision = Literal["certified", "suggested"]


@dataclass(frozen=True, slots=True)
class Standing:
    """An experiment as it stood when the last whole day was over.

    Attributes:
        name: of the experiment.
        open: it is still to be decided; ended ones count, too, with what they came to.
        whole_days: that are counted.
        log_e: the logarithm of its e-value; of a decided one that on which it was decided.
        true: its judge knows what is right, or an operator certifies without labels.
        log_labels: the logarithm of the e-value of its labelled pairs.
    """

    name: str
    open: bool
    whole_days: int
    log_e: float
    true: bool = True
    log_labels: float = 0.0


def decided(standings: Sequence[Standing]) -> dict[str, Decision]:
    """Which open experiments are certified, or (a judge's word alone) only suggested, with a false discovery rate of
    5 % over all of them. A certificate on a judge's word needs labelled pairs as well."""
    found = discoveries([each.log_e for each in standings])
    return {
        each.name: "certified" if each.true or each.log_labels >= ENOUGH else "suggested"
        for at, each in enumerate(standings)
        if at in found and each.open and each.whole_days >= WHOLE_DAYS
    }


def needed(standings: Sequence[Standing]) -> float:
    """The least logarithm of an e-value that would be certified now, were it one more than those that are."""
    found = discoveries([each.log_e for each in standings])
    return log(max(1, len(standings)) / (ALPHA * min(len(standings), len(found) + 1))) if standings else ENOUGH


def margin_of(*, pairwise: bool, attenuation: float) -> float:
    """How much of the present model's score is enough. A judge of pairs shows only some of a true preference, so of the
    3 % that may be missing only so much: one that shows none can let nothing pass."""
    return 1 - (1 - MARGIN) * attenuation if pairwise else MARGIN


def changed_price(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Whether a rate is another by more than a tenth, or gone."""
    return any(abs(now.get(name, 0) - nanos) > PRICE_CHANGE * nanos for name, nanos in before.items())

"""What a router attains on outcomes: by a model that was fitted elsewhere, or by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aegis_core.arbiter.routing.curve import baselines, cost_of, intervals, kept, rounded, summary
from aegis_core.arbiter.routing.fitting import CONFIDENCE, TARGET, estimates, fold_of, read
from aegis_core.arbiter.routing.gain import GainModel
from aegis_core.arbiter.routing.outcomes import Outcome, Pair

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ROUNDS = 200


def evaluate(model: GainModel, outcomes: Sequence[Outcome], pair: Pair, *, rounds: int = ROUNDS) -> dict[str, object]:
    """The figures of a fitted model, with its own threshold.

    Args:
        model: fitted on other prompts, or the figures flatter it.
        outcomes: at least one.
        pair: the models, with the ratio of prices to count by.
        rounds: bootstrap samples for the intervals; 0: none.
    """
    gains, strong = judge(outcomes, model, pair, 0)
    found = _figures(outcomes, gains, strong, pair, rounds)
    return found | {"how": "a fitted model", "target": model.target, "threshold": rounded(model.threshold)}


def judge(
    outcomes: Sequence[Outcome], model: GainModel | None, pair: Pair, folds: int
) -> tuple[list[float], list[bool]]:
    """The estimated gain of every prompt, and whether it goes to the strong model: by a model, else by `folds`."""
    if model is None:
        found = estimates(read(outcomes), pair, folds=folds, nested=True)
        return found.gains, found.strong
    gains = [model.gain(outcome.prompt, outcome.task_type) for outcome in outcomes]
    return gains, [model.calls_for_strong(gain) for gain in gains]


def cross_validate(
    outcomes: Sequence[Outcome], pair: Pair, *, folds: int, target: float = TARGET, confidence: float = CONFIDENCE,
    rounds: int = ROUNDS,
) -> dict[str, object]:  # fmt: skip
    """The figures of the method: each prompt judged by a model, and a threshold, of the other folds only."""
    found = estimates(read(outcomes), pair, folds=folds, nested=True, target=target, confidence=confidence)
    of = np.array([fold_of(outcome.prompt, folds) for outcome in outcomes])
    report = _figures(outcomes, found.gains, found.strong, pair, rounds)
    report |= {"how": f"{folds}-fold cross-validation", "target": target}
    parts: list[dict[str, object]] = []
    for fold in range(folds):
        mine: list[int] = np.flatnonzero(of == fold).tolist()
        here = [outcomes[place] for place in mine]
        retained, share = kept(here, [found.strong[place] for place in mine]) if here else (None, None)
        parts.append(
            {
                "fold": fold,
                "rows": len(mine),
                "threshold": rounded(found.thresholds[fold]),
                "retained": rounded(retained),
                "strong_share": rounded(share),
                "cost": None if share is None else rounded(cost_of(share, pair.ratio)),
                "ids": [outcomes[place].id for place in mine],
            }
        )
    return report | {"folds": parts}


def _figures(
    outcomes: Sequence[Outcome], gains: ArrayLike, strong: ArrayLike, pair: Pair, rounds: int
) -> dict[str, object]:
    scores, chosen = np.asarray(gains, dtype=np.float64), np.asarray(strong, dtype=np.bool_)

    def attained(places: Sequence[int]) -> dict[str, Any]:
        here, at = [outcomes[place] for place in places], np.array(places)
        retained, share = kept(here, chosen[at])
        return summary(here, scores[at], pair.ratio) | {
            "retained": rounded(retained),
            "cost": rounded(cost_of(share, pair.ratio)),
            "strong_share": rounded(share),
        }

    found = attained(range(len(outcomes)))
    found["rows"] = len(outcomes)
    found["pair"] = {"weak": pair.weak, "strong": pair.strong, "ratio": rounded(pair.ratio)}
    found["baselines"] = baselines(outcomes, pair.ratio)
    found["intervals"] = intervals(outcomes, attained, rounds=rounds) if rounds else {}
    return found

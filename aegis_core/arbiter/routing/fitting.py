"""From outcomes to an estimator and the threshold by which it keeps a quality, and the honest figures of both.

Everything that is chosen is chosen inside the training rows: the threshold on estimates that the rows were not fitted
on, by a lower bound, and never by the rows that the figures are of.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from statistics import NormalDist, fmean, pstdev
from typing import NamedTuple

from aegis_core.arbiter.routing.features import BUCKETS, SHAPES, Features, features_of
from aegis_core.arbiter.routing.gain import MAX_TYPES, RARITY_STEP, GainModel, TypeTerms, frequency, standard
from aegis_core.arbiter.routing.outcomes import Outcome, Pair
from aegis_core.arbiter.routing.ridge import Sparse, solve

TARGET = 0.97
CONFIDENCE = 0.95
FOLDS = 5

PENALTY = 12.0
"""Noise over effect, as variances: a gain scatters by about 0.25, an effect by 0.02 (a standard deviation of 0.14)."""

OFFSET_SCALE, SHAPE_SCALE, SLOPE_SCALE = 3.0, 0.2, 0.2
"""How large effects are expected to be beside that of a task type: of the mean, the shape, the shape within a type."""

_GRID = 400
_STEPS = 127


class Example(NamedTuple):
    """An outcome with its text read once."""

    outcome: Outcome
    features: Features


class Estimates(NamedTuple):
    """Gains of prompts by models that were not fitted on them, and those models' choices."""

    gains: list[float]
    strong: list[bool]
    thresholds: list[float | None]


def read(outcomes: Sequence[Outcome]) -> list[Example]:
    """Read every text once; the folds share it."""
    return [Example(outcome, features_of(outcome.prompt)) for outcome in outcomes]


def fold_of(prompt: str, folds: int, salt: str = "") -> int:
    """The fold of a prompt, by a hash of it: the same in every run, and whatever else the file holds."""
    digest = sha256(f"{salt}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % folds


def fit(
    examples: Sequence[Example], pair: Pair, *, target: float = TARGET, confidence: float = CONFIDENCE
) -> GainModel:
    """Fit an estimator, and the threshold that keeps `target` of the strong model's quality.

    Args:
        examples: at least two.
        pair: the models.
        target: the share of the strong model's mean score to keep.
        confidence: of the lower bound on what is kept.
    """
    gains, _, _ = estimates(examples, pair, folds=FOLDS, salt="inner")
    threshold = threshold_for([example.outcome for example in examples], gains, target, confidence)
    return replace(fit_gain(examples, pair), target=target, confidence=confidence, threshold=threshold)


def estimates(
    examples: Sequence[Example], pair: Pair, *, folds: int, salt: str = "", nested: bool = False,
    target: float = TARGET, confidence: float = CONFIDENCE,
) -> Estimates:  # fmt: skip
    """The gain of every prompt by a model of the other folds; `nested` with each model's own threshold and choices."""
    of = [fold_of(example.outcome.prompt, folds, salt) for example in examples]
    gains, strong = [0.0] * len(examples), [True] * len(examples)
    thresholds: list[float | None] = []
    for fold in range(folds):
        rest = [example for example, where in zip(examples, of, strict=True) if where != fold]
        model = fit(rest, pair, target=target, confidence=confidence) if nested else fit_gain(rest, pair)
        thresholds.append(model.threshold)
        for place, where in enumerate(of):
            if where == fold:
                outcome, features = examples[place]
                gains[place] = model.gain_of(features, outcome.task_type)
                strong[place] = model.calls_for_strong(gains[place])
    return Estimates(gains, strong, thresholds)


def threshold_for(
    outcomes: Sequence[Outcome], gains: Sequence[float], target: float, confidence: float
) -> float | None:
    """The highest threshold that keeps `target` of the strong model's quality, by a lower bound of that confidence.

    From always strong on downwards, it stops at the first step that the bound does not carry (fixed-sequence testing;
    Angelopoulos et al., "Learn then test", 2021), so that the choice among many thresholds does not spoil the bound.
    None: none is carried, so the strong model is always called.
    """
    count = len(outcomes)
    if count < 2:
        return None
    order = sorted(range(count), key=gains.__getitem__)
    spare = [each.strong * (1 - target) for each in outcomes]  # what a choice has to spare, always strong
    total, squares = sum(spare), sum(value * value for value in spare)
    quantile = NormalDist().inv_cdf(confidence)
    found: float | None = None
    steps = {count * step // _GRID for step in range(1, _GRID + 1)} - {0}
    for done, place in enumerate(order, start=1):
        each = outcomes[place]
        value = each.weak - target * each.strong
        total += value - spare[place]
        squares += value * value - spare[place] * spare[place]
        if done not in steps:
            continue
        mean = total / count
        spread = math.sqrt(max(0.0, squares / count - mean * mean) / count)
        if mean - quantile * spread < 0:
            return found
        found = gains[place]
    return found


def fit_gain(examples: Sequence[Example], pair: Pair) -> GainModel:
    """Fit the estimator alone, without a threshold."""
    outcomes = [example.outcome for example in examples]
    if not outcomes:
        outcomes, examples = [Outcome("", "", "", 0.0, 0.0)], [Example(Outcome("", "", "", 0.0, 0.0), features_of(""))]
    types = [name for name, _ in Counter(each.task_type for each in outcomes if each.task_type).most_common(MAX_TYPES)]
    middle, unit = _units([example.features.shape for example in examples])
    rarity = _rarity([example.features for example in examples])
    places = {bucket: place for place, bucket in enumerate(b for b in range(BUCKETS) if rarity[b])}
    mean = fmean(each.gain for each in outcomes)
    columns = _Columns({name: place for place, name in enumerate(types)}, places)
    matrix = columns.matrix(examples, middle, unit, rarity)
    solved = solve(matrix, [each.gain - mean for each in outcomes], PENALTY)
    words = solved[columns.words :]
    step = max(map(abs, words), default=0.0) / _STEPS or 1.0
    weights = array("b", bytes(BUCKETS))
    for bucket, place in places.items():
        weights[bucket] = round(words[place] / step)
    return GainModel(
        weak=pair.weak,
        strong=pair.strong,
        ratio=pair.ratio,
        target=TARGET,
        confidence=CONFIDENCE,
        threshold=None,
        rows=len(outcomes),
        digest=digest_of(outcomes),
        means=(fmean(each.weak for each in outcomes), fmean(each.strong for each in outcomes)),
        offset=mean + solved[0] * OFFSET_SCALE,
        shape_mean=middle,
        shape_scale=unit,
        shape_weights=tuple(_brief(value * SHAPE_SCALE) for value in solved[columns.shape : columns.types]),
        types=_terms(outcomes, types, solved, columns),
        step=step,
        rarity=bytes(rarity),
        weights=weights,
    )


def digest_of(outcomes: Sequence[Outcome]) -> str:
    """A fingerprint of which prompts these are, whatever their order."""
    prompts = sorted(sha256(each.prompt.encode("utf-8", "surrogatepass")).digest() for each in outcomes)
    return sha256(b"".join(prompts)).hexdigest()[:16]


class _Columns:
    """Where each term of the regression has its column: the mean, the shape, the types with their slopes, the words."""

    shape = 1
    types = 1 + len(SHAPES)

    def __init__(self, types: dict[str, int], words: dict[int, int]) -> None:
        self._types, self._words = types, words
        self.words = self.types + len(types) * (1 + len(SHAPES))

    def of_type(self, place: int) -> int:
        """The column of a type; those of its slopes follow it."""
        return self.types + place * (1 + len(SHAPES))

    def matrix(
        self, examples: Sequence[Example], middle: tuple[float, ...], unit: tuple[float, ...], rarity: bytes | bytearray
    ) -> Sparse:
        """One row for each example."""
        columns: list[list[int]] = []
        values: list[list[float]] = []
        for outcome, features in examples:
            shape = standard(features.shape, middle, unit)
            row = [0, *range(self.shape, self.types)]
            cells = [OFFSET_SCALE, *(value * SHAPE_SCALE for value in shape)]
            if (place := self._types.get(outcome.task_type)) is not None:
                first = self.of_type(place)
                row += range(first, first + 1 + len(SHAPES))
                cells += [1.0, *(value * SLOPE_SCALE for value in shape)]
            found = [(self.words + self._words[bucket], rarity[bucket] * frequency(count))
                     for bucket, count in features.buckets.items() if rarity[bucket]]  # fmt: skip
            if found:
                norm = math.sqrt(sum(value * value for _, value in found))
                row += [column for column, _ in found]
                cells += [value / norm for _, value in found]
            columns.append(row)
            values.append(cells)
        return Sparse(columns, values, self.words + len(self._words))


def _units(shapes: Sequence[tuple[float, ...]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean, and one over the standard deviation, of each number of the shape."""
    by_number = list(zip(*shapes, strict=True))
    scale = tuple(_brief(1 / spread) if (spread := pstdev(values)) > 1e-9 else 0.0 for values in by_number)
    return tuple(_brief(fmean(values)) for values in by_number), scale


def _rarity(features: Sequence[Features]) -> bytearray:
    """How rare each bucket is (inverse document frequency, smoothed), 0 where it was not seen in two texts."""
    seen = Counter(bucket for each in features for bucket in each.buckets)
    rarity = bytearray(BUCKETS)
    for bucket, texts in seen.items():
        if texts > 1:
            rarity[bucket] = min(255, round((math.log((1 + len(features)) / (1 + texts)) + 1) / RARITY_STEP))
    return rarity


def _terms(
    outcomes: Sequence[Outcome], types: Sequence[str], solved: Sequence[float], columns: _Columns
) -> dict[str, TypeTerms]:
    terms: dict[str, TypeTerms] = {}
    by_type: dict[str, list[Outcome]] = {}
    for each in outcomes:
        by_type.setdefault(each.task_type, []).append(each)
    for place, name in enumerate(types):
        first, mine = columns.of_type(place), by_type[name]
        terms[name] = TypeTerms(
            n=len(mine),
            weak=_brief(fmean(each.weak for each in mine)),
            strong=_brief(fmean(each.strong for each in mine)),
            offset=_brief(solved[first]),
            slopes=tuple(_brief(value * SLOPE_SCALE) for value in solved[first + 1 : first + 1 + len(SHAPES)]),
        )
    return terms


def _brief(value: float) -> float:
    """Five significant digits: what the file stores is what is used from the start."""
    return float(f"{value:.5g}")

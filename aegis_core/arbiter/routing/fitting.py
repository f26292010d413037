"""From outcomes to an estimator and the threshold by which it keeps a quality, and the honest figures of both.

Everything that is chosen is chosen inside the training rows: the threshold on estimates that the rows were not fitted
on, by a lower bound, and never by the rows that the figures are of.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array, hstack
from scipy.sparse.linalg import norm

from aegis_core.arbiter.routing.features import BUCKETS, SHAPES, Features, features_of
from aegis_core.arbiter.routing.gain import CLIP, MAX_TYPES, RARITY_STEP, GainModel, TypeTerms
from aegis_core.arbiter.routing.outcomes import Outcome, Pair
from aegis_core.arbiter.routing.ridge import solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

TARGET = 0.97
CONFIDENCE = 0.95
FOLDS = 5

PENALTY = 12.0
"""Noise over effect, as variances: a gain scatters by about 0.25, an effect by 0.02 (a standard deviation of 0.14)."""

OFFSET_SCALE, SHAPE_SCALE, SLOPE_SCALE = 3.0, 0.2, 0.2
"""How large effects are expected to be beside that of a task type: of the mean, the shape, the shape within a type."""

_GRID = 400
_STEPS = 127
_PER_TYPE = 1 + len(SHAPES)
"""Columns of a task type: its own, and the slope of each number of the shape within it."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Outcomes with their texts read once.

    Attributes:
        outcomes, features: in the same order.
        shapes: the shape of each text, one row each.
        words: one plus the logarithm of how often each text hit each bucket, one row each; where it did not, 0.
    """

    outcomes: Sequence[Outcome]
    features: Sequence[Features]
    shapes: NDArray[np.float64]
    words: csr_array[np.float64]

    def __len__(self) -> int:
        return len(self.outcomes)

    def at(self, places: NDArray[np.intp]) -> Examples:
        """Those at some places."""
        chosen: list[int] = places.tolist()
        outcomes, features = [self.outcomes[at] for at in chosen], [self.features[at] for at in chosen]
        return Examples(outcomes, features, self.shapes[places], csr_array(self.words[places]))


class Estimates(NamedTuple):
    """Gains of prompts by models that were not fitted on them, and those models' choices."""

    gains: list[float]
    strong: list[bool]
    thresholds: list[float | None]


def read(outcomes: Sequence[Outcome]) -> Examples:
    """Read every text once; the folds share it."""
    features = [features_of(outcome.prompt) for outcome in outcomes]
    shapes = np.array([each.shape for each in features], dtype=np.float64).reshape(-1, len(SHAPES))
    buckets = np.array([bucket for each in features for bucket in each.buckets], dtype=np.intp)
    counts = np.array([count for each in features for count in each.buckets.values()], dtype=np.float64)
    ends = np.cumsum([0, *(len(each.buckets) for each in features)])
    words = csr_array((1 + np.log(counts), buckets, ends), shape=(len(features), BUCKETS), dtype=np.float64)
    return Examples(outcomes, features, shapes, words)


def fold_of(prompt: str, folds: int, salt: str = "") -> int:
    """The fold of a prompt, by a hash of it: the same in every run, and whatever else the file holds."""
    digest = sha256(f"{salt}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % folds


def fit(examples: Examples, pair: Pair, *, target: float = TARGET, confidence: float = CONFIDENCE) -> GainModel:
    """Fit an estimator, and the threshold that keeps `target` of the strong model's quality.

    Args:
        examples: at least two.
        pair: the models.
        target: the share of the strong model's mean score to keep.
        confidence: of the lower bound on what is kept.
    """
    gains, _, _ = estimates(examples, pair, folds=FOLDS, salt="inner")
    threshold = threshold_for(examples.outcomes, gains, target, confidence)
    return replace(fit_gain(examples, pair), target=target, confidence=confidence, threshold=threshold)


def estimates(
    examples: Examples, pair: Pair, *, folds: int, salt: str = "", nested: bool = False,
    target: float = TARGET, confidence: float = CONFIDENCE,
) -> Estimates:  # fmt: skip
    """The gain of every prompt by a model of the other folds; `nested` with each model's own threshold and choices."""
    of = np.array([fold_of(outcome.prompt, folds, salt) for outcome in examples.outcomes], dtype=np.intp)
    gains, strong = [0.0] * len(examples), [True] * len(examples)
    thresholds: list[float | None] = []
    for fold in range(folds):
        rest = examples.at(np.flatnonzero(of != fold))
        model = fit(rest, pair, target=target, confidence=confidence) if nested else fit_gain(rest, pair)
        thresholds.append(model.threshold)
        for place in np.flatnonzero(of == fold).tolist():
            gains[place] = model.gain_of(examples.features[place], examples.outcomes[place].task_type)
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
    order = np.argsort(gains, kind="stable")
    weak, strong = np.array([(each.weak, each.strong) for each in outcomes])[order].T
    spare = strong * (1 - target)  # what a choice has to spare, always strong
    spent = weak - target * strong
    totals = spare.sum() + np.cumsum(spent - spare)
    squares = (spare * spare).sum() + np.cumsum(spent * spent - spare * spare)
    steps = np.unique(count * np.arange(1, _GRID + 1) // _GRID)
    steps = steps[steps > 0] - 1
    means = totals[steps] / count
    spreads = np.sqrt(np.maximum(0.0, squares[steps] / count - means * means) / count)
    carried = means - NormalDist().inv_cdf(confidence) * spreads >= 0
    held = len(steps) if carried.all() else int(carried.argmin())
    return gains[int(order[steps[held - 1]])] if held else None


def fit_gain(examples: Examples, pair: Pair) -> GainModel:
    """Fit the estimator alone, without a threshold."""
    if not len(examples):
        examples = read([Outcome("", "", "", 0.0, 0.0)])
    outcomes = examples.outcomes
    types = [name for name, _ in Counter(each.task_type for each in outcomes if each.task_type).most_common(MAX_TYPES)]
    known = {name: place for place, name in enumerate(types)}
    type_of = np.array([known.get(each.task_type, -1) for each in outcomes], dtype=np.intp)
    scores = np.array([(each.weak, each.strong) for each in outcomes])
    gains = scores[:, 1] - scores[:, 0]
    middle, unit = _units(examples.shapes)
    rarity = _rarity(examples.words)
    matrix = _matrix(examples, np.clip((examples.shapes - middle) * unit, -CLIP, CLIP), type_of, len(types), rarity)
    solved = solve(matrix, gains - gains.mean(), PENALTY)
    offset, shape, typed, words = np.split(solved, np.cumsum([1, len(SHAPES), len(types) * _PER_TYPE]))
    step = float(np.abs(words).max()) / _STEPS or 1.0
    return GainModel(
        weak=pair.weak,
        strong=pair.strong,
        ratio=pair.ratio,
        target=TARGET,
        confidence=CONFIDENCE,
        threshold=None,
        rows=len(outcomes),
        digest=digest_of(outcomes),
        means=(float(scores[:, 0].mean()), float(scores[:, 1].mean())),
        offset=float(gains.mean() + offset[0] * OFFSET_SCALE),
        shape_mean=tuple(middle.tolist()),
        shape_scale=tuple(unit.tolist()),
        shape_weights=tuple(_brief(shape * SHAPE_SCALE).tolist()),
        types=_terms(scores, type_of, types, typed.reshape(-1, _PER_TYPE)),
        step=step,
        rarity=rarity.tobytes(),
        weights=array("b", np.rint(words / step).astype(np.int8).tobytes()),
    )


def digest_of(outcomes: Sequence[Outcome]) -> str:
    """A fingerprint of which prompts these are, whatever their order."""
    prompts = sorted(sha256(each.prompt.encode("utf-8", "surrogatepass")).digest() for each in outcomes)
    return sha256(b"".join(prompts)).hexdigest()[:16]


def _matrix(
    examples: Examples, shapes: NDArray[np.float64], type_of: NDArray[np.intp], types: int, rarity: NDArray[np.uint8]
) -> csr_array[np.float64]:
    """What is regressed on, one row for each outcome: the mean, the shape, the types with their slopes, the words.

    Args:
        examples: the outcomes.
        shapes: their shapes in standard units.
        type_of: the number of each one's task type, below `types`; negative: it has none that is known.
        rarity: of each bucket.
    """
    everywhere = np.column_stack([np.full(len(examples), OFFSET_SCALE), shapes * SHAPE_SCALE])
    rows = np.flatnonzero(type_of >= 0)
    cells = np.column_stack([np.ones(len(rows)), shapes[rows] * SLOPE_SCALE])
    columns = type_of[rows, None] * _PER_TYPE + np.arange(_PER_TYPE)
    typed = csr_array(
        (cells.ravel(), (rows.repeat(_PER_TYPE), columns.ravel())), shape=(len(examples), types * _PER_TYPE)
    )
    words = examples.words @ diags_array(rarity.astype(np.float64))
    lengths = norm(words, axis=1)
    words = diags_array(1 / np.where(lengths > 0, lengths, 1)) @ words
    return csr_array(hstack([csr_array(everywhere), typed, words]))


def _units(shapes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, and one over the standard deviation, of each number of the shape; 0 where it never differs."""
    spread = shapes.std(axis=0)
    differs = spread > 1e-9
    return _brief(shapes.mean(axis=0)), np.where(differs, _brief(1 / np.where(differs, spread, 1)), 0.0)


def _rarity(words: csr_array[np.float64]) -> NDArray[np.uint8]:
    """How rare each bucket is (inverse document frequency, smoothed), 0 where it was not seen in two texts."""
    texts = np.bincount(words.indices, minlength=BUCKETS)
    steps = np.rint((np.log((1 + words.shape[0]) / (1 + texts)) + 1) / RARITY_STEP)
    return np.where(texts > 1, np.minimum(steps, 255), 0).astype(np.uint8)


def _terms(
    scores: NDArray[np.float64], type_of: NDArray[np.intp], types: Sequence[str], solved: NDArray[np.float64]
) -> dict[str, TypeTerms]:
    terms: dict[str, TypeTerms] = {}
    for place, name in enumerate(types):
        mine = scores[type_of == place]
        weak, strong = _brief(mine.mean(axis=0)).tolist()
        offset, *slopes = _brief(solved[place] * np.array([1.0, *[SLOPE_SCALE] * len(SHAPES)])).tolist()
        terms[name] = TypeTerms(n=len(mine), weak=weak, strong=strong, offset=offset, slopes=tuple(slopes))
    return terms


def _brief(values: Iterable[float]) -> NDArray[np.float64]:
    """Five significant digits: what the file stores is what is used from the start."""
    return np.array([float(f"{value:.5g}") for value in values])

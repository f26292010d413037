"""Ridge regression on sparse rows by preconditioned conjugate gradients, in the standard library.

Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems" (1952), on the normal equations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter, mul
from typing import NamedTuple

Gather = Callable[[Sequence[float]], float]


class Sparse(NamedTuple):
    """A matrix row by row: the columns that are not zero, and their values."""

    columns: list[list[int]]
    values: list[list[float]]
    width: int


def solve(
    matrix: Sparse, target: Sequence[float], penalty: float, *, steps: int = 60, enough: float = 0.03
) -> list[float]:
    """The weights that minimise ``|Xw - y|² + penalty |w|²``.

    Args:
        matrix: X, one row for each value of `target`.
        target: y.
        penalty: above 0; the noise of a target over the spread that a weight is expected to have, both as variances.
        steps: most steps; a few dozen suffice, because the penalty bounds the condition.
        enough: the residual, as a share of its beginning, at which it stops.
    """
    rows = [_gather(columns, values) for columns, values in zip(matrix.columns, matrix.values, strict=True)]
    columns, squares = _transposed(matrix)
    scale = [1 / (square + penalty) for square in squares]

    def project(vector: Sequence[float]) -> list[float]:
        return [gather(vector) for gather in columns]

    weights = [0.0] * matrix.width
    residual = project(target)
    step = list(map(mul, scale, residual))
    direction, norm = step, _dot(residual, step)
    first = norm
    for _ in range(steps):
        if norm <= first * enough * enough or norm == 0:
            break
        image = project([gather(direction) for gather in rows])
        image = [a + penalty * b for a, b in zip(image, direction, strict=True)]
        length = norm / _dot(direction, image)
        weights = [w + length * d for w, d in zip(weights, direction, strict=True)]
        residual = [r - length * a for r, a in zip(residual, image, strict=True)]
        step = list(map(mul, scale, residual))
        following = _dot(residual, step)
        direction = [s + following / norm * d for s, d in zip(step, direction, strict=True)]
        norm = following
    return weights


def _transposed(matrix: Sparse) -> tuple[list[Gather], list[float]]:
    """The columns as functions of a vector, and the sum of squares of each."""
    places: list[list[int]] = [[] for _ in range(matrix.width)]
    values: list[list[float]] = [[] for _ in range(matrix.width)]
    for number, (columns, row) in enumerate(zip(matrix.columns, matrix.values, strict=True)):
        for column, value in zip(columns, row, strict=True):
            places[column].append(number)
            values[column].append(value)
    squares = [sum(map(mul, each, each)) for each in values]
    return [_gather(*each) for each in zip(places, values, strict=True)], squares


def _gather(places: list[int], values: list[float]) -> Gather:
    """The product of one row with a vector; picking all places at once is several times faster than a loop."""
    if len(places) > 1:
        pick = itemgetter(*places)
        return lambda vector: sum(map(mul, values, pick(vector)))
    if places:
        place, value = places[0], values[0]
        return lambda vector: value * vector[place]
    return lambda _vector: 0.0


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(map(mul, one, other))

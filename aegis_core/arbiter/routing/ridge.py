"""Ridge regression on a sparse matrix, by SciPy's conjugate gradients on the normal equations.

Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems" (1952).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import diags_array
from scipy.sparse.linalg import aslinearoperator, cg

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array


def solve(
    matrix: csr_array[np.float64], target: NDArray[np.float64], penalty: float, *, steps: int = 60, enough: float = 0.03
) -> NDArray[np.float64]:
    """The weights that minimise ``|Xw - y|² + penalty |w|²``.

    Columns are brought to one scale first (Jacobi preconditioning), so that common and rare terms converge together.

    Args:
        matrix: X, one row for each value of `target`.
        target: y.
        penalty: above 0; the noise of a target over the spread that a weight is expected to have, both as variances.
        steps: most steps; a few dozen suffice, because the penalty bounds the condition.
        enough: the residual, as a share of its beginning, at which it stops.
    """
    scale = 1 / np.sqrt(matrix.power(2).sum(axis=0) + penalty)
    scaled = aslinearoperator(matrix @ diags_array(scale))
    normal = scaled.H @ scaled + aslinearoperator(diags_array(penalty * scale * scale))
    solved, _ = cg(normal, scaled.rmatvec(target), rtol=enough, maxiter=steps)
    return solved * scale

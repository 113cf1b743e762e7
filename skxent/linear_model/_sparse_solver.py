"""The solver for sparse data: dual coordinate ascent, then Newton where that is slow.

Text has rows of few features, most of them rare: the dual is nearly separable, and an
epoch of coordinate ascent worth ten gradients. Where rows are long beside the penalty,
or there is none, or X is stored by columns, Newton's method goes on from there. Where
columns are few, whose products precondition it, or rows are short and classes few, it
is the better one from the start.
"""

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._dual_ascent import ascend_dual
from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus
from skxent.linear_model._sparse_loss import SparseLinearCrossEntropy
from skxent.linear_model._sparse_newton import (
    descend_newton,
    has_short_rows,
    is_narrow,
)
from skxent.linear_model._trace import Trace

__all__ = ["is_moderate", "minimize_sparse"]

# Of numbers up to this, or of its inverse, float32 holds sums of squares and inverses.
MODERATE = 1e12


def is_moderate(objective: SparseLinearCrossEntropy) -> bool:
    """Return whether float32 can hold the curvatures of all columns, and inverses."""
    data = objective.X.data
    if max(data.max(initial=0.0), -data.min(initial=0.0)) > MODERATE:
        return False
    if objective.l2 > MODERATE**-2:
        return True
    least = np.abs(data[data != 0]).min(initial=np.inf)
    return bool(least > 1 / MODERATE)


def minimize_sparse(
    objective: SparseLinearCrossEntropy,
    coef: NDArray[np.float64],
    settings: Settings,
) -> SolverResult:
    """Minimise to a relative suboptimality of ``settings.tol**2``.

    ``coef`` and those of the result are of every class, or of the second of two.
    """
    trace = Trace(settings)
    status = SolverStatus.CONVERGED
    stops = False
    is_newtons = is_narrow(objective) or has_short_rows(objective)
    if objective.design.by_rows and objective.l2 > 0 and not is_newtons:
        stops, weights, bias = ascend_dual(objective, coef, settings, trace)
    else:
        weights, bias = objective.weights_of(coef, np.float64)
    if not stops:
        if trace.values:
            trace.forget()
        status, weights, bias = descend_newton(
            objective, weights, bias, settings, trace
        )
    return trace.result(objective.coef_of(weights, bias), status)

r"""Softmax regression with an elastic net.

.. math::
    f(W, b) = \frac{1}{S} \sum_i s_i \ell_i(X_i W^T + b)
              + \frac{\lambda_2}{2} \|W\|_2^2 + \lambda_1 \|W\|_1

Conventions
-----------
n samples, p features, K classes. ``coef`` is (R, p) or, with an intercept in the last
column, (R, p + 1), float64. R is 1 for two classes, else K: a shift of all classes
alike changes no loss, but it does change the penalty. ``S`` is the denominator of the
targets.
"""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skxent.backends import EncodedTargets
from skxent.linear_model._elastic_net_moments import minimize_moments
from skxent.linear_model._elastic_net_rows import minimize_rows
from skxent.linear_model._penalty import ElasticNet
from skxent.linear_model._solvers import Settings, SolverResult

__all__ = ["minimize_elastic_net"]

# Up to so many features their second moments are formed, if there are as many rows for
# each: the steps of the row space read every row, but are exact.
MOST_FEATURES = 2000
ROWS_PER_FEATURE = 2
# Numbers of X up to which steps of the row space, which copy them, go on from where
# second moments have led: their model is exact for more than two classes, too.
CHECKED_SIZE = 1 << 20


def minimize_elastic_net(
    X: Any,
    targets: EncodedTargets,
    *,
    n_classes: int,
    fit_intercept: bool,
    l1: float,
    l2: float,
    coef: NDArray[np.float64] | None,
    settings: Settings,
) -> SolverResult:
    """Minimise to a relative suboptimality of about ``settings.tol**2``.

    ``X`` is (n, p), an array in any memory order, CSR or CSC, float32 or float64;
    ``coef`` is where to start, zeros if it is None. The suboptimality is estimated by
    what a step is predicted to gain.
    """
    n_outputs = 1 if n_classes == 2 else n_classes
    n, p = X.shape
    if coef is None:
        coef = np.zeros((n_outputs, p + fit_intercept))
    penalty = ElasticNet(l1, l2)
    if scipy.sparse.issparse(X) or p > MOST_FEATURES or n < ROWS_PER_FEATURE * p:
        return minimize_rows(X, targets, coef, penalty, settings)
    told = [False]

    def stop(coef: NDArray[np.float64]) -> bool:
        told.append(settings.stop is not None and settings.stop(coef))
        return told[-1]

    watched = settings if settings.stop is None else settings._replace(stop=stop)
    result = minimize_moments(X, targets, coef, penalty, watched)
    is_done = result.n_iter <= 1 or result.n_iter >= settings.max_iter or told[-1]
    if is_done or n * p > CHECKED_SIZE:
        return result
    more = settings.after(result.n_iter)
    return result.followed_by(minimize_rows(X, targets, result.coef, penalty, more))

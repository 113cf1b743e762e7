"""The solvers of the ridge problem by the names that the estimator gives them."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._conjugate_gradient import TruncatedNewton
from skxent.linear_model._lbfgs import Preconditioner, minimize
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._patient import (
    cost_of_products,
    is_dear,
    minimize_patiently,
)
from skxent.linear_model._preconditioners import DiagonalCurvature, FullCurvature
from skxent.linear_model._representer import minimize_over_rows
from skxent.linear_model._row_space import in_row_space
from skxent.linear_model._sampled import cost_of_curvature, minimize_sampled
from skxent.linear_model._solvers import Settings, SolverResult

__all__ = ["SOLVERS"]

Coef = NDArray[np.float64]

# Rows of wide data whose products with one another are worth their memory.
MOST_ROWS_OF_WIDE = 5000
# And for each class, beside which fifty gradients are less than a tenth of the data.
LEAST_ROWS_OF_WIDE = 500
# Multiplications, a millisecond or two, in which a Hessian takes the place of the
# conjugate gradients of a check. Those do not see directions of 1e-14 of the largest
# curvature: powers up to the eleventh of one column ended 1e-3 from the minimum.
CHEAP_HESSIAN = 1e7


def _minimize_auto(
    objective: LinearCrossEntropy, coef: Coef, settings: Settings
) -> SolverResult:
    """Minimise in the space of the rows where they are few, else by samples of them.

    Or by cheap steps where those are dear.
    """
    n, p = objective.X.shape
    is_wide = n < p and n <= MOST_ROWS_OF_WIDE
    if is_wide:
        # products of all rows in float32, and a factor of them
        cost = cost_of_products(objective, n**2 * p / 4 + n**3 / 12)
        # who looks at every point is not to see it begin anew
        if n < LEAST_ROWS_OF_WIDE * len(coef) or settings.stop is not None:
            cost = 0.0
        solve = _minimize_wide
    else:
        cost = cost_of_curvature(objective)
        solve = minimize_sampled
    if is_dear(objective, cost):
        return minimize_patiently(
            objective, coef, settings, cost, solve, is_wide=is_wide
        )
    return solve(objective, coef, settings)


def _minimize_wide(
    objective: LinearCrossEntropy, coef: Coef, settings: Settings
) -> SolverResult:
    """Minimise in the space of the rows."""
    result = minimize_over_rows(objective, coef, settings)
    if result is not None:
        return result
    found = in_row_space(objective)
    if found is None:
        return minimize_sampled(objective, coef, settings)
    reduced, there, back = found
    result = minimize_sampled(reduced, there(coef), settings.seen_through(back))
    return result._replace(coef=back(result.coef))


def _minimize_lbfgs(
    objective: LinearCrossEntropy, coef: Coef, settings: Settings
) -> SolverResult:
    """Minimise with the diagonal of the curvature alone."""
    is_cheap = objective.X.shape[0] * coef.size**2 <= CHEAP_HESSIAN
    return minimize(
        objective,
        coef,
        partial(DiagonalCurvature, objective, coef),
        settings,
        rough=objective.in_float32(),
        checked=True,
        exact=partial(FullCurvature, objective) if is_cheap else None,
    )


def _minimize_newton(
    curvature_at: Callable[[LinearCrossEntropy, Coef], Preconditioner],
    objective: LinearCrossEntropy,
    coef: Coef,
    settings: Settings,
) -> SolverResult:
    """Minimise with the curvature of all rows at every iteration."""
    return minimize(
        objective,
        coef,
        partial(curvature_at, objective, coef),
        settings,
        memory=0,
        renew=lambda coef, _: partial(curvature_at, objective, coef),
    )


SOLVERS: dict[str, Callable[[LinearCrossEntropy, Coef, Settings], SolverResult]] = {
    "auto": _minimize_auto,
    "lbfgs": _minimize_lbfgs,
    "newton-cg": partial(_minimize_newton, TruncatedNewton),
    "newton-cholesky": partial(_minimize_newton, FullCurvature),
}

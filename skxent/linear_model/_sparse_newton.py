"""Newton's method for sparse data: conjugate gradients on products with the Hessian.

Gradients are float64 and all that conjugate gradients compute is float32, which halves
what a product reads: their result need not be better than a percent. Columns are scaled
by an estimate of their curvature; a few of them, which may go together as the columns
of categories do, by the inverse of their products.

R. S. Dembo, S. C. Eisenstat, T. Steihaug, "Inexact Newton Methods", SIAM Journal on
Numerical Analysis 19, 1982: the precision of a step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skxent.linear_model._factor import Factor
from skxent.linear_model._row_masses import pulls
from skxent.linear_model._solvers import Settings, SolverStatus
from skxent.linear_model._sparse_loss import SparseLinearCrossEntropy, squared_norm
from skxent.linear_model._trace import Trace, remaining

__all__ = ["descend_newton", "has_short_rows", "is_narrow"]

Coef = NDArray[np.float64]

# Share of the decrease that conjugate gradients may leave, at most and at least.
LARGEST_SHARE, LEAST_SHARE = 0.3, 1e-3
MOST_PRODUCTS = 200
# Where columns nearly depend on each other, conjugate gradients gain little for a while
# and much later. So far down, a step that can gain more than a share of what the last
# one did tells that they ended there: from then on they may leave less.
NEAR, SLOW = 0.01, 0.5
LESS = 0.1
# Relative rounding of products.
ROUNDING = 1e-6
# Armijo's condition; rounding may hide a decrease by less of the value than this.
SUFFICIENT = 1e-4
NOISE = 1e-12
MOST_HALVINGS = 30
# Columns whose products are factored, and rows that are enough for them.
MOST_FACTORED = 2000
ROWS_PER_FEATURE, LEAST_ROWS = 50, 20_000
# Added to a unit diagonal before it is factored.
LEAST_SHARE_OF_DIAGONAL = 1e-4
# Of a column's squares, what is left of them when it is centred, at least.
LEAST_VARIANCE = 1e-12
# Entries of X for each product of two columns, from which on coordinate ascent is slow:
# 500000 rows of 4 categories, 85 columns, took 17 epochs and 3.0 s, now 1.1 s; but text
# of 100000 rows and 1000 columns takes 8 epochs and 0.3 s, by Newton's method 0.6 s.
NARROW = 16
# Entries of a row times outputs up to which an epoch of coordinate ascent, 0.5 us a row
# at least, takes as long as five to ten products. Newton's method took 14 ms instead of
# 60 for 5000 rows of 8 entries in 500 columns and two classes, 48 instead of 115 for
# 20000 of 19 in 20000; as long where a penalty of 1e-3 leaves it ten steps.
SHORT = 40


class _Step(NamedTuple):
    """A direction, what it changes the logits by, and the decrease it predicts."""

    weights: NDArray[Any]
    bias: Coef
    product: NDArray[Any]
    decrease: float


# About the inverse of the Hessian times weights and biases.
Inverse = Callable[[NDArray[Any], Coef], tuple[NDArray[Any], Coef]]


def is_narrow(objective: SparseLinearCrossEntropy) -> bool:
    """Return whether columns are so few that most rows have some in common."""
    return bool(NARROW * objective.X.shape[1] ** 2 <= objective.X.nnz)


def has_short_rows(objective: SparseLinearCrossEntropy) -> bool:
    """Return whether products with rows cost little beside what else a row takes."""
    n = objective.X.shape[0]
    return bool(objective.X.nnz * objective.n_outputs <= SHORT * n)


def _inverse_of(objective: SparseLinearCrossEntropy) -> Inverse:
    """Return an inverse at equal probabilities, where curvature is largest."""
    evenly = (objective.n_classes - 1) / objective.n_classes**2
    mass = pulls(objective.targets) * (evenly / objective.targets.denominator)
    p = objective.X.shape[1]
    if p <= MOST_FACTORED and p**2 <= objective.X.nnz:
        return _inverse_of_moments(objective, mass)
    curvature = objective.design.squares(mass) + objective.l2
    curvature[curvature == 0] = 1.0  # an empty column without penalty
    of_weights = (1.0 / curvature).astype(np.float32)[:, None]
    of_bias = 1.0 / float(mass.sum()) if objective.fit_intercept else 0.0
    return lambda weights, bias: _without_mean(
        objective, weights * of_weights, bias * of_bias
    )


def _without_mean(
    objective: SparseLinearCrossEntropy, weights: NDArray[Any], bias: Coef
) -> tuple[NDArray[Any], Coef]:
    """Take the mean of the classes from what rounding has added to it.

    Nothing but a ridge bounds it: in float32 it would outgrow the rest.
    """
    return objective.centred(weights), objective.centred(bias)


def _inverse_of_moments(
    objective: SparseLinearCrossEntropy, mass: NDArray[np.float64]
) -> Inverse:
    """Return that of the products of centred columns, of some rows, and of ones."""
    n, p = objective.X.shape
    step = max(1, n // max(LEAST_ROWS, ROWS_PER_FEATURE * p))
    root = np.sqrt(mass[::step] * step)
    X = scipy.sparse.diags(root) @ objective.X[::step]
    matrix = (X.T @ X).toarray()
    total, centre = float(root @ root), np.zeros(p)
    if objective.fit_intercept:
        own = matrix.diagonal().copy()
        moment = X.T @ root
        centre = moment / total
        matrix -= np.outer(moment, centre)
        # what is left of a column of one number is rounding
        constant = matrix.diagonal() <= LEAST_VARIANCE * own
        matrix[constant] = 0.0
        matrix[:, constant] = 0.0
        matrix[constant, constant] = own[constant]
    # what is solved for is float32, whose rounding an inverse may not scale up
    matrix[np.arange(p), np.arange(p)] *= 1.0 + LEAST_SHARE_OF_DIAGONAL
    matrix[np.arange(p), np.arange(p)] += objective.l2
    factor = Factor(matrix.astype(np.float32))

    def inverse(weights: NDArray[Any], bias: Coef) -> tuple[NDArray[Any], Coef]:
        solved = factor.solve(weights - centre[:, np.newaxis] * bias)
        shift = bias / total - centre @ solved
        return _without_mean(
            objective, solved.astype(np.float32), shift * objective.fit_intercept
        )

    return inverse


def _newton_step(
    objective: SparseLinearCrossEntropy,
    curved: Callable[[NDArray[Any]], NDArray[Any]],
    gradient: tuple[NDArray[Any], Coef],
    inverse: Inverse,
    share_at: Callable[[float], float],
) -> _Step:
    """Solve for the Newton step until little of the decrease is left.

    ``share_at(decrease)`` is the share that may be.
    """
    l2 = np.float32(objective.l2)
    r, r_bias = -gradient[0].astype(np.float32), -gradient[1]
    v, v_bias = inverse(r, r_bias)
    square = float(np.vdot(r, v)) + float(r_bias @ v_bias)
    weights, bias = np.zeros_like(r), np.zeros_like(r_bias)
    product = np.zeros((objective.X.shape[0], len(bias)), np.float32)
    decrease, least = 0.0, ROUNDING**2 * square
    # of the direction, where the preconditioner's matrix measures it
    length, steepest = square, 0.0
    for n_products in range(1, MOST_PRODUCTS + 1):
        if not square > least:  # what is left of a singular Hessian
            break
        change = objective.design.product(v)
        change += v_bias.astype(np.float32)
        residual = curved(change)
        h = objective.design.pull_back(residual)
        h += l2 * v
        h_bias = residual.sum(axis=0, dtype=np.float64)
        curvature = float(np.vdot(v, h)) + float(v_bias @ h_bias)
        steepest = max(steepest, curvature / length)
        if not curvature > ROUNDING**2 * steepest * length:  # a flat direction
            break
        size = square / curvature
        weights += np.float32(size) * v
        bias += size * v_bias
        product += np.float32(size) * change
        r -= np.float32(size) * h
        r_bias = r_bias - size * h_bias
        decrease += 0.5 * size * square
        # the terms of the decrease fall: as many more as there were bound what is left
        if 0.5 * size * square * n_products <= share_at(decrease) * decrease:
            break
        h, h_bias = inverse(r, r_bias)
        last, square = square, float(np.vdot(r, h)) + float(r_bias @ h_bias)
        length = square + (square / last) ** 2 * length
        v *= np.float32(square / last)
        v += h
        v_bias = h_bias + square / last * v_bias
    return _Step(weights, bias, product, decrease)


def _length(
    objective: SparseLinearCrossEntropy,
    weights: Coef,
    outputs: tuple[Coef, Coef],
    step: _Step,
    value: float,
) -> float:
    """Return how much of a step lowers the objective enough, 0 if nothing does.

    Logits and ridge along the step take no product with X.
    """
    product, bias = outputs
    along = objective.l2 * float(np.vdot(weights, step.weights))
    across = 0.5 * objective.l2 * squared_norm(step.weights)
    ridge = 0.5 * objective.l2 * squared_norm(weights)
    length = 1.0
    for _ in range(MOST_HALVINGS):
        loss = objective.loss(product + length * step.product, bias)
        new = loss + ridge + length * along + length**2 * across
        if new <= value - 2 * SUFFICIENT * length * step.decrease:
            return length
        length *= 0.5
    return 0.0


def descend_newton(
    objective: SparseLinearCrossEntropy,
    weights: NDArray[Any],
    bias: Coef,
    settings: Settings,
    trace: Trace,
) -> tuple[SolverStatus, Coef, Coef]:
    """Take Newton steps; return how it ended, and the weights and the bias.

    ``settings.stop`` is asked after each step; others have seen the start.
    """
    enough = settings.tol**2
    decreases: list[float] = []
    precision = 1.0
    has_moved = False
    inverse = _inverse_of(objective)
    weights, bias = _without_mean(
        objective, weights.astype(np.float64, copy=False), bias
    )
    while True:
        product = objective.design.product(weights)
        value, residual = objective.loss_and_residual(product, bias)
        value += 0.5 * objective.l2 * squared_norm(weights)
        slope = objective.design.pull_back(residual)
        slope += objective.l2 * weights
        gradient = slope, residual.sum(axis=0)
        del residual
        curved = objective.curvature(product.astype(np.float32), bias)

        if _was_short(decreases, value):
            precision *= LESS

        def share_at(
            decrease: float, value: float = value, precision: float = precision
        ) -> float:
            root = (decrease / abs(value)) ** 0.5
            return precision * float(min(max(root, LEAST_SHARE), LARGEST_SHARE))

        step = _newton_step(objective, curved, gradient, inverse, share_at)
        del slope, gradient, curved
        decreases.append(step.decrease)
        trace.add(value, remaining(decreases[-2:]))
        if has_moved and settings.stop is not None:
            if settings.stop(objective.coef_of(weights, bias)):
                return SolverStatus.CONVERGED, weights, bias
        if trace.estimates[-1] <= enough:
            return SolverStatus.CONVERGED, weights, bias
        if trace.n_iter >= settings.max_iter:
            return SolverStatus.MAX_ITER, weights, bias
        length = _length(objective, weights, (product, bias), step, value)
        if length == 0:
            noisy = step.decrease <= NOISE * abs(value)
            status = SolverStatus.CONVERGED if noisy else SolverStatus.LINE_SEARCH
            return status, weights, bias
        weights = weights + length * step.weights
        bias = bias + length * step.bias
        has_moved = True


def _was_short(decreases: list[float], value: float) -> bool:
    """Return whether the last step lowered too little to be Newton's."""
    if len(decreases) < 2:
        return False
    before, last = decreases[-2:]
    return SLOW * before < last < NEAR * abs(value)

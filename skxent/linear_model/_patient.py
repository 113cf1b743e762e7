"""Cheap steps first, where a curvature costs as much as dozens of evaluations.

Of data of about as many columns as rows, a factor of anything of their size takes as
long as L-BFGS with a diagonal preconditioner, or longer by far: 3000 x 3000 numbers of
two classes took 1.6 s and now take 0.13; 10000 x 2000 in 20 classes, 4.2 and 1.0. A
minimum by curvatures takes two or three of them and some dozen evaluations. So as many
cheap steps are taken as would cost about that, and only then a curvature, at a better
point: never is the time more than about twice that of the better way. Where columns go
together the first steps tell that they will not do.

Of wide data nine steps do not tell; how columns go together does. It is seen by the
largest eigenvalue of the Hessian over its diagonal, beside their mean. Columns that go
each its own way, as those of random data, have one of 2 to 5, and 25 to 80 steps do:
0.2 to 0.6 of the time of curvatures, from 600 rows on. With neighbours that correlate
by 0.9 it is 6 to 16, with 70 to 120 steps; with factors that all columns share it is
15 to 500, with up to 3000 steps.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._lbfgs import minimize
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._preconditioners import DiagonalCurvature
from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus

__all__ = ["cost_of_products", "is_dear", "minimize_patiently"]

Coef = NDArray[np.float64]
Solver = Callable[[LinearCrossEntropy, Coef, Settings], SolverResult]

# What a curvature costs, from which on other steps come first: in evaluations, and in
# multiplications. These are some milliseconds, less than the steps take in Python.
WORTH_WAITING = 10.0
LEAST = 1e8
# How many steps there may be, for a cost of one evaluation and beside that.
STEPS_PER_COST, STEPS_BESIDE = 2.0, 20
# Steps that show how it goes: a share of the cost. Gains fall more slowly later: random
# data took four times as many steps as these foretold.
SHARE_OF_TRIAL, FEWEST = 0.25, 9
OPTIMISM = 4.0
# Of wide data: products with the Hessian that show its largest eigenvalue, up to which
# steps are few, and how many there may be.
PRODUCTS = 3
EVEN = 8.0
MOST_OF_WIDE = 100
# Relative suboptimality of a point that is worth going on from. Newton's method is lost
# where all but a few rows of separable classes are certain, far from the minimum.
NEAR = 0.1
# Steps to remember: less than a tenth of wide data.
MEMORY = 10


def cost_of_products(objective: LinearCrossEntropy, multiplications: float) -> float:
    """Return the cost of products and factors of matrices, in evaluations."""
    return multiplications / _multiplications(objective)


def is_dear(objective: LinearCrossEntropy, cost: float) -> bool:
    """Return whether other steps come before a curvature of some cost."""
    return cost > WORTH_WAITING and cost * _multiplications(objective) > LEAST


def _multiplications(objective: LinearCrossEntropy) -> float:
    """Return about how many multiplications take as long as an evaluation."""
    n, p = objective.X.shape
    # measured: reading a number of X takes as long as 6, and fewer columns are slower
    return float(max(1, n * p) * (6 + 2.4 * objective.shape[0]))


def minimize_patiently(
    objective: LinearCrossEntropy,
    coef: Coef,
    settings: Settings,
    cost: float,
    solve: Solver,
    *,
    is_wide: bool,
) -> SolverResult:
    """Minimise by cheap steps, by a solver with a curvature of that cost if need be."""
    curvature = DiagonalCurvature(objective, coef)
    if is_wide and not _unevenness(objective, coef, curvature) <= EVEN:
        return solve(objective, coef, settings)

    def descend(coef: Coef, settings: Settings, most: int) -> SolverResult:
        return minimize(
            objective,
            coef,
            lambda: curvature,
            settings._replace(max_iter=min(most, settings.max_iter)),
            memory=MEMORY,
            rough=objective.in_float32(),
            checked=True,
        )

    def is_over(result: SolverResult) -> bool:
        done = result.status is SolverStatus.CONVERGED
        return done or result.n_iter >= settings.max_iter

    most = int(STEPS_PER_COST * cost) + STEPS_BESIDE
    trial = max(FEWEST, int(SHARE_OF_TRIAL * cost))
    if is_wide:
        trial = most = max(most, MOST_OF_WIDE)
    result = descend(coef, settings, trial)
    if trial < most and not is_over(result):
        steps = _steps_to_come(result.history["loss"], settings.allowed(result.value))
        if OPTIMISM * steps <= most - trial:
            rest = settings.after(result.n_iter)
            result = result.followed_by(descend(result.coef, rest, most - trial))
    if is_over(result):
        return result
    is_near = result.history["suboptimality"][-1] < NEAR
    rest = settings.after(result.n_iter)
    return result.followed_by(solve(objective, result.coef if is_near else coef, rest))


def _unevenness(
    objective: LinearCrossEntropy, coef: Coef, diagonal: DiagonalCurvature
) -> float:
    """Return about the largest eigenvalue of the Hessian, as multiples of their mean.

    After a diagonal preconditioner, and of those that are not 0 but for the ridge.
    """
    n, q = len(objective.X), coef.shape[1]
    product = objective.curvature_at(coef)
    pull = np.random.RandomState(0).standard_normal(coef.shape)
    with np.errstate(all="ignore"):  # nan of numbers that overflow, or of zeros alone
        for _ in range(PRODUCTS):
            vector = diagonal.solve(pull)
            pull = product(vector / np.sqrt(np.vdot(pull, vector)))
        largest = np.sqrt(np.vdot(pull, diagonal.solve(pull)))
    return float(largest * min(n, q) / q)


def _steps_to_come(values: NDArray[np.float64], allowed: float) -> float:
    """Return after how many steps less than ``allowed`` is left to gain.

    If what thirds of the steps gained goes on falling as it did.
    """
    third = (len(values) - 1) // 3
    before, gained = -np.diff(values[[-1 - 2 * third, -1 - third, -1]])
    if gained <= 0:
        return 0.0
    if not before > gained:
        return np.inf
    rate = gained / before
    left = gained * rate / (1 - rate)
    return float(third * max(0.0, np.log(allowed / left) / np.log(rate)))

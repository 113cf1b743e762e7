"""Samples of the rows: where to start from, and a curvature to precondition with.

A few rows, then ten times as many, are solved to the precision that their number gives,
which costs next to nothing and ends so near the minimum that few passes over all rows
are left. And a sample's curvature preconditions L-BFGS, so that the scale and the
correlation of the columns do not matter.
"""

import functools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._lbfgs import (
    MEMORY,
    Estimate,
    Preconditioner,
    Renewal,
    minimize,
)
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._patient import cost_of_products, is_dear
from skxent.linear_model._preconditioners import (
    CorrectedCurvature,
    DiagonalCurvature,
    FullCurvature,
)
from skxent.linear_model._solvers import Settings, SolverResult

__all__ = ["cost_of_curvature", "minimize_sampled", "renewal"]

Coef = NDArray[np.float64]
Curvature = Callable[[LinearCrossEntropy, Coef], Preconditioner]

# Unknowns up to which the Hessian is factored as one matrix, and what that may cost, in
# evaluations of the objective: their products do this many times fewer multiplications
# a second.
MOST_FULL = 2000
MOST_EVALUATIONS = 8
SLOWER = 4
# Columns up to which a matrix of them is factored.
MOST_COLUMNS = 4096
# Rows whose curvature is taken: per unknown, per feature, and at least.
ROWS_PER_UNKNOWN = 20
ROWS_PER_FEATURE = 10
FEWEST_ROWS = 5000
# Or, where that is more, so many over R^2 q of all rows, which cost half an evaluation:
# memory bounds that, and (R q)^2 multiplications a row a Hessian.
CHEAP_SHARE = 4.0
MOST_SHARE = 0.05
# What is solved first. Where the Hessian is one matrix: samples of so many rows per
# unknown. Else a share of the rows, or, where a curvature costs no more than so many
# evaluations, all rows with stronger penalties: 150 classes that a hyperplane nearly
# separates took 36 evaluations with these three and 131 without.
ROWS_OF_STAGES = (10, 100)
SHARE_OF_STAGE = 0.05
PENALTIES = (1000.0, 100.0, 10.0)
CHEAP_CURVATURE = 2
# How much larger the next stage must be to be worth it.
GROWTH = 5
# Where a stage ends. The minimum of m rows is d / 2m from the truth: a tenth of that is
# near enough, or, where there may be fewer rows than unknowns, a share of the value.
PRECISION = 0.05
PATH_PRECISION = 0.5
# Iterations after which the decrease should have fallen to this share, or the curvature
# is taken anew.
PATIENCE = 6
SLOW = 0.05


def minimize_sampled(
    objective: LinearCrossEntropy, coef: Coef, settings: Settings
) -> SolverResult:
    """Minimise samples, then the whole, by L-BFGS with their curvature."""
    curvature_of = _curvature_of(objective)
    cost = cost_of_curvature(objective)
    take = _Sampler(curvature_of, objective)
    rough = objective.in_float32()
    if not coef.any():
        for stage in _stages(objective, cost):
            sample = take.rows(rough or objective, stage.n_rows)
            sample = sample.with_l2(objective.l2 * stage.penalty)
            coef = minimize(
                sample,
                coef,
                partial(take.curvature, sample, coef),
                settings._replace(stop=None, report=None),
                enough=stage.is_solved,
                memory=take.memory,
                renew=take.renewal(sample),
            ).coef
            del sample
    return minimize(
        objective,
        coef,
        partial(take.curvature, objective, coef),
        settings,
        renew=take.renewal(objective),
        rough=rough,
        memory=take.memory,
        # where that costs little beside a curvature, or there is none
        checked=is_dear(objective, cost) or curvature_of is DiagonalCurvature,
    )


def _curvature_of(objective: LinearCrossEntropy) -> Curvature:
    """Return which curvature of a sample is taken."""
    if _has_full_curvature(objective):
        return FullCurvature
    few = objective.shape[1] <= MOST_COLUMNS
    return CorrectedCurvature if few else DiagonalCurvature


def _has_full_curvature(objective: LinearCrossEntropy) -> bool:
    """Return whether to factor the whole Hessian of a sample."""
    n_rows, q = objective.shape
    cheap = n_rows == 1 or _cost_of_full(objective) <= MOST_EVALUATIONS
    return n_rows * q <= MOST_FULL and cheap


def cost_of_curvature(objective: LinearCrossEntropy) -> float:
    """Return about how many evaluations the curvature costs that is taken."""
    n_rows, q = objective.shape
    curvature_of = _curvature_of(objective)
    if curvature_of is DiagonalCurvature:
        return 0.0
    full = curvature_of is FullCurvature
    m = _rows_of_curvature(objective, full)
    if full:
        size = n_rows * q
        return cost_of_products(objective, m * size**2 / 2 + size**3 / 6)
    # about three factors; of classes the eigenvectors, too
    moments = m * q**2 + q**3 / 2
    return cost_of_products(objective, moments + m * n_rows**2 + 20 * n_rows**3)


def _cost_of_full(objective: LinearCrossEntropy) -> float:
    """Return the cost of a Hessian in evaluations of the objective."""
    n_rows, q = objective.shape
    share = _rows_of_curvature(objective, True) / max(1, len(objective.X))
    return share * n_rows * q / (4 * SLOWER)


def _rows_of_curvature(objective: LinearCrossEntropy, full: bool) -> int:
    """Return from how many rows the curvature is estimated."""
    n = len(objective.X)
    n_rows, q = objective.shape
    wanted = ROWS_PER_FEATURE * q
    if full:
        share = min(CHEAP_SHARE / (n_rows**2 * q), MOST_SHARE)
        wanted = max(ROWS_PER_UNKNOWN * n_rows * q, int(share * n))
    return min(n, max(wanted, FEWEST_ROWS))


class _Stage(NamedTuple):
    """A smaller or an easier problem, whose solution is where the next one starts."""

    n_rows: int
    penalty: float  # times the factor of the ridge
    nats: float  # distance from its least value at which it is solved,
    share: float  # or this share of that value

    def is_solved(self, rest: float, value: float) -> bool:
        """Return whether a suboptimality is small enough."""
        return rest <= max(self.nats, self.share * value)


def _stages(objective: LinearCrossEntropy, cost: float) -> list[_Stage]:
    """Return what is solved before the whole, if a curvature costs so much."""
    n = len(objective.X)
    n_rows, q = objective.shape
    size = n_rows * q
    if _has_full_curvature(objective):
        stages = [
            _Stage(rows * size, 1.0, PRECISION / rows, 0.0) for rows in ROWS_OF_STAGES
        ]
    elif q <= MOST_COLUMNS and cost <= CHEAP_CURVATURE:
        return [_Stage(n, penalty, 0.0, PATH_PRECISION) for penalty in PENALTIES]
    else:
        # with the penalty of a problem that has no other rows: one that faded beside
        # their mean loss would let fewer rows than unknowns be fitted too well
        few = max(1, int(SHARE_OF_STAGE * n))
        stages = [_Stage(few, n / few, 0.0, PRECISION)]
    return [stage for stage in stages if 4 * q <= stage.n_rows <= n // GROWTH]


class _Sampler:
    """Draws rows, and estimates curvature from them."""

    def __init__(self, of: Curvature, objective: LinearCrossEntropy) -> None:
        self.of = of
        self.n_curved = _rows_of_curvature(objective, of is FullCurvature)
        if of is DiagonalCurvature:  # which samples on its own
            self.n_curved = len(objective.X)
        self.patience = PATIENCE
        if of is FullCurvature and self.n_curved == len(objective.X):
            # Newton's method, where a Hessian costs no more than an evaluation
            self.patience = round(min(max(1, _cost_of_full(objective)), PATIENCE))
        # earlier steps tell less than a curvature that is taken at every one
        self.memory = 0 if self.patience == 1 else MEMORY

    def rows(self, objective: LinearCrossEntropy, n_rows: int) -> LinearCrossEntropy:
        """Return the objective of about evenly spaced rows, in their order."""
        if n_rows >= len(objective.X):
            return objective
        return objective.take(self._places(len(objective.X), n_rows))

    @functools.cached_property
    def random_state(self) -> np.random.RandomState:
        """Where samples are drawn from, which small data needs not.

        The minimum does not depend on it, so neither should the bits of a fit.
        """
        return np.random.RandomState(0)

    def _places(self, n: int, n_rows: int) -> NDArray[np.intp]:
        places = np.arange(n_rows) + self.random_state.uniform(size=n_rows)
        rows = (places * (n / n_rows)).astype(np.intp)
        return np.minimum(rows, n - 1)

    def curvature(self, objective: LinearCrossEntropy, coef: Coef) -> Preconditioner:
        """Return the curvature of a sample."""
        n = len(objective.X)
        if self.n_curved < n:
            objective = objective.in_place(self._places(n, self.n_curved))
        return self.of(objective, coef)

    def renewal(self, objective: LinearCrossEntropy) -> Renewal:
        """Return what takes the curvature of a sample anew."""
        return renewal(partial(self.curvature, objective), self.patience)


def renewal(
    curvature_at: Callable[[Coef], Preconditioner], patience: int = PATIENCE
) -> Renewal:
    """Return what takes the curvature anew where progress is slow."""
    since = 0

    def renew(coef: Coef, decreases: list[float]) -> Estimate | None:
        nonlocal since, patience
        since += 1
        if since < patience or decreases[-1] < SLOW * decreases[-patience]:
            return None
        since = 0
        if patience > 1:
            patience *= 2
        return partial(curvature_at, coef)

    return renew

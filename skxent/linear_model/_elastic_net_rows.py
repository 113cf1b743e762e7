"""Elastic net of sparse or wide data: proximal Newton steps on working sets.

A step minimises the exact quadratic model of the loss, beside the penalty, by cyclic
coordinate descent in the space of the rows: a coordinate costs the entries of its
column. Only a working set of coordinates takes part, the support and those that violate
optimality most, at most as many again; a pass over X finds the next set.

J. Lee, Y. Sun, M. Saunders, "Proximal Newton-Type Methods for Minimizing Composite
Functions", SIAM Journal on Optimization 24, 2014. T. Johnson, C. Guestrin, "Blitz: A
Principled Meta-Algorithm for Scaling Sparse Optimization", ICML 2015.

Conventions
-----------
n rows, p features, K classes, R = 1 for two classes, else K. ``weights`` (p, R). Logits
and residuals are planes (K, n), float64; with two classes the first plane of logits
is 0. Logits are right up to a shift of all classes in a row.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import EncodedTargets, backend_for
from skxent.linear_model._design import design_of
from skxent.linear_model._faces import Turns
from skxent.linear_model._penalty import ElasticNet
from skxent.linear_model._progress import LONGEST_SEARCH, Progress, is_enough
from skxent.linear_model._row_masses import pulls
from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus
from skxent.linear_model._working_set import WorkingSet

__all__ = ["minimize_rows"]

Matrix = NDArray[np.float64]

# The first working set, and how much larger than the support the next one may be.
FEWEST_COORDINATES = 1000
GROWTH = 2
# Steps on a working set end when one gains less than this share of the first one's, or
# than is allowed to be missing in the end.
STEP_PRECISION = 0.15
NOISE = 1e-13


class _Point:
    """Weights, intercepts and logits, and the loss and its gradient there."""

    def __init__(
        self,
        X: Any,
        targets: EncodedTargets,
        weights: Matrix,
        intercept: Matrix,
        penalty: ElasticNet,
    ) -> None:
        self.row_share = pulls(targets) / targets.denominator
        if targets.target.ndim > 1:
            planes = np.ascontiguousarray(targets.target.T, dtype=np.float64)
            targets = targets._replace(target=planes[np.newaxis])
        self.X = X
        self.targets = targets
        self.backend = backend_for(targets.target)
        self.penalty = penalty
        self.turns = Turns()
        self.weights = weights
        self.intercept = intercept
        self.logits = np.zeros((len(targets.on_value), X.shape[0]))
        self.design = design_of(X)
        if weights.any():
            self.outputs(self.logits)[...] = self.design.product(weights).T
        if intercept.size:
            self.outputs(self.logits)[...] += intercept[:, np.newaxis]
        self.residual = np.empty_like(self.logits)
        self.value = self.loss(self.logits) + penalty.value(weights)

    def outputs(self, planes: Matrix) -> Matrix:
        """Return the planes of the R classes that have weights."""
        return planes[-self.weights.shape[1] :]

    def loss(self, logits: Matrix) -> float:
        """Return the mean loss; keep its gradient by the logits."""
        scale = 1.0 / self.targets.denominator
        total = self.backend.softmax_loss(
            logits[np.newaxis],
            self.targets,
            np.empty(0),
            self.residual[np.newaxis],
            scale,
        )
        return total * scale

    def coef(self) -> Matrix:
        """Return weights and intercepts, a row for each class."""
        intercept = self.intercept.reshape(self.weights.shape[1], -1)
        return np.hstack([self.weights.T, intercept])

    def gradient(self) -> Matrix:
        """Return the gradient of the loss by the weights: one pass over X."""
        return self.design.pull_back(self.outputs(self.residual).T)

    def search(
        self,
        places: tuple[Any, Any],
        new: Matrix,
        intercept: Matrix,
        moved: Matrix,
        gain: float,
    ) -> bool:
        """Go towards new weights as far as it pays; return whether it did."""
        start = self.weights[places]
        step = 1.0
        for _ in range(LONGEST_SEARCH):
            logits = self.logits.copy()
            self.outputs(logits)[...] += step * moved
            weights = new if step == 1.0 else start + step * (new - start)
            value = self.loss(logits) + self.penalty.value(weights)
            if is_enough(value, self.value, step, gain):
                self.weights[places] = weights
                self.intercept += step * (intercept - self.intercept)
                self.logits = logits
                self.value = value
                return True
            step *= 0.5
        self.loss(self.logits)
        return False


def _choose(
    weights: Matrix, gradient: Matrix, penalty: ElasticNet
) -> tuple[NDArray[np.bool_], bool]:
    """Return the next working set, and whether it has all that violate optimality.

    Overwrites the gradient.
    """
    chosen = weights != 0.0
    slope = np.abs(gradient, out=gradient)
    violating = ~(slope <= penalty.l1) & ~chosen  # or the slope is nan
    room = max(FEWEST_COORDINATES, (GROWTH - 1) * int(chosen.sum()))
    excess = slope[violating]
    complete = len(excess) <= room
    if not complete:
        excess.partition(-room)
        violating &= slope >= excess[-room]
    return chosen | violating, complete


def minimize_rows(
    X: Any,
    targets: EncodedTargets,
    coef: Matrix,
    penalty: ElasticNet,
    settings: Settings,
) -> SolverResult:
    """Minimise from ``coef`` (R, p), or (R, p + 1) with intercepts.

    What the last step gains on a complete working set, and what a shift of classes has
    just gained, estimate the suboptimality. But a step makes weights of 0 violate
    optimality, and where columns go together little violation has much to gain: the
    estimate is believed if none does, or if the steps that follow gain little in all.
    """
    weights = np.array(coef[:, : X.shape[1]].T, order="C")
    intercept = coef[:, X.shape[1] :].flatten()
    point = _Point(X, targets, weights, intercept, penalty)
    progress = Progress(point.value, settings)
    complete, was_small, before = False, False, np.inf
    status = None
    while status is None:
        shifted = penalty.shift(point.weights)
        progress.value = point.value = point.value - shifted
        is_small = complete and progress.gain + shifted <= progress.allowed
        is_confirmed = was_small and before - point.value <= progress.allowed
        chosen, complete = _choose(point.weights, point.gradient(), penalty)
        if is_small and (is_confirmed or not chosen[point.weights == 0.0].any()):
            status = SolverStatus.CONVERGED
            break
        was_small, before = is_small, point.value
        status = _solve(WorkingSet(point, chosen), point, progress, complete)
    return progress.result(point.coef(), status)


def _solve(
    working: WorkingSet, point: _Point, progress: Progress, complete: bool
) -> SolverStatus | None:
    """Take steps on a working set; return a status if that is the end.

    On a set that is not complete, more steps would fit what is in it in place of what
    is missing.
    """
    first = None
    while not progress.is_over:
        gain, lowered = working.step(point, progress.allowed)
        if not lowered:
            return progress.status_without_step(gain, NOISE)
        progress.add(point.value, gain)
        if progress.is_stopped(point.coef):
            return SolverStatus.CONVERGED
        first = gain if first is None else first
        if not complete or gain <= max(STEP_PRECISION * first, progress.allowed):
            return None
    return SolverStatus.MAX_ITER

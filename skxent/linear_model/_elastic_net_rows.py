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

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from skxent.backends import EncodedTargets, backend_for
from skxent.linear_model._faces import Face, Turns
from skxent.linear_model._penalty import ElasticNet, descend
from skxent.linear_model._products import product_of_columns, product_of_rows
from skxent.linear_model._progress import LONGEST_SEARCH, Progress, is_enough
from skxent.linear_model._row_masses import pulls
from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus

if TYPE_CHECKING:
    from skxent.linear_model._sparse_loss import SparseDesign

__all__ = ["minimize_rows"]

Matrix = NDArray[np.float64]

# The first working set, and how much larger than the support the next one may be.
FEWEST_COORDINATES = 1000
GROWTH = 2
# Sweeps end when one gains less than this share of all that a step has gained, or of
# what is allowed to be missing in the end, a sixth of the time on text; steps on
# a working set when one gains less than this share of the first one's, or of what is
# allowed to be missing in the end.
SWEEP_PRECISION = 0.02
STEP_PRECISION = 0.15
WORKING_PRECISION = 0.3
MOST_ROUNDING = 10.0  # of products, times that of a number
# How far a step may move a logit by one weight. The model of rows whose class is all
# but certain is flat: without a ridge, its minimum lies far beyond where it holds.
LARGEST_MOVE = 5.0
LEAST_NUMBER = 1e-100
NOISE = 1e-13


def _design(X: Any) -> "SparseDesign":
    """Return sparse data for products; the import brings the kernels."""
    from skxent.linear_model._sparse_loss import SparseDesign

    return SparseDesign(X)


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
        self.design = _design(X) if scipy.sparse.issparse(X) else None
        if weights.any():
            self.outputs(self.logits)[...] = self._product().T
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

    def _product(self) -> Matrix:
        """Return ``X`` times the weights, (n, R)."""
        if self.design is not None:
            return self.design.product(self.weights)
        return product_of_rows(self.X, self.weights.astype(self.X.dtype, copy=False))

    def gradient(self) -> Matrix:
        """Return the gradient of the loss by the weights: one pass over X."""
        residual = self.outputs(self.residual).T
        if self.design is not None:
            return self.design.pull_back(residual)
        residual = residual.astype(self.X.dtype, copy=False)
        return np.ascontiguousarray(product_of_columns(residual, self.X).T)

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


class _WorkingSet:
    """Coordinates, by class, and a copy of the columns that they need."""

    def __init__(self, point: _Point, chosen: NDArray[np.bool_]) -> None:
        columns = np.flatnonzero(chosen.any(axis=1))
        self.n_rows = point.X.shape[0]
        self.entries: tuple[Any, Any, Any, bool]
        if point.design is not None:
            entries = point.design.columns(columns)
            largest = _largest_of(*entries[::2])
            self.entries = *entries, False
        else:
            X = point.X[:, columns]
            largest = np.maximum(X.max(axis=0), -X.min(axis=0))
            self.entries = _entries_of(X)
        by_class, features = np.nonzero(chosen[columns].T)
        self.features = features.astype(np.int64)
        self.classes = np.searchsorted(by_class, np.arange(chosen.shape[1] + 1))
        largest = np.maximum(largest[features], LEAST_NUMBER, dtype=np.float64)
        self.limits = LARGEST_MOVE / largest
        self.places = columns[features], by_class

    def step(self, point: _Point, allowed: float) -> tuple[float, bool]:
        """Take a step; return what was predicted to be gained, and whether any was.

        The objective may be off by what is allowed.
        """
        from skxent.kernels import _coordinate_descent as kernels

        proba = point.outputs(scipy.special.softmax(point.logits, axis=0))
        share = proba * point.row_share
        residual = point.outputs(point.residual)
        slope, curvature = np.empty((2, len(self.features)))
        kernels.derivatives(
            *self.entries,
            self.features,
            self.classes,
            residual,
            share,
            proba,
            np.empty(proba.shape[1]),
            slope,
            curvature,
        )
        start = point.weights[self.places]
        weights = start.copy()
        intercept = point.intercept.copy()
        moved, mean = np.zeros_like(proba), np.zeros(proba.shape[1])
        rooms = np.empty((3, proba.shape[1]))
        intercept_slope = residual.sum(axis=1)

        def sweep(most: int, allowed: float) -> tuple[float, int]:
            return descend(
                kernels.descend_rows,
                *self.entries,
                self.features,
                self.classes,
                slope,
                curvature,
                start,
                self.limits,
                weights,
                intercept_slope,
                intercept,
                share,
                proba,
                moved,
                mean,
                *rooms,
                point.penalty.l1,
                point.penalty.l2,
                SWEEP_PRECISION,
                most,
                allowed=allowed,
            )

        def joined(of_weights: Any, of_intercept: Any) -> Matrix:
            both = np.concatenate([of_weights, of_intercept[: intercept.size]])
            return np.asarray(both[:, np.newaxis], np.float64)

        def force_of(change: Matrix) -> Matrix:
            across = np.einsum("kn,kn->n", proba, change)
            return np.asarray(share * (change - across))

        def step_on_face() -> float:
            force = force_of(moved)
            inertia = (share * (1.0 - proba)).sum(axis=1)
            nothing = np.zeros(intercept.size)
            ends = np.full(intercept.size, np.inf)
            l1, l2 = (
                joined(np.full(len(start), factor), nothing) for factor in point.penalty
            )
            step, gain = Face(
                lambda v: joined(*self._pulled(force_of(self._moved(v)))),
                joined(slope, intercept_slope) + joined(*self._pulled(force)),
                joined(curvature, inertia),
                l1,
                l2,
                intercept.size,
                joined(start - self.limits, -ends),
                joined(start + self.limits, ends),
                MOST_ROUNDING * float(np.finfo(point.X.dtype).eps),
            ).step(joined(weights, intercept))
            weights[...] += step[: len(start), 0]
            intercept[...] += step[len(start) :, 0]
            moved[...] += self._moved(step)
            mean[...] = np.einsum("kn,kn->n", proba, moved)
            return gain

        gain = point.turns.solve(sweep, step_on_face, allowed)
        return gain, point.search(self.places, weights, intercept, moved, gain)

    @cached_property
    def _columns(self) -> Any:
        """The columns as data for products: sparse, or dense (n, q)."""
        data, indices, starts, is_dense = self.entries
        if is_dense:
            return data.reshape(len(starts) - 1, self.n_rows).T
        shape = self.n_rows, len(starts) - 1
        return _design(scipy.sparse.csc_array((data, indices, starts), shape))

    def _moved(self, step: Matrix) -> Matrix:
        """Return by how much a step of weights and intercepts moves logits, (R, n)."""
        n_classes, q = len(self.classes) - 1, len(self.entries[2]) - 1
        weights = np.zeros((q, n_classes))
        n_weights = len(self.features)
        weights[self.features, self.places[1]] = step[:n_weights, 0]
        weights = weights.astype(self.entries[0].dtype, copy=False)
        if isinstance(self._columns, np.ndarray):
            product = product_of_rows(self._columns, weights)
        else:
            product = self._columns.product(weights)
        moved = np.ascontiguousarray(product.T, dtype=np.float64)
        moved += step[n_weights:] if len(step) > n_weights else 0.0
        return moved

    def _pulled(self, force: Matrix) -> tuple[Matrix, Matrix]:
        """Return what forces (R, n) on the logits are on weights and intercepts."""
        residual = force.T.astype(self.entries[0].dtype, copy=False)
        if isinstance(self._columns, np.ndarray):
            pulled = product_of_columns(residual, self._columns).T
        else:
            pulled = self._columns.pull_back(residual)
        return pulled[self.features, self.places[1]], force.sum(axis=1)


def _largest_of(data: NDArray[Any], starts: NDArray[Any]) -> NDArray[Any]:
    """Return the largest absolute value of each column of CSC."""
    largest = np.zeros(len(starts) - 1, data.dtype)
    some = np.flatnonzero(np.diff(starts))  # reduceat would give the others a number
    if some.size:
        begins = starts[some]
        largest[some] = np.maximum(
            np.maximum.reduceat(data, begins), -np.minimum.reduceat(data, begins)
        )
    return largest


def _entries_of(columns: NDArray[Any]) -> tuple[Any, Any, Any, bool]:
    """Return what the kernels need of columns: a copy where they lie one by one."""
    n, q = columns.shape
    starts = np.arange(q + 1, dtype=np.int64) * n
    lines = np.ascontiguousarray(columns.T).ravel()
    return lines, np.empty(0, np.int64), starts, True


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
    """Minimise from ``coef`` (R, p), or (R, p + 1) with intercepts."""
    weights = np.array(coef[:, : X.shape[1]].T, order="C")
    intercept = coef[:, X.shape[1] :].flatten()
    point = _Point(X, targets, weights, intercept, penalty)
    progress = Progress(point.value, settings)
    status = None
    while status is None:
        point.value -= penalty.shift(point.weights)
        chosen, complete = _choose(point.weights, point.gradient(), penalty)
        status = _solve(_WorkingSet(point, chosen), point, progress, complete)
    return progress.result(point.coef(), status)


def _solve(
    working: _WorkingSet, point: _Point, progress: Progress, complete: bool
) -> SolverStatus | None:
    """Take steps on a working set; return a status if that is the end.

    What the first step gains on a complete working set estimates the suboptimality. On
    another one, more steps would fit what is in it in place of what is missing.
    """
    first = None
    while not progress.is_over:
        gain, lowered = working.step(point, progress.allowed)
        if not lowered:
            return progress.status_without_step(gain, NOISE)
        progress.add(point.value, gain)
        if progress.is_stopped(point.coef):
            return SolverStatus.CONVERGED
        if first is None:
            first = gain
            if complete and gain <= progress.allowed:
                return SolverStatus.CONVERGED
        if not complete or gain <= max(
            STEP_PRECISION * first, WORKING_PRECISION * progress.allowed
        ):
            return None
    return SolverStatus.MAX_ITER

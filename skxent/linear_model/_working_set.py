"""The model of an elastic net in the space of the rows, on a working set of weights.

The quadratic model of the loss about a point is exact. It is minimised, beside the
penalty, by cyclic coordinate descent, where a coordinate costs the entries of its
column, and on faces (:mod:`skxent.linear_model._faces`) where that is slow.

Conventions are those of :mod:`skxent.linear_model._elastic_net_rows`. q columns have
weights in the working set, of which there are m; ``point`` is a `_Point`.
"""

from functools import cached_property, partial
from typing import Any

import numpy as np
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from skxent.linear_model._conjugate_gradient import MOST_ROUNDING
from skxent.linear_model._design import (
    ColumnsDesign,
    DenseDesign,
    Design,
    design_of,
)
from skxent.linear_model._faces import Face
from skxent.linear_model._penalty import descend

__all__ = ["WorkingSet"]

Matrix = NDArray[np.float64]

# Sweeps end when one gains less than this share of all that a step has gained, or of
# what is allowed to be missing in the end, a sixth of the time on text.
SWEEP_PRECISION = 0.02
# How far a step may move a logit by one weight. The model of rows whose class is all
# but certain is flat: without a ridge, its minimum lies far beyond where it holds.
LARGEST_MOVE = 5.0
LEAST_NUMBER = 1e-100


class WorkingSet:
    """Coordinates, by class, and a copy of the columns that they need."""

    def __init__(self, point: Any, chosen: NDArray[np.bool_]) -> None:
        columns = np.flatnonzero(chosen.any(axis=1))
        self.n_rows = point.X.shape[0]
        entries = point.design.columns(columns)
        largest = _largest_of(*entries[::2])
        self.entries = *entries, isinstance(point.design, DenseDesign)
        by_class, features = np.nonzero(chosen[columns].T)
        self.features = features.astype(np.int64)
        self.classes = np.searchsorted(by_class, np.arange(chosen.shape[1] + 1))
        largest = np.maximum(largest[features], LEAST_NUMBER, dtype=np.float64)
        self.limits = LARGEST_MOVE / largest
        self.places = columns[features], by_class

    def step(self, point: Any, allowed: float) -> tuple[float, bool]:
        """Take a step; return what was predicted to be gained, and whether any was.

        The objective may be off by what is allowed.
        """
        model = _Model(self, point)
        step_on_face = partial(model.step_on_face, allowed)
        gain = point.turns.solve(model.sweep, step_on_face, allowed)
        lowered = point.search(
            self.places, model.weights, model.intercept, model.moved, gain
        )
        return gain, lowered

    @cached_property
    def _design(self) -> Design:
        """The columns as data for products."""
        data, indices, starts, is_dense = self.entries
        shape = self.n_rows, len(starts) - 1
        if is_dense:
            return ColumnsDesign(data.reshape(shape[::-1]))
        return design_of(scipy.sparse.csc_array((data, indices, starts), shape))

    def moved_by(self, step: Matrix) -> Matrix:
        """Return by how much a step of weights and intercepts moves logits, (R, n)."""
        n_classes, q = len(self.classes) - 1, len(self.entries[2]) - 1
        weights = np.zeros((q, n_classes))
        n_weights = len(self.features)
        weights[self.features, self.places[1]] = step[:n_weights, 0]
        weights = weights.astype(self.entries[0].dtype, copy=False)
        moved = self._design.product(weights).T
        moved = np.ascontiguousarray(moved, dtype=np.float64)
        moved += step[n_weights:] if len(step) > n_weights else 0.0
        return moved

    def pulled_by(self, force: Matrix) -> tuple[Matrix, Matrix]:
        """Return what forces (R, n) on the logits are on weights and intercepts."""
        residual = force.T.astype(self.entries[0].dtype, copy=False)
        pulled = self._design.pull_back(residual)
        return pulled[self.features, self.places[1]], force.sum(axis=1)


class _Model:
    """The quadratic model of the loss about a point, and where its descent is."""

    def __init__(self, working: WorkingSet, point: Any) -> None:
        from skxent.kernels import _coordinate_descent as kernels

        self.working = working
        self.penalty = point.penalty
        self.rounding = MOST_ROUNDING * float(np.finfo(point.X.dtype).eps)
        self.proba = point.outputs(scipy.special.softmax(point.logits, axis=0))
        self.share = self.proba * point.row_share
        residual = point.outputs(point.residual)
        n_rows = self.proba.shape[1]
        self.slope, self.curvature = np.empty((2, len(working.features)))
        kernels.derivatives(
            *working.entries,
            working.features,
            working.classes,
            residual,
            self.share,
            self.proba,
            np.empty(n_rows),
            self.slope,
            self.curvature,
        )
        self.intercept_slope = residual.sum(axis=1)
        self.start = point.weights[working.places]
        self.weights = self.start.copy()
        self.intercept = point.intercept.copy()
        # by how much the logits have moved, and the mean of that over the classes
        self.moved, self.mean = np.zeros_like(self.proba), np.zeros(n_rows)
        self.rooms = np.empty((3, n_rows))

    def sweep(self, most: int, allowed: float) -> tuple[float, int]:
        """Do coordinate descent; return the gain and how many sweeps there were."""
        from skxent.kernels import _coordinate_descent as kernels

        return descend(
            kernels.descend_rows,
            *self.working.entries,
            self.working.features,
            self.working.classes,
            self.slope,
            self.curvature,
            self.start,
            self.working.limits,
            self.weights,
            self.intercept_slope,
            self.intercept,
            self.share,
            self.proba,
            self.moved,
            self.mean,
            *self.rooms,
            self.penalty.l1,
            self.penalty.l2,
            SWEEP_PRECISION,
            most,
            allowed=allowed,
        )

    def step_on_face(self, allowed: float, most: int) -> float:
        """Take a step that changes no sign; return what it gains."""
        inertia = (self.share * (1.0 - self.proba)).sum(axis=1)
        nothing, limits = np.zeros(len(inertia)), self.working.limits
        slope = self._joined(self.slope, self.intercept_slope)
        slope += self._pulled(self.moved)
        l1, l2 = (
            self._joined(np.full(len(limits), factor), nothing)
            for factor in self.penalty
        )
        face = Face(
            lambda v: self._pulled(self.working.moved_by(v)),
            slope,
            self._joined(self.curvature, inertia),
            l1,
            l2,
            self.intercept.size,
            self._joined(self.start - limits, nothing - np.inf),
            self._joined(self.start + limits, nothing + np.inf),
            self.rounding,
            allowed,
        )
        step, gain = face.step(self._joined(self.weights, self.intercept), most)
        self.weights += step[: len(limits), 0]
        self.intercept += step[len(limits) :, 0]
        self.moved += self.working.moved_by(step)
        self.mean[...] = np.einsum("kn,kn->n", self.proba, self.moved)
        return gain

    def _joined(self, of_weights: Any, of_intercept: Any) -> Matrix:
        """Return what there is of each weight, and of each intercept if any, (m, 1)."""
        both = np.concatenate([of_weights, of_intercept[: self.intercept.size]])
        return np.asarray(both[:, np.newaxis], np.float64)

    def _pulled(self, moved: Matrix) -> Matrix:
        """Return by how much logits that have moved change the slope."""
        mean = np.einsum("kn,kn->n", self.proba, moved)
        return self._joined(*self.working.pulled_by(self.share * (moved - mean)))


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

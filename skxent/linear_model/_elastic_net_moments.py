r"""Elastic net of dense data: proximal quasi-Newton steps on second moments.

A step minimises a quadratic model of the loss, beside the penalty, by cyclic coordinate
descent. The model's curvature is ``A (x) B``, a curvature over classes times second
moments of the features, both from a sample of rows, which is exact for two classes; and
the corrections of L-BFGS to that. So a coordinate costs p numbers instead of n, and X
is read once in each step, for the loss and its gradient.

J. Lee, Y. Sun, M. Saunders, "Proximal Newton-Type Methods for Minimizing Composite
Functions", SIAM Journal on Optimization 24, 2014. K. Scheinberg, X. Tang, "Practical
Inexact Proximal Quasi-Newton Method with Global Complexity Analysis", Mathematical
Programming 160, 2016.

Conventions
-----------
n rows, p features, K classes, R = 1 for two classes, else K; q = p + 1 with an
intercept, else p. A point is (q, R), the intercept in the last row: that of the
centred features, which leaves the weights and their penalty what they are.
"""

import functools
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import EncodedTargets
from skxent.backends._blas import one_blas_thread
from skxent.linear_model._faces import MOST_SWEEPS, Face, Turns
from skxent.linear_model._linear_loss import LinearCrossEntropy, relative
from skxent.linear_model._penalty import ElasticNet, descend, scratch
from skxent.linear_model._probabilities import softmax
from skxent.linear_model._progress import LONGEST_SEARCH, Progress, is_enough
from skxent.linear_model._row_masses import pulls
from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus

__all__ = ["minimize_moments"]

Matrix = NDArray[np.float64]

ROWS_PER_FEATURE = 20
FEWEST_ROWS = 5000
BLOCK_SIZE = 1 << 18
# Steps that L-BFGS remembers: at most so many numbers of each kind, between two limits.
MEMORY_SIZE = 1 << 18
MEMORY = 5, 30
# The model is made anew when the objective has fallen to this share.
RENEWAL = 0.9
SWEEP_PRECISION = 0.01
# Of products with the model, whose corrections may nearly cancel.
ROUNDING = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}
NOISE = {np.dtype(np.float32): 1e-8, np.dtype(np.float64): 1e-12}


class _Loss:
    """The objective by points, and the gradient of its loss."""

    def __init__(
        self,
        X: NDArray[Any],
        targets: EncodedTargets,
        fit_intercept: bool,
        penalty: ElasticNet,
    ) -> None:
        self.X = X
        self.penalty = penalty
        self.targets = targets
        self.n_classes = len(targets.on_value)
        self.fit_intercept = fit_intercept
        self.objective = LinearCrossEntropy(
            X, targets, n_classes=self.n_classes, fit_intercept=fit_intercept, l2=0.0
        )
        self.row_share = pulls(targets) / targets.denominator
        n, p = X.shape
        wanted = max(FEWEST_ROWS, ROWS_PER_FEATURE * p)
        self.sample = np.unique(np.linspace(0, n - 1, min(n, wanted)).astype(np.intp))
        self.center = np.zeros(p)
        if fit_intercept:
            for rows in self._blocks():
                self.center += X[rows].sum(axis=0, dtype=np.float64)
            self.center /= len(self.sample)

    def _blocks(self) -> list[NDArray[np.intp]]:
        """Return the rows of the sample, some at a time."""
        size = max(1, BLOCK_SIZE // max(1, self.X.shape[1]))
        m = len(self.sample)
        return [self.sample[begin : begin + size] for begin in range(0, m, size)]

    def coef(self, point: Matrix) -> Matrix:
        """Return coefficients (R, q) of the features as they are."""
        coef = point.T.copy()
        if self.fit_intercept:
            coef[:, -1] -= coef[:, :-1] @ self.center
        return coef

    def point(self, coef: Matrix) -> Matrix:
        """Undo `coef`."""
        point = coef.T.copy()
        if self.fit_intercept:
            point[-1] += self.center @ point[:-1]
        return point

    def value_and_gradient(self, point: Matrix) -> tuple[float, Matrix]:
        """Return the objective and the gradient of the loss alone; X is read once."""
        coef = self.coef(point)
        several = len(coef) > 1
        value, slope = self.objective.value_and_gradient(relative(coef))
        gradient = slope.T
        if several:
            gradient = np.column_stack([-gradient.sum(axis=1), gradient])
        if self.fit_intercept:
            gradient[:-1] -= np.outer(self.center, gradient[-1])
        value += self.penalty.value(point[: self.X.shape[1]])
        return value, np.ascontiguousarray(gradient)

    def moments(self, point: Matrix) -> tuple[Matrix, Matrix]:
        """Return ``A`` (R, R) and ``B`` (q, q) at a point."""
        coef = self.coef(point)
        p = self.X.shape[1]
        q, n_outputs = point.shape
        classes = np.zeros((n_outputs, n_outputs))
        moments = np.zeros((q, q))
        total = 0.0
        for rows in self._blocks():
            X = self.X[rows]
            logits = np.zeros((len(rows), self.n_classes))
            logits[:, -n_outputs:] = X @ coef[:, :p].T.astype(X.dtype)
            if self.fit_intercept:
                logits[:, -n_outputs:] += coef[:, p]
            proba = softmax(logits, out=logits)[:, -n_outputs:]
            weighted = proba * self.row_share[rows, np.newaxis]
            classes += np.diag(weighted.sum(axis=0)) - proba.T @ weighted
            trace = np.einsum("ik,ik->i", weighted, 1.0 - proba)
            total += trace.sum()
            scale = np.sqrt(trace)
            scaled = (X - self.center.astype(X.dtype)) * scale[:, np.newaxis].astype(
                X.dtype
            )
            moments[:p, :p] += scaled.T @ scaled
            if self.fit_intercept:
                cross = scaled.T @ scale.astype(X.dtype)
                moments[:p, p] += cross
                moments[p, :p] += cross
        if self.fit_intercept:
            moments[p, p] = total
        moments /= max(total, 1e-300)
        return classes * (len(self.X) / len(self.sample)), moments


class _Model:
    """``A (x) B`` with the corrections of L-BFGS: ``H = A (x) B + U V^T``.

    R. Byrd, J. Nocedal, R. Schnabel, "Representations of Quasi-Newton Matrices and
    Their Use in Limited Memory Methods", Mathematical Programming 63, 1994.
    """

    def __init__(
        self,
        classes: Matrix,
        moments: Matrix,
        penalty: ElasticNet,
        n_free: int,
        rounding: float,
    ) -> None:
        self.classes = classes
        self.moments = moments
        self.penalty = penalty
        self.n_free = n_free  # the last rows of a point, without penalty
        self.rounding = rounding
        least, most = MEMORY
        length = min(most, max(least, MEMORY_SIZE // (len(moments) * len(classes))))
        self.pairs: deque[tuple[Matrix, Matrix, Matrix]] = deque(maxlen=length)
        self.low_rank = self.answers = np.empty((len(moments), len(classes), 0))

    def add(self, step: Matrix, change: Matrix) -> None:
        """Learn by how much the gradient changes with a step."""
        product = np.vdot(step, change)
        known = self.moments @ step @ self.classes
        if not product > 1e-10 * np.vdot(step, known):
            return
        self.pairs.append((step, change, known))
        steps, changes, knowns = (
            np.stack([pair[i] for pair in self.pairs], axis=2) for i in range(3)
        )
        m = len(self.pairs)
        flat = steps.reshape(-1, m)
        inner = flat.T @ changes.reshape(-1, m)
        lower = np.tril(inner, -1)
        middle = np.block(
            [
                [flat.T @ knowns.reshape(-1, m), lower],
                [lower.T, -np.diag(inner.diagonal())],
            ]
        )
        self.low_rank = np.concatenate([knowns, changes], axis=2)
        solved = np.linalg.solve(middle, self.low_rank.reshape(-1, 2 * m).T)
        self.answers = -np.ascontiguousarray(solved.T).reshape(self.low_rank.shape)

    def minimize(
        self, point: Matrix, gradient: Matrix, turns: Turns, allowed: float
    ) -> tuple[Matrix, float]:
        """Return where model and penalty are least, and how much that gains."""
        from skxent.kernels import _coordinate_descent as kernels
        from skxent.kernels._coordinate_descent import LEAST_SHARE

        new = point.copy()
        moved = np.zeros(point.shape[::-1])
        shares = np.zeros(self.low_rank.shape[2])

        def sweep(most: int, allowed: float) -> tuple[float, int]:
            return descend(
                kernels.descend_moments,
                gradient,
                self.classes,
                self.moments,
                self.low_rank,
                self.answers,
                new,
                moved,
                shares,
                scratch(point),
                self.n_free,
                self.penalty.l1,
                self.penalty.l2,
                SWEEP_PRECISION,
                most,
                allowed=allowed,
            )

        def step_on_face(most: int) -> float:
            l1, l2 = np.zeros((2, len(point), 1))
            n_penalised = len(point) - self.n_free
            l1[:n_penalised], l2[:n_penalised] = self.penalty
            diagonal = np.outer(self.moments.diagonal(), self.classes.diagonal())
            own = np.einsum("jkr,jkr->jk", self.low_rank, self.answers)
            diagonal = np.maximum(diagonal + own, LEAST_SHARE * diagonal)
            slope = gradient + moved.T @ self.classes + self.low_rank @ shares
            face = Face(
                self._product,
                slope,
                diagonal,
                l1,
                l2,
                self.n_free * point.shape[1],
                rounding=self.rounding,
                allowed=allowed,
            )
            with one_blas_thread():
                step, gain = face.step(new, most)
                moved[...] += (self.moments @ step).T
                shares[...] += self._shares(step)
            new[...] += step
            return gain

        return new, turns.solve(sweep, step_on_face, allowed)

    def _shares(self, step: Matrix) -> Matrix:
        """Return ``V^T`` times a step."""
        return np.asarray(step.ravel() @ self.answers.reshape(step.size, -1))

    def _product(self, step: Matrix) -> Matrix:
        """Return the curvature times a step."""
        known = self.moments @ step @ self.classes
        return np.asarray(known + self.low_rank @ self._shares(step))


def minimize_moments(
    X: NDArray[Any],
    targets: EncodedTargets,
    coef: Matrix,
    penalty: ElasticNet,
    settings: Settings,
) -> SolverResult:
    """Minimise from ``coef`` (R, p), or (R, p + 1) with intercepts."""
    fit_intercept = coef.shape[1] > X.shape[1]
    loss = _Loss(X, targets, fit_intercept, penalty)
    point = loss.point(coef)
    penalty.shift(point[: X.shape[1]])
    value, gradient = loss.value_and_gradient(point)
    progress = Progress(value, settings)
    made_at = np.inf
    turns = Turns(MOST_SWEEPS)  # a model that is not exact
    while not progress.is_over:
        if not value >= RENEWAL * made_at:
            moments = loss.moments(point)
            rounding = ROUNDING[X.dtype]
            model = _Model(*moments, penalty, int(fit_intercept), rounding)
            made_at = value
        target, gain = model.minimize(point, gradient, turns, progress.allowed)
        found = _search(loss, point, target, value, gain)
        if found is None:
            status = progress.status_without_step(gain, NOISE[X.dtype])
            break
        new, value, new_gradient = found
        model.add(new - point, new_gradient - gradient)
        point, gradient = new, new_gradient
        progress.add(value, gain)
        stopped = progress.is_stopped(functools.partial(loss.coef, point))
        if stopped or gain <= progress.allowed:
            status = SolverStatus.CONVERGED
            break
    else:
        status = SolverStatus.MAX_ITER
    return progress.result(loss.coef(point), status)


def _search(
    loss: _Loss, point: Matrix, target: Matrix, value: float, gain: float
) -> tuple[Matrix, float, Matrix] | None:
    """Go towards a point as far as it pays; return where that is, value, gradient."""
    step = 1.0
    for _ in range(LONGEST_SEARCH):
        new = target if step == 1.0 else point + step * (target - point)
        new_value, gradient = loss.value_and_gradient(new)
        if is_enough(new_value, value, step, gain):
            return new, new_value, gradient
        step *= 0.5
    return None

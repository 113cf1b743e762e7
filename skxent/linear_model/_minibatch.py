r"""A minibatch learner for softmax regression: an online Newton method without knobs.

With each minibatch of weight ``b``, which brings the total weight to ``t``, mean
gradient ``g`` and ridge factor ``l = 1 / (C t)``, the coefficients of class k move by

.. math::
    W_k \leftarrow W_k - \frac{2 b}{t + b} (u_k H + l I)^{-1} (g_k + l W_k)

``H`` is the mean curvature ``sum_k p_k (1 - p_k) x x^T`` of all rows so far and ``u_k``
the share of class k in it; later rows, whose probabilities are better, count in
proportion to ``t``. Above ``MOST_COLUMNS`` columns only the diagonal of ``H`` is kept.
No logit of the minibatch moves by more than ``LARGEST_MOVE``.

B. Bercu, A. Godichon, B. Portier, "An Efficient Stochastic Newton Algorithm for
Parameter Estimation in Logistic Regressions", SIAM Journal on Control and Optimization
58, 2020.

Conventions
-----------
p features, K classes; R is K, and 1 for two classes: the logits are then ``(0, x)``.
``coef`` is (R, q) float64 with q = p, or p + 1 with the intercept in the last column,
which has no ridge. Weights of rows are those of the encoded targets, so that a row of
weight 2 counts as two rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

from skxent.backends import EncodedTargets, backend_for
from skxent.linear_model._probabilities import softmax
from skxent.linear_model._row_masses import pulls, row_masses

__all__ = ["MinibatchState", "learn", "start"]

# A curvature matrix of 8 MB, factored in 30 ms, up to here; its diagonal beyond.
MOST_COLUMNS = 1 << 10
# A minibatch holds a sixteenth of the rows so far, within limits, and so few numbers
# that its copy stays in the cache.
FEWEST_ROWS, MOST_ROWS, ROWS_SHARE = 16, 1 << 10, 16
MOST_NUMBERS = 1 << 20
# The curvature is factored again when there are so many more rows; the held-out loss
# was the same in two digits as when every minibatch factored it.
GROWTH = 1.1
# 2 was slower on word counts and digits, 8 worse on columns of mixed scale.
LARGEST_MOVE = 4.0
# A class that is hardly ever probable moves at most so many times as far as others.
MOST_BOOST = 100.0
# The least curvature of a direction beside that of its columns: rounding is smaller.
LEAST_CURVATURE = 1e-10

NO_LOSSES = np.empty(0)


@dataclass
class MinibatchState:
    """What the learner remembers beside the coefficients; plain arrays and numbers."""

    curvature: NDArray[np.float64]  # (q, q), or its diagonal (q,); sum of b t H
    class_curvature: NDArray[np.float64]  # (R,) the part of each class in its trace
    total: float  # t, with the weight of an earlier fit
    stepped: NDArray[np.float64]  # (q,) t when the column last moved
    fit_intercept: bool
    measured: float = 0.0  # t without the weight of an earlier fit
    curvature_weight: float = 0.0  # sum of b t
    n_rows: int = 0
    factored_rows: int = 0
    factor: NDArray[np.float64] | None = None  # (q, q), upper
    scale: NDArray[np.float64] | None = None  # (q,) columns of what is factored

    @property
    def full(self) -> bool:
        """Whether the whole matrix of curvature is kept."""
        return self.curvature.ndim == 2

    def copied(self) -> "MinibatchState":
        """Return a copy to learn with, which replaces the matrices it shares."""
        return replace(
            self,
            curvature=self.curvature if self.full else self.curvature.copy(),
            class_curvature=self.class_curvature.copy(),
            stepped=self.stepped.copy(),
        )


def start(
    shape: tuple[int, int], *, fit_intercept: bool, total: float = 0.0
) -> MinibatchState:
    """Return the state before the first batch, for coefficients of a shape.

    ``total`` is the weight of the rows that the coefficients were fitted to before.
    """
    n_outputs, q = shape
    return MinibatchState(
        curvature=np.zeros((q, q) if q <= MOST_COLUMNS else q),
        class_curvature=np.zeros(n_outputs),
        total=total,
        stepped=np.full(q, total),
        fit_intercept=fit_intercept,
    )


def learn(
    state: MinibatchState,
    coef: NDArray[np.float64],
    X: Any,
    targets: EncodedTargets,
    *,
    C: float,
) -> MinibatchState:
    """Learn from a batch of any size, dense or CSR: change ``coef``, return the state.

    The state that came in stays as it is, for those whom Ctrl-C sends back to it.
    """
    state = state.copied()
    pull, mass = pulls(targets), row_masses(targets)
    for rows in _minibatches(state, X):
        state.n_rows += len(rows)
        weight = float(mass[rows].sum())
        if weight > 0:
            columns, batch = _gather(state, X[rows])
            part = targets.rows(rows)._replace(denominator=weight)
            _step(state, coef, columns, batch, part, pull[rows], C)
    return state


def _minibatches(state: MinibatchState, X: Any) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of each minibatch, drawn by a generator seeded with the count."""
    n, p = X.shape
    order = np.arange(n)
    if n > FEWEST_ROWS:  # rows of one class often stand together
        order = np.random.default_rng(state.n_rows).permutation(n)
    most = MOST_ROWS
    if state.full or not scipy.sparse.issparse(X):
        most = max(FEWEST_ROWS, min(MOST_ROWS, MOST_NUMBERS // max(1, p)))
    begin = 0
    while begin < n:
        end = begin + min(max(FEWEST_ROWS, state.n_rows // ROWS_SHARE), most)
        yield order[begin:end]
        begin = end


def _gather(state: MinibatchState, rows: Any) -> tuple[slice | NDArray[np.intp], Any]:
    """Return the columns that a minibatch moves, and these columns in float64."""
    if state.full and scipy.sparse.issparse(rows):
        rows = rows.toarray()
    ones = np.ones((rows.shape[0], int(state.fit_intercept)))
    if not scipy.sparse.issparse(rows):
        return slice(None), np.hstack([rows, ones])
    columns, places = np.unique(rows.indices, return_inverse=True)
    present = scipy.sparse.csr_array(
        (rows.data.astype(np.float64), places, rows.indptr),
        shape=(rows.shape[0], len(columns)),
    )
    if state.fit_intercept:
        columns = np.append(columns, len(state.stepped) - 1)
    # a matrix in older versions of scipy
    stacked = scipy.sparse.hstack([present, ones], format="csr")
    return columns, scipy.sparse.csr_array(stacked)


def _step(
    state: MinibatchState,
    coef: NDArray[np.float64],
    columns: slice | NDArray[np.intp],
    batch: Any,
    targets: EncodedTargets,
    pull: NDArray[np.float64],
    C: float,
) -> None:
    """Move the coefficients of the columns that occur in a minibatch."""
    weight = targets.denominator
    state.total += weight
    state.measured += weight
    old = coef[:, columns]
    ridge = np.full(old.shape[1], 1.0 / (C * state.total))
    if state.fit_intercept:
        ridge[-1] = 0.0
    gradient, curvature = _derivatives(batch @ old.T, targets, pull)
    # after a fit, few rows say little about its curvature: lean towards equal shares
    even = 1.0 / len(targets.on_value)
    unknown = 1.0 - state.measured / state.total
    curvature += unknown * (even * (1.0 - even) * pull[:, np.newaxis] - curvature)
    _measure(state, columns, batch, curvature, weight)
    g = np.asarray((batch.T @ gradient).T, dtype=np.float64) / weight
    # the ridge of the rows in which a column did not occur is made up for when it does
    rate = 2.0 * weight / (state.total + weight)
    missed = (state.total - state.stepped[columns]) / weight
    g += np.minimum(missed, 1.0 / rate) * ridge * old
    state.stepped[columns] = state.total
    move = rate * _solve(state, columns, g, ridge)
    if len(move) > 1:
        move -= move.mean(axis=0)
    farthest = float(np.abs(batch @ move.T).max(initial=0.0))
    if farthest > LARGEST_MOVE:
        move *= LARGEST_MOVE / farthest
    coef[:, columns] = old - move


def _derivatives(
    logits: NDArray[np.float64], targets: EncodedTargets, pull: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the gradient and the curvature with respect to each logit, (rows, R)."""
    two = logits.shape[1] == 1
    z = np.hstack([np.zeros_like(logits), logits]) if two else logits
    z = np.ascontiguousarray(z)
    proba = softmax(z)
    curvature = pull[:, np.newaxis] * proba * (1.0 - proba)
    backend_for(z).softmax_loss(z, targets, NO_LOSSES, z, 1.0)
    return (z[:, 1:], curvature[:, 1:]) if two else (z, curvature)


def _measure(
    state: MinibatchState,
    columns: slice | NDArray[np.intp],
    batch: Any,
    curvature: NDArray[np.float64],
    weight: float,
) -> None:
    """Add the curvature of a minibatch."""
    rows = curvature.sum(axis=1)
    if state.full:
        curvature_of_rows = batch.T @ (batch * rows[:, np.newaxis])
        curvature_of_rows *= state.measured
        curvature_of_rows += state.curvature
        state.curvature = curvature_of_rows
    else:
        state.curvature[columns] += state.measured * ((batch * batch).T @ rows)
    state.class_curvature += state.measured * curvature.sum(axis=0)
    state.curvature_weight += state.measured * weight


def _solve(
    state: MinibatchState,
    columns: slice | NDArray[np.intp],
    gradient: NDArray[np.float64],
    ridge: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the gradient divided by the curvature."""
    n_outputs = len(gradient)
    trace = state.class_curvature.sum()
    part = state.class_curvature / trace if trace > 0 else np.full(n_outputs, 1.0)
    part = np.maximum(part, 1.0 / (MOST_BOOST * n_outputs))[:, np.newaxis]
    if state.full:
        if state.n_rows >= GROWTH * state.factored_rows:
            _factor(state, n_outputs * ridge)
        scaled = (gradient / part * state.scale).T
        solution = scipy.linalg.cho_solve((state.factor, False), scaled)
        return np.asarray(solution.T * state.scale)
    mean = state.curvature[columns] / state.curvature_weight
    diagonal = part * mean + ridge
    moved = np.zeros_like(gradient)
    np.divide(gradient, diagonal, out=moved, where=diagonal > 0)
    return moved


def _factor(state: MinibatchState, ridge: NDArray[np.float64]) -> None:
    """Factor the mean curvature plus the ridge, in columns scaled to curvature 1.

    What one row more would add in every direction keeps it from being singular. That is
    measured by the spread of a column: its mean says nothing about the class.
    """
    mean = state.curvature / state.curvature_weight
    diagonal = mean.diagonal()
    spread = diagonal.copy()
    if state.fit_intercept and diagonal[-1] > 0:
        spread -= mean[:, -1] ** 2 / diagonal[-1]
    spread = np.maximum(spread / state.n_rows, LEAST_CURVATURE * diagonal)
    regular = diagonal + spread + ridge
    state.scale = np.zeros_like(regular)
    np.divide(1.0, np.sqrt(regular), out=state.scale, where=regular > 0)
    np.fill_diagonal(mean, np.where(regular > 0, regular, 1.0))
    scale = np.where(regular > 0, state.scale, 1.0)
    mean *= scale * scale[:, np.newaxis]
    state.factor = scipy.linalg.cholesky(mean, overwrite_a=True)
    state.factored_rows = state.n_rows

"""Inverse Hessians of softmax regression, exact or nearly so, from a sample of rows.

Conventions
-----------
m rows of a sample, p features, R = K - 1 classes relative to the first, q = p + 1
columns with an intercept, else p. With row weights ``s a / S`` (weight, mass and
denominator) and probabilities P of those R classes, the Hessian of the data term is

    sum_i s_i a_i / S (diag(P_i) - P_i P_i^T) (x) x_i x_i^T.

A curvature is scaled to a unit diagonal before it is factored, so columns of any scale
are treated alike; what is added to that diagonal keeps singular ones definite.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

from skxent.linear_model._centring import Centring, dense, sliceable
from skxent.linear_model._factor import Factor
from skxent.linear_model._linear_loss import LinearCrossEntropy, LinearModelLoss
from skxent.linear_model._probabilities import own_shares, softmax
from skxent.linear_model._products import add_gram, multiply
from skxent.linear_model._row_masses import pulls

__all__ = [
    "CorrectedCurvature",
    "DiagonalCurvature",
    "FullCurvature",
    "KroneckerCurvature",
    "class_moments",
    "eigenvectors",
]

Matrix = NDArray[np.float64]

# Elements of the rows that are worked on at a time, and rows at least.
BLOCK_SIZE = 1 << 16
LEAST_ROWS = 256
# Rows that tell the squares of columns well.
ROWS_OF_SQUARES = 500
# Shares below this are rounding.
LEAST_SHARE = 1e-12
TINY = 1e-300
# Curvatures of classes that differ by less share a factor.
LARGEST_RATIO = 1.5
# Unknowns, directions times classes, of which the Hessian itself is taken; directions
# that are worth it, and rows for each unknown.
MOST_CORRECTED = 450
FEWEST_CORRECTED = 10
ROWS_PER_CORRECTED = 10
SUBSPACE_ITERATIONS = 3


def _blocks(
    sample: LinearModelLoss,
    coef: Matrix,
    numbers_per_row: int,
    centre: Matrix | None = None,
    least: int = LEAST_ROWS,
) -> Iterator[tuple[Matrix, Matrix, NDArray[np.float64]]]:
    """Yield blocks of rows with ones for the intercept, their P and their weights.

    They are float64, or minus a centre and in the dtype of X; `coef` is for what is
    yielded. The memory of the rows is used again for the next block.
    """
    mass = pulls(sample.targets) / sample.targets.denominator
    n, p = sample.X.shape
    lines = sliceable(sample.X)
    block = max(least, BLOCK_SIZE // numbers_per_row)
    dtype = np.float64 if centre is None else sample.X.dtype
    room = np.empty((min(block, n), coef.shape[1]), dtype)
    for begin in range(0, n, block):
        rows = slice(begin, min(begin + block, n))
        X = room[: rows.stop - begin]
        some = dense(lines[rows])
        X[:, :p] = some if centre is None else some - centre
        X[:, p:] = 1.0
        logits = np.zeros((len(X), sample.n_classes))
        np.matmul(X, coef.T, out=logits[:, 1:])
        yield X, softmax(logits, out=logits)[:, 1:], mass[rows]


def _data_hessian(
    blocks: Iterator[tuple[Matrix, Matrix, NDArray[np.float64]]], n_rows: int, q: int
) -> Matrix:
    """Return the Hessian of the data term, (R q, R q), of blocks of rows."""
    hessian = np.zeros((n_rows * q, n_rows * q))
    diagonal = np.zeros((n_rows, q, q))
    room = np.empty((0, n_rows, q))
    for X, proba, weight in blocks:
        if len(X) > len(room):
            room = np.empty((len(X), n_rows, q), X.dtype)
        parts = room[: len(X)]
        if n_rows > 1:
            shares = np.sqrt(weight)[:, np.newaxis] * proba
            np.multiply(shares[:, :, np.newaxis], X[:, np.newaxis, :], out=parts)
            add_gram(parts.reshape(-1, n_rows * q), hessian, -1.0)
        # 1 - p is not taken from a product, which would cancel
        shares = np.sqrt(weight[:, np.newaxis] * proba * (1.0 - proba))
        own = parts.reshape(-1, q)[: len(X)]
        for k in range(n_rows):
            np.multiply(X, shares[:, k, np.newaxis], out=own)
            add_gram(own, diagonal[k])
    every = np.arange(n_rows)
    hessian.reshape(n_rows, q, n_rows, q)[every, :, every, :] = diagonal
    return hessian


class FullCurvature:
    """The Hessian of a sample, with all R q unknowns in one matrix.

    Of centred columns, whose products can be in float32 if X is, however far from 0 the
    columns are.
    """

    scaled = True

    def __init__(self, sample: LinearModelLoss, coef: Matrix) -> None:
        n_rows, q = coef.shape
        p = sample.X.shape[1]
        self.centring = Centring(sample.centre)
        blocks_of_rows = _blocks(
            sample, self.centring.coef(coef), n_rows * q, self.centring.centre
        )
        hessian = _data_hessian(blocks_of_rows, n_rows, q)
        features = np.arange(p)
        blocks = hessian.reshape(n_rows, q, n_rows, q)
        blocks[:, features, :, features] += sample.l2 * sample.metric
        self.factor = Factor(hessian)

    def solve(self, gradient: Matrix) -> Matrix:
        """Return the inverse times a gradient, or times each of a stack of them."""
        columns = self.centring.gradient(gradient).reshape(-1, len(self.factor.scale)).T
        solved = self.factor.solve(columns).T.reshape(gradient.shape)
        return self.centring.back(solved)


class KroneckerCurvature:
    """A curvature over classes times one over features, plus the ridge.

    ``A (x) B + l2 M (x) I`` with ``A`` the mean of ``diag(P_i) - P_i P_i^T`` and ``B``
    the second moments of the rows, weighted by the trace of theirs. A and M are made
    diagonal together, which leaves a ``a_k B + l2 I`` for each class coordinate.
    """

    scaled = False

    def __init__(self, sample: LinearCrossEntropy, coef: Matrix) -> None:
        n_rows, q = coef.shape
        classes = np.zeros((n_rows, n_rows))
        moments = np.zeros((q, q))
        total = 0.0
        for X, proba, weight in _blocks(sample, coef, max(q, n_rows)):
            of_block, share = class_moments(proba, weight)
            classes += of_block
            total += float(share.sum())
            X *= np.sqrt(share)[:, np.newaxis]
            add_gram(X, moments)
        moments /= total
        self.ridge = np.full(q, sample.l2)
        self.ridge[sample.X.shape[1] :] = 0.0
        self.moments = moments
        eigenvalues, self.basis = eigenvectors(classes, sample.metric)
        self.groups: list[tuple[slice, Factor]] = []
        for group in _groups(eigenvalues):
            middle = np.sqrt(eigenvalues[group][0] * eigenvalues[group][-1])
            eigenvalues[group] = middle
            matrix = middle * moments
            matrix[np.diag_indices_from(matrix)] += self.ridge
            self.groups.append((group, Factor(matrix)))
        back = sample.metric @ self.basis  # the inverse, transposed
        self.classes = (back * eigenvalues) @ back.T

    def solve(self, gradient: Matrix) -> Matrix:
        """Return the inverse times a gradient, or times each of a stack of them."""
        rotated = self.basis.T @ gradient
        for group, factor in self.groups:
            lines = rotated[..., group, :]
            columns = lines.reshape(-1, lines.shape[-1]).T
            lines[...] = factor.solve(columns).T.reshape(lines.shape)
        return np.asarray(self.basis @ rotated)


class CorrectedCurvature:
    """A Kronecker curvature, with the Hessian in its place where it matters most.

    The columns of U are the directions in which B is largest beside the ridge. Which
    classes are likely depends on the row most there, so in ``Z = I (x) U`` the Hessian
    H takes the place of K:

        K^-1 + Z ((Z^T H Z)^-1 - (Z^T K Z)^-1) Z^T.

    Images of 784 pixels in 10 classes took 63 evaluations without that, and take 35.
    """

    scaled = False

    def __init__(self, sample: LinearCrossEntropy, coef: Matrix) -> None:
        n_rows, q = coef.shape
        self.base = base = KroneckerCurvature(sample, coef)
        moments = base.moments
        del base.moments  # as large as a factor
        count = min(q, MOST_CORRECTED // n_rows)
        enough = len(sample.X) >= ROWS_PER_CORRECTED * n_rows * count
        # at zero all rows have the same probabilities, and K is the Hessian
        self.directions = U = np.empty((q, 0))
        if count < FEWEST_CORRECTED or not (enough and coef.any()):
            return
        if not np.isfinite(moments).all():
            return
        self.directions = U = _largest_directions(base, moments, count)
        ridge = np.kron(sample.metric, U.T @ (base.ridge[:, np.newaxis] * U))
        kronecker = np.kron(base.classes, U.T @ moments @ U)
        blocks = (
            (X @ U, proba, weight)
            for X, proba, weight in _blocks(sample, coef, max(q, n_rows * count))
        )
        self.known = Factor(_data_hessian(blocks, n_rows, count) + ridge)
        self.replaced = Factor(kronecker + ridge)

    def solve(self, gradient: Matrix) -> Matrix:
        """Return the inverse times a gradient, or times each of a stack of them."""
        solved = self.base.solve(gradient)
        U = self.directions
        if U.size:
            along = gradient @ U
            columns = along.reshape(-1, len(self.known.scale)).T
            change = self.known.solve(columns) - self.replaced.solve(columns)
            solved += change.T.reshape(along.shape) @ U.T
        return solved


class DiagonalCurvature:
    """A diagonal over all K classes, of which the coefficients are differences.

    Let ``D`` be that of the classes' own weights for centred columns. With respect to
    the differences from the first, the inverse is ``1 / D_k + 1 / D_0``, the second
    between all classes: for equal rows, that of the Hessian. The diagonal of this
    Hessian alone would leave a direction in each column, all classes but the first
    going together, in which it is K times flatter.
    """

    scaled = False

    def __init__(self, objective: LinearCrossEntropy, coef: Matrix) -> None:
        if scipy.sparse.issparse(objective.X):
            self._take_sparse(objective, coef)
        else:
            self._take_dense(objective, coef)
        ridge = objective.l2 * objective.metric[0, 0]  # of all classes alike
        self.diagonal[:, : objective.X.shape[1]] += ridge
        # D - D D^T / sum D has the same trace as the classes' Hessian then
        shares = self.diagonal / np.maximum(self.diagonal.sum(axis=0), TINY)
        # none is more than a half, but by rounding
        self.diagonal /= np.maximum(0.5, 1.0 - np.square(shares).sum(axis=0))
        self.diagonal[self.diagonal == 0] = 1.0

    def _take_dense(self, objective: LinearCrossEntropy, coef: Matrix) -> None:
        """Sum over a sample of rows."""
        # a mean that is off would couple all weights by the intercept
        self.centring = Centring(objective.centre)
        n = len(objective.X)
        sample = objective.in_place(np.arange(0, n, max(1, n // ROWS_OF_SQUARES)))
        self.diagonal = np.zeros((len(coef) + 1, coef.shape[1]))
        for X, proba, weight in _blocks(
            sample, self.centring.coef(coef), coef.shape[1], self.centring.centre, 1
        ):
            np.square(X, out=X)
            self.diagonal += own_shares(proba, weight).T.astype(X.dtype) @ X

    def _take_sparse(self, objective: Any, coef: Matrix) -> None:
        """Sum over the entries, the rows of each class weighted as those of all."""
        p = objective.X.shape[1]
        share = objective.shares(coef)
        weight = share.sum(axis=1)
        total = float(weight.sum())
        squares = objective.design.squares(weight)
        centre = None
        if objective.fit_intercept:
            moment = objective.design.pull_back(weight[:, np.newaxis])[:, 0]
            centre = moment / (total or 1.0)
            centred = squares - centre * moment
            # what is left of a column of one number is rounding
            squares = np.where(centred > LEAST_SHARE * squares, centred, squares)
        self.centring = Centring(centre)
        self.diagonal = np.empty((len(coef) + 1, coef.shape[1]))
        per_class = share.sum(axis=0) / (total or 1.0)
        self.diagonal[:, :p] = per_class[:, np.newaxis] * squares
        self.diagonal[:, p:] = total * per_class[:, np.newaxis]

    def solve(self, gradient: Matrix) -> Matrix:
        """Return the inverse times a gradient, or times each of a stack of them."""
        gradient = self.centring.gradient(gradient)
        solved = gradient / self.diagonal[1:]
        solved += gradient.sum(axis=-2, keepdims=True) / self.diagonal[0]
        return self.centring.back(solved)


def class_moments(proba: Matrix, weight: Matrix) -> tuple[Matrix, Matrix]:
    """Return the sum of ``w_i (diag(P_i) - P_i P_i^T)``, and the traces, all K classes.

    The traces (rows,) are the weights of rows in the second moments.
    """
    weighted = proba * weight[:, np.newaxis]
    others = np.maximum(0.0, 1.0 - proba.sum(axis=1))
    trace = 1.0 - np.einsum("ik,ik->i", proba, proba) - others**2
    classes = np.diag(weighted.sum(axis=0)) - multiply(proba.T, weighted)
    return classes, weight * np.maximum(trace, LEAST_SHARE)


def eigenvectors(classes: Matrix, metric: Matrix) -> tuple[Matrix, Matrix]:
    """Return eigenvalues and what makes both diagonal, the metric to ones.

    Where numbers have overflown they are those of the metric alone.
    """
    if not np.isfinite(classes).all():
        classes = metric
    values, vectors = scipy.linalg.eigh(classes, metric)
    return np.maximum(values, LEAST_SHARE * values.max()), vectors


def _groups(eigenvalues: Matrix) -> Iterator[slice]:
    """Yield the slices of ascending eigenvalues that may share a factor."""
    begin = 0
    for end in range(1, len(eigenvalues) + 1):
        if (
            end == len(eigenvalues)
            or eigenvalues[end] > LARGEST_RATIO * eigenvalues[begin]
        ):
            yield slice(begin, end)
            begin = end


def _largest_directions(
    base: KroneckerCurvature, moments: Matrix, count: int
) -> Matrix:
    """Return about the directions (q, count) in which the data's share is largest.

    By subspace iteration, which need not be precise.
    """
    data = moments * (np.trace(base.classes) / len(base.classes))
    scale = data.diagonal() + base.ridge
    scale = 1.0 / np.sqrt(np.where(scale > 0, scale, 1.0))
    data *= scale
    data *= scale[:, np.newaxis]
    vectors = np.random.RandomState(0).normal(size=(len(data), count))
    for _ in range(SUBSPACE_ITERATIONS):
        vectors, _ = np.linalg.qr(data @ vectors)
    return np.asarray(vectors * scale[:, np.newaxis])

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

import numpy as np
import scipy.linalg
import scipy.special
from numpy.typing import NDArray

from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.losses._targets import mass_and_weight

__all__ = ["DiagonalCurvature", "FullCurvature", "KroneckerCurvature"]

Matrix = NDArray[np.float64]

# Elements of the rows that are worked on at a time.
BLOCK_SIZE = 1 << 20
# Added to a unit diagonal, and by how much more where that was too little.
LEAST_DIAGONAL = 1e-12
MORE = 1e3
# Curvatures of classes that differ by less share a factor.
LARGEST_RATIO = 1.5


class _Factor:
    """Cholesky factor of a positive semidefinite matrix, which it overwrites."""

    def __init__(self, matrix: Matrix) -> None:
        diagonal = matrix.diagonal().copy()
        diagonal[~(diagonal > 0)] = 1.0
        self.scale = 1.0 / np.sqrt(diagonal)
        matrix *= self.scale
        matrix *= self.scale[:, np.newaxis]
        added = LEAST_DIAGONAL
        while True:
            np.fill_diagonal(matrix, matrix.diagonal() + added)
            try:
                self.factor = scipy.linalg.cho_factor(
                    matrix, lower=True, check_finite=False
                )
            except np.linalg.LinAlgError:
                added *= MORE
            else:
                return

    def solve(self, columns: Matrix) -> Matrix:
        """Return the inverse times vectors (d,) or (d, c)."""
        scale = self.scale.reshape(-1, *[1] * (columns.ndim - 1))
        scaled = columns * scale
        solved = scipy.linalg.cho_solve(
            self.factor, scaled, overwrite_b=True, check_finite=False
        )
        return np.asarray(solved * scale)


def _rows(
    sample: LinearCrossEntropy, coef: Matrix
) -> tuple[Matrix, Matrix, NDArray[np.float64]]:
    """Return the rows with ones for the intercept, P (m, R) and the row weights."""
    X = np.asarray(sample.X, dtype=np.float64)
    if sample.fit_intercept:
        X = np.column_stack([X, np.ones(len(X))])
    logits = np.zeros((len(X), sample.n_classes))
    logits[:, 1:] = X @ coef.T
    proba = scipy.special.softmax(logits, axis=1)[:, 1:]
    mass, weight = mass_and_weight(sample.targets)
    if weight.size:
        mass = mass * weight
    return X, proba, mass / sample.targets.denominator


class FullCurvature:
    """The Hessian of a sample, with all R q unknowns in one matrix."""

    scaled = True

    def __init__(self, sample: LinearCrossEntropy, coef: Matrix) -> None:
        X, proba, weight = _rows(sample, coef)
        n_rows, q = coef.shape
        hessian = np.zeros((n_rows * q, n_rows * q))
        if n_rows > 1:
            shares = np.sqrt(weight)[:, np.newaxis] * proba
            block = max(1, BLOCK_SIZE // (n_rows * q))
            for begin in range(0, len(X), block):
                rows = slice(begin, begin + block)
                parts = shares[rows, :, np.newaxis] * X[rows, np.newaxis, :]
                parts = parts.reshape(-1, n_rows * q)
                hessian -= parts.T @ parts
        blocks = hessian.reshape(n_rows, q, n_rows, q)
        for k in range(n_rows):
            # 1 - p is not taken from a product, which would cancel
            own = X * np.sqrt(weight * proba[:, k] * (1.0 - proba[:, k]))[:, np.newaxis]
            blocks[k, :, k, :] = own.T @ own
        features = np.arange(sample.X.shape[1])
        metric = sample.l2 * sample.metric
        blocks[:, features, :, features] += metric
        self.factor = _Factor(hessian)

    def solve(self, gradient: Matrix) -> Matrix:
        """Return the inverse times a gradient."""
        return self.factor.solve(gradient.ravel()).reshape(gradient.shape)


class KroneckerCurvature:
    """A curvature over classes times one over features, plus the ridge.

    ``A (x) B + l2 M (x) I`` with ``A`` the mean of ``diag(P_i) - P_i P_i^T`` and ``B``
    the second moments of the rows, weighted by the trace of theirs. A and M are made
    diagonal together, which leaves a ``a_k B + l2 I`` for each class coordinate.
    """

    scaled = False

    def __init__(self, sample: LinearCrossEntropy, coef: Matrix) -> None:
        X, proba, weight = _rows(sample, coef)
        weighted = proba * weight[:, np.newaxis]
        classes = np.diag(weighted.sum(axis=0)) - proba.T @ weighted
        eigenvalues, self.basis = scipy.linalg.eigh(classes, sample.metric)
        eigenvalues = np.maximum(eigenvalues, LEAST_DIAGONAL * eigenvalues.max())
        others = np.maximum(0.0, 1.0 - proba.sum(axis=1))
        trace = 1.0 - np.einsum("ik,ik->i", proba, proba) - others**2
        share = weight * np.maximum(trace, LEAST_DIAGONAL)
        X = X * np.sqrt(share / share.sum())[:, np.newaxis]
        moments = X.T @ X
        ridge = np.full(coef.shape[1], sample.l2)
        ridge[sample.X.shape[1] :] = 0.0
        self.groups: list[tuple[slice, _Factor]] = []
        for group in _groups(eigenvalues):
            middle = np.sqrt(eigenvalues[group][0] * eigenvalues[group][-1])
            matrix = middle * moments
            matrix[np.diag_indices_from(matrix)] += ridge
            self.groups.append((group, _Factor(matrix)))

    def solve(self, gradient: Matrix) -> Matrix:
        """Return the inverse times a gradient."""
        rotated = self.basis.T @ gradient
        for group, factor in self.groups:
            rotated[group] = factor.solve(rotated[group].T).T
        return np.asarray(self.basis @ rotated)


class DiagonalCurvature:
    """The diagonal of the Hessian of a sample."""

    scaled = False

    def __init__(self, sample: LinearCrossEntropy, coef: Matrix) -> None:
        X, proba, weight = _rows(sample, coef)
        share = weight[:, np.newaxis] * proba * (1.0 - proba)
        self.diagonal = share.T @ (X * X)
        ridge = sample.l2 * sample.metric.diagonal()
        self.diagonal[:, : sample.X.shape[1]] += ridge[:, np.newaxis]
        self.diagonal[self.diagonal == 0] = 1.0

    def solve(self, gradient: Matrix) -> Matrix:
        """Return the inverse times a gradient."""
        return gradient / self.diagonal


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

r"""The objective of softmax regression over row blocks of the data.

.. math::
    f(D, b) = \frac{1}{S} \sum_i s_i \ell_i(0, X_i D^T + b)
              + \frac{\lambda}{2} \min_c \|(0, D) - c\|^2

Conventions
-----------
n samples, p features, K classes, R = K - 1. ``coef`` is (R, p) or, with an intercept in
the last column, (R, p + 1), float64: the coefficients of each class minus those of the
first one, whose logit is 0. A shift of all classes alike changes no loss; the ridge is
that of the shift that makes it least, ``|D|^2 - |sum_k D_k|^2 / K``. Two classes are an
exception, as in scikit-learn: their ridge is ``|D|^2``. ``S`` is the denominator of the
targets.
"""

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import EncodedTargets, backend_for
from skxent.backends._dense import in_rows
from skxent.linear_model._centring import means
from skxent.linear_model._products import multiply
from skxent.losses._targets import mass_and_weight

__all__ = ["LinearCrossEntropy", "LinearModelLoss", "absolute", "relative"]

# Elements of a block of X: small enough to stay in the cache between the two products.
BLOCK_SIZE = 1 << 17
MIN_BLOCK_ROWS = 256
# Products with many coefficients pack them anew for every block, which is little beside
# so many rows of it; and rows whose logits still take little memory.
COEFFICIENTS_PER_ROW = 256
MOST_PACKED_ROWS = 2048


class LinearModelLoss:
    """What objectives of dense and of sparse data have in common.

    Parameters
    ----------
    X : array or sparse matrix of shape (n, p)
        float32 or float64.
    targets : EncodedTargets
        The targets and every option.
    n_classes : int
        K, at least 2.
    fit_intercept : bool
        Whether the last column of the coefficients is an intercept, without penalty.
    l2 : float
        The factor of the ridge.
    """

    def __init__(
        self,
        X: Any,
        targets: EncodedTargets,
        *,
        n_classes: int,
        fit_intercept: bool,
        l2: float,
    ) -> None:
        self.X = X
        self.targets = targets
        self.n_classes = n_classes
        self.fit_intercept = fit_intercept
        self.l2 = l2
        self.dtype = X.dtype  # of the products

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the coefficients."""
        return self.n_classes - 1, self.X.shape[1] + self.fit_intercept

    @property
    def metric(self) -> NDArray[np.float64]:
        """The (R, R) matrix M of the ridge ``l2 / 2 <D, M D>``."""
        n_rows = self.n_classes - 1
        return np.eye(n_rows) - (1.0 / self.n_classes if n_rows > 1 else 0.0)

    @functools.cached_property
    def centre(self) -> NDArray[np.float64] | None:
        """About the weighted means of the columns, None without an intercept.

        Samples that are taken after it is asked for keep it.
        """
        return means(self.X, self.targets) if self.fit_intercept else None

    def in_float32(self) -> "LinearCrossEntropy | None":
        """Return the objective with cheaper products, if there is one."""
        return None

    def ridge(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``l2 M`` times the weights of classes (R, any number)."""
        if len(weights) > 1:
            weights = weights - weights.sum(axis=0) / self.n_classes
        return self.l2 * weights

    def without_ridge(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights of which the ridge has this gradient."""
        if len(gradient) > 1:
            gradient = gradient + gradient.sum(axis=0)
        return gradient / self.l2


class _RowsInPlace:
    """Some rows of an array, of which slices are copied when they are asked for."""

    def __init__(self, X: NDArray[Any], rows: NDArray[np.intp]) -> None:
        self.X = X
        self.rows = rows
        self.shape = len(rows), X.shape[1]
        self.dtype = X.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice) -> NDArray[Any]:
        return np.asarray(self.X[self.rows[some]])


class LinearCrossEntropy(LinearModelLoss):
    """Mean cross-entropy of a linear model plus a ridge, with its derivatives.

    X is an ndarray in any memory order, which changes no bit. Products are computed in
    its dtype, sums over blocks in float64.
    """

    def __init__(self, X: NDArray[Any], targets: EncodedTargets, **options: Any):
        super().__init__(X, targets, **options)
        self.backend = backend_for(X)

    def take(self, rows: NDArray[np.intp]) -> "LinearCrossEntropy":
        """Return the objective of some rows, an estimate of this one."""
        return self._of_rows(self.X[rows], rows)

    def in_place(self, rows: NDArray[np.intp]) -> "LinearCrossEntropy":
        """Do as `take` without a copy of X, for those who slice it once or twice."""
        return self._of_rows(_RowsInPlace(self.X, rows), rows)

    def _of_rows(self, X: Any, rows: NDArray[np.intp]) -> "LinearCrossEntropy":
        taken = copy.copy(self)
        taken.X = X
        taken.targets = self.targets.rows(rows)._replace(
            denominator=self.targets.denominator * len(rows) / len(self.X)
        )
        return taken

    def with_l2(self, l2: float) -> "LinearCrossEntropy":
        """Return the objective with another factor of the ridge."""
        changed = copy.copy(self)
        changed.l2 = l2
        return changed

    def in_float32(self) -> "LinearCrossEntropy | None":
        """Return the objective with float32 products, where BLAS takes float64 ones.

        Those take half the time. Blocks of X are cast one after the other.
        """
        target = self.targets.target
        if self.is_fused or self.dtype == np.float32 or target.ndim > 1:
            return None
        changed = copy.copy(self)
        changed.dtype = np.dtype(np.float32)
        return changed

    @property
    def is_fused(self) -> bool:
        """Whether one kernel evaluates the objective; else BLAS multiplies."""
        return self.n_classes <= self.backend.MOST_LINEAR_CLASSES

    def _blocks(self) -> Iterator[slice]:
        n, p = self.X.shape
        packed = min(self.n_classes * p // COEFFICIENTS_PER_ROW, MOST_PACKED_ROWS)
        rows = max(MIN_BLOCK_ROWS, BLOCK_SIZE // max(1, p), packed)
        for begin in range(0, n, rows):
            yield slice(begin, min(begin + rows, n))

    def _weights(self, coef: NDArray[np.float64]) -> NDArray[Any]:
        """Return ``D``, (R, p)."""
        return coef[:, : self.X.shape[1]]

    def _linear_map(self, X: NDArray[Any], coef: NDArray[Any]) -> NDArray[Any]:
        """Return the (rows, K) logits that ``coef`` gives for some rows of X."""
        z = np.empty((len(X), self.n_classes), dtype=X.dtype)
        z[:, 0] = 0
        multiply(X, self._weights(coef).T, out=z[:, 1:])
        if self.fit_intercept:
            z[:, 1:] += coef[:, -1]
        return z

    def _pull_back(
        self, X: NDArray[Any], residual: NDArray[Any], gradient: NDArray[np.float64]
    ) -> None:
        """Add the gradient with respect to ``coef`` of a block of logits."""
        residual = residual[:, 1:]
        self._weights(gradient)[...] += multiply(residual.T, X)
        if self.fit_intercept:
            gradient[:, -1] += residual.sum(axis=0, dtype=np.float64)

    def value_and_gradient(
        self, coef: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the objective and its gradient; X is read once."""
        scale = 1.0 / self.targets.denominator
        if self.is_fused:
            gradient = np.empty(self.shape)
            total = self.backend.linear_softmax_loss(
                self.X, coef, self.targets, scale, gradient
            )
        else:
            total, gradient = self._loss_of_blocks(coef, scale)
        ridge = self.ridge(self._weights(coef))
        self._weights(gradient)[...] += ridge
        penalty = 0.5 * float(np.vdot(self._weights(coef), ridge))
        return total * scale + penalty, gradient

    def _loss_of_blocks(
        self, coef: NDArray[np.float64], scale: float
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the sum of the losses and ``scale`` times its gradient, by BLAS."""
        cast = coef.astype(self.dtype, copy=False)
        gradient = np.zeros(self.shape)
        no_losses = np.empty(0, dtype=self.dtype)
        total = 0.0
        for rows in self._blocks():
            X = in_rows(self.X[rows], self.dtype)
            z = self._linear_map(X, cast)
            total += self.backend.softmax_loss(
                z, self.targets.rows(rows), no_losses, z, scale
            )
            self._pull_back(X, z, gradient)
        return total, gradient

    def curvature_at(
        self, coef: NDArray[np.float64]
    ) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return ``v -> H v`` with the Hessian at ``coef``.

        A product computes the logits again: to keep them takes n K numbers.
        """
        scale = 1.0 / self.targets.denominator
        cast = coef.astype(self.X.dtype, copy=False)
        mass, weight = mass_and_weight(self.targets)

        def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            direction = vector.astype(self.X.dtype, copy=False)
            result = np.zeros(self.shape)
            for rows in self._blocks():
                X = in_rows(self.X[rows], self.X.dtype)
                z = self._linear_map(X, cast)
                v = self._linear_map(X, direction)
                out = np.empty_like(z)
                of_rows = weight[rows] if weight.size else weight
                self.backend.softmax_curvature(z, mass[rows], of_rows, v, scale, out)
                self._pull_back(X, out, result)
            self._weights(result)[...] += self.ridge(self._weights(vector))
            return result

        return product


def relative(coef: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients of each class minus those of the first."""
    return coef[1:] - coef[0] if len(coef) > 1 else coef


def absolute(coef: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo `relative`; a constant over all classes, which changes no loss, goes.

    The ridge is least where the mean of the classes is 0.
    """
    if len(coef) == 1:
        return coef
    coef = np.vstack([np.zeros_like(coef[:1]), coef])
    return np.asarray(coef - coef.mean(axis=0))

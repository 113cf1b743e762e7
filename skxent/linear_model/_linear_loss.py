r"""The objective of softmax regression over row blocks of the data.

.. math::
    f(W, b) = \frac{1}{S} \sum_i s_i \ell_i(X_i W^T + b) + \frac{\lambda}{2} \|W\|^2

Conventions
-----------
n samples, p features, K classes. ``coef`` is (R, p) or, with an intercept in the last
column, (R, p + 1), float64. R is K, and 1 for two classes: the logits are then
``(0, x)``, whose softmax is the logistic function of ``x``. ``S`` is the denominator
of the targets.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import EncodedTargets, backend_for
from skxent.losses._targets import mass_and_weight

__all__ = ["LinearCrossEntropy"]

# Elements of a block of X: small enough to stay in the cache between the two products.
BLOCK_SIZE = 1 << 17
MIN_BLOCK_ROWS = 256


class LinearCrossEntropy:
    """Mean cross-entropy of a linear model plus a ridge, with its derivatives.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        float32 or float64, in any memory order. Products are computed in its dtype,
        sums over blocks in float64.
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
        X: NDArray[Any],
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
        self.backend = backend_for(X)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the coefficients."""
        n_outputs = 1 if self.n_classes == 2 else self.n_classes
        return n_outputs, self.X.shape[1] + self.fit_intercept

    def _blocks(self) -> Iterator[slice]:
        n, p = self.X.shape
        rows = max(MIN_BLOCK_ROWS, BLOCK_SIZE // max(1, p))
        for begin in range(0, n, rows):
            yield slice(begin, min(begin + rows, n))

    def _weights(self, coef: NDArray[np.float64]) -> NDArray[Any]:
        """Return ``W``, (R, p)."""
        return coef[:, : self.X.shape[1]]

    def _linear_map(self, rows: slice, coef: NDArray[Any]) -> NDArray[Any]:
        """Return the (rows, K) logits that ``coef`` gives."""
        p = self.X.shape[1]
        z = self.X[rows] @ coef[:, :p].T
        if self.fit_intercept:
            z += coef[:, p]
        if self.n_classes == 2:
            return np.hstack([np.zeros_like(z), z])
        return np.ascontiguousarray(z)

    def _pull_back(
        self, rows: slice, residual: NDArray[Any], gradient: NDArray[np.float64]
    ) -> None:
        """Add the gradient with respect to ``coef`` of a block of logits."""
        p = self.X.shape[1]
        if self.n_classes == 2:
            residual = residual[:, 1:]
        gradient[:, :p] += residual.T @ self.X[rows]
        if self.fit_intercept:
            gradient[:, p] += residual.sum(axis=0, dtype=np.float64)

    def value_and_gradient(
        self, coef: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the objective and its gradient; X is read once."""
        scale = 1.0 / self.targets.denominator
        cast = coef.astype(self.X.dtype, copy=False)
        gradient = np.zeros(self.shape)
        no_losses = np.empty(0, dtype=self.X.dtype)
        total = 0.0
        for rows in self._blocks():
            z = self._linear_map(rows, cast)
            total += self.backend.softmax_loss(
                z, self.targets.rows(rows), no_losses, z, scale
            )
            self._pull_back(rows, z, gradient)
        weights = self._weights(coef)
        self._weights(gradient)[...] += self.l2 * weights
        return total * scale + 0.5 * self.l2 * float(
            np.vdot(weights, weights)
        ), gradient

    def curvature_at(
        self, coef: NDArray[np.float64]
    ) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return ``v -> H v`` with the Hessian at ``coef``; keeps the logits."""
        scale = 1.0 / self.targets.denominator
        cast = coef.astype(self.X.dtype, copy=False)
        logits = [self._linear_map(rows, cast) for rows in self._blocks()]
        mass, weight = mass_and_weight(self.targets)

        def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            direction = vector.astype(self.X.dtype, copy=False)
            result = np.zeros(self.shape)
            for rows, z in zip(self._blocks(), logits, strict=True):
                v = self._linear_map(rows, direction)
                out = np.empty_like(z)
                of_rows = weight[rows] if weight.size else weight
                self.backend.softmax_curvature(z, mass[rows], of_rows, v, scale, out)
                self._pull_back(rows, out, result)
            self._weights(result)[...] += self.l2 * self._weights(vector)
            return result

        return product

"""Wide data as square data: the minimum lies in the space that the rows span.

With ``X = L Q``, Q of orthonormal rows, coefficients ``V Q`` give the logits ``L V^T``
and have the norm of V: the same problem with at most n features. L is the Cholesky
factor of ``X X^T`` with pivots, so linearly dependent rows are left out. Q itself is
never made: ``V Q = (L_1^{-T} V^T)^T X_1`` with the rows that the pivots chose.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skxent.backends._device_matrix import DeviceMatrix
from skxent.linear_model import _products
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.losses._targets import row_weights

__all__ = ["in_row_space"]

Coef = NDArray[np.float64]
Map = Callable[[Coef], Coef]

# A pivot below so much of the largest is rounding of the products.
LEAST_PIVOT = 1e-13


class _OnDevice:
    """The products of :mod:`._products`, with X on a device and results on the host."""

    @staticmethod
    def gram_of_rows(X: DeviceMatrix, _: Coef, dtype: np.dtype[Any]) -> NDArray[Any]:
        return (X @ X.T).astype(dtype, copy=False)

    @staticmethod
    def product_of_rows(X: DeviceMatrix, columns: NDArray[Any]) -> NDArray[Any]:
        return X @ columns

    @staticmethod
    def product_of_columns(left: NDArray[Any], X: DeviceMatrix) -> NDArray[Any]:
        return left.T @ X


def in_row_space(
    objective: LinearCrossEntropy,
) -> tuple[LinearCrossEntropy, Map, Map] | None:
    """Return the problem of at most n features; map coefficients there, and back.

    None if all rows are zero.
    """
    X, targets = objective.X, objective.targets
    weight = row_weights(targets)
    if weight.size and not weight.all():  # rows without weight need no feature
        kept = np.flatnonzero(weight)
        X, targets = X[kept], targets.rows(kept)
    by: Any = _OnDevice if isinstance(X, DeviceMatrix) else _products
    products = by.gram_of_rows(X, np.ones(len(X)), np.dtype(np.float64))
    largest = float(products.diagonal().max(initial=0.0))
    if not largest > 0:
        return None
    least = LEAST_PIVOT * largest
    factor, pivots, rank, _ = _products.beside(
        lambda: scipy.linalg.lapack.dpstrf(
            products.T, tol=least, lower=1, overwrite_a=True
        )
    )
    factor[~np.tri(len(X), dtype=bool)] = 0.0
    L = factor[:, :rank]  # rows in the order of the pivots
    order = pivots - 1
    chosen = order[:rank]
    reduced = LinearCrossEntropy(
        L.astype(X.dtype, copy=False),
        targets.rows(order),
        n_classes=objective.n_classes,
        fit_intercept=objective.fit_intercept,
        l2=objective.l2,
    )

    def there(coef: Coef) -> Coef:
        p = X.shape[1]
        if not coef.any():
            return np.zeros(reduced.shape)
        logits = by.product_of_rows(X, coef[:, :p].T)[chosen]
        shares = scipy.linalg.solve_triangular(
            L[:rank], logits, lower=True, check_finite=False
        )
        return np.hstack([shares.T, coef[:, p:]])

    def back(coef: Coef) -> Coef:
        shares = scipy.linalg.solve_triangular(
            L[:rank], coef[:, :rank].T, trans=1, lower=True, check_finite=False
        )
        weights = np.zeros((len(X), len(coef)))
        weights[chosen] = shares
        return np.hstack([by.product_of_columns(weights, X), coef[:, rank:]])

    return reduced, there, back

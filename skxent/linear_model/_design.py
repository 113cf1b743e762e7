"""Data of elastic nets in the space of the rows: products, and copies of columns.

A dense matrix answers what `skxent.linear_model._sparse_loss.SparseDesign` answers of a
sparse one.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skxent.linear_model._products import (
    multiply,
    product_of_columns,
    product_of_rows,
)

if TYPE_CHECKING:
    from skxent.linear_model._sparse_loss import SparseDesign

__all__ = ["ColumnsDesign", "DenseDesign", "Design", "design_of"]

Design: TypeAlias = "ColumnsDesign | DenseDesign | SparseDesign"


class DenseDesign:
    """A dense matrix (n, p), and the products with it."""

    def __init__(self, X: NDArray[Any]) -> None:
        self.X = X

    def product(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return ``X @ weights``, in the dtype of X."""
        return product_of_rows(self.X, weights.astype(self.X.dtype, copy=False))

    def pull_back(self, residual: NDArray[Any]) -> NDArray[np.float64]:
        """Return ``X.T @ residual``."""
        residual = residual.astype(self.X.dtype, copy=False)
        return np.ascontiguousarray(product_of_columns(residual, self.X).T)

    def columns(
        self, places: NDArray[np.intp]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return a copy of some columns, as of CSC whose indices nobody has to read."""
        lines = np.ascontiguousarray(self.X[:, places].T)
        starts = np.arange(len(places) + 1, dtype=np.int64) * self.X.shape[0]
        return lines.ravel(), np.empty(0, np.int64), starts


class ColumnsDesign:
    """Dense columns one behind the other: the products that `DenseDesign` has.

    The planes of classes that they read and write are contiguous.
    """

    def __init__(self, columns: NDArray[Any]) -> None:
        self._columns = columns

    def product(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of the columns with weights."""
        return multiply(weights.T, self._columns).T

    def pull_back(self, residual: NDArray[Any]) -> NDArray[Any]:
        """Return the products of each column with residuals."""
        return multiply(self._columns, residual)


def design_of(X: Any) -> Design:
    """Return the products with a matrix; those of a sparse one bring the kernels."""
    if not scipy.sparse.issparse(X):
        return DenseDesign(X)
    from skxent.linear_model._sparse_loss import SparseDesign

    return SparseDesign(X)

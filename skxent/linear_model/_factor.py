"""Cholesky factors of positive semidefinite matrices, in the memory of the matrix."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._products import cho_factor, cho_solve, mirror

__all__ = ["Factor"]

Matrix = NDArray[np.float64]

# Added to a unit diagonal, one after the other where that was too little.
ADDED = (1e-12, 1e-9, 1e-6, 1e-3, 1.0)


class Factor:
    """The inverse of a matrix, of which the part above the diagonal is read and stays.

    It is scaled to a unit diagonal and factored below that. Where numbers have
    overflown it is the identity.

    Parameters
    ----------
    matrix : ndarray of shape (d, d)
        float32 or float64, in C order.
    diagonal : ndarray of shape (d,), default=None
        The diagonal, if it is not that of `matrix`.
    share : ndarray of shape (d,), default=None
        Row and column of the matrix are to be multiplied with, but for the diagonal.
    """

    def __init__(
        self,
        matrix: NDArray[Any],
        diagonal: Matrix | None = None,
        share: Matrix | None = None,
    ) -> None:
        diagonal = matrix.diagonal().copy() if diagonal is None else diagonal
        self.scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        self.matrix = matrix
        total = 1.0
        for added in ADDED:
            total += added
            if matrix.dtype.type(total) == 1.0:
                continue
            mirror(matrix, self.scale if share is None else self.scale * share)
            np.fill_diagonal(matrix, total)
            try:
                cho_factor(matrix)
            except np.linalg.LinAlgError:
                continue
            return
        self.scale = np.ones_like(self.scale)
        np.fill_diagonal(matrix, 1.0)
        matrix[np.tri(len(matrix), k=-1, dtype=bool)] = 0.0

    def solve(self, columns: Matrix) -> Matrix:
        """Return the inverse times vectors (d,) or (d, c)."""
        scale = self.scale.reshape(-1, *[1] * (columns.ndim - 1))
        return cho_solve(self.matrix, columns * scale) * scale

"""Centred columns: their means, and coefficients of columns minus their means."""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skxent.backends import EncodedTargets
from skxent.linear_model._row_masses import pulls

__all__ = ["Centring", "dense", "means", "sliceable"]

Matrix = NDArray[np.float64]

# Elements of the rows that are worked on at a time; rows that tell the means well.
BLOCK_SIZE = 1 << 16
ROWS_OF_MEANS = 5000


def sliceable(X: Any) -> Any:
    """Return data of which rows can be sliced one block after another."""
    return X.tocsr() if scipy.sparse.issparse(X) else X


def dense(rows: Any) -> NDArray[Any]:
    """Return rows of an array, of a sparse matrix or of one on a device."""
    return np.asarray(rows.toarray() if scipy.sparse.issparse(rows) else rows)


def means(X: Any, targets: EncodedTargets) -> Matrix:
    """Return weighted means of the columns, of some thousand rows."""
    n, p = X.shape
    step = max(1, n // ROWS_OF_MEANS)
    block = step * max(1, BLOCK_SIZE // max(1, p))
    lines = sliceable(X)
    total, weight = np.zeros(p), 0.0
    low, high = np.full(p, np.inf), np.full(p, -np.inf)
    for begin in range(0, n, block):
        places = slice(begin, begin + block, step)
        share = pulls(targets.rows(places))
        some = dense(lines[places])[share > 0]
        share = share[share > 0]
        low = np.minimum(low, some.min(axis=0, initial=np.inf))
        high = np.maximum(high, some.max(axis=0, initial=-np.inf))
        # in one order of addition, whatever the layout
        weighted = np.multiply(some, share[:, np.newaxis], order="C")
        total += weighted.sum(axis=0)
        weight += float(share.sum())
    # a mean of equal numbers is off by rounding, which would be scaled up
    return np.where(low == high, low, total / (weight or 1.0))


class Centring:
    """Columns minus their means over some rows, where there is an intercept.

    The coefficients of ``x - m`` are those of x, and its intercept is ``b + <m, w>``.
    """

    def __init__(self, centre: Matrix | None) -> None:
        self.centre = centre

    def coef(self, coef: Matrix) -> Matrix:
        """Return the coefficients of centred columns."""
        if self.centre is None:
            return coef
        weights, intercepts = coef[:, :-1], coef[:, -1:]
        return np.hstack([weights, intercepts + weights @ self.centre[:, None]])

    def gradient(self, gradient: Matrix) -> Matrix:
        """Return a gradient, or a stack of them, with respect to those."""
        if self.centre is not None:
            gradient = gradient.copy()
            gradient[..., :-1] -= gradient[..., -1:] * self.centre
        return gradient

    def back(self, coef: Matrix) -> Matrix:
        """Undo :meth:`coef`, of one or of a stack, in its memory."""
        if self.centre is not None:
            coef[..., -1] -= coef[..., :-1] @ self.centre
        return coef

"""Newton steps without a Hessian: conjugate gradients on products with it."""

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._linear_loss import LinearCrossEntropy

__all__ = ["TruncatedNewton"]

Coef = NDArray[np.float64]

# Share of the gradient that may be left, at most; then its square root once that is
# less, which makes the steps converge superlinearly.
LARGEST_SHARE = 0.1
MOST_PRODUCTS = 200


class TruncatedNewton:
    """The inverse of a Hessian, to the precision that its gradient deserves.

    R. S. Dembo, S. C. Eisenstat, T. Steihaug, "Inexact Newton Methods", SIAM Journal
    on Numerical Analysis 19, 1982: the forcing term.
    """

    scaled = True

    def __init__(self, objective: LinearCrossEntropy, coef: Coef) -> None:
        self.product = objective.curvature_at(coef)

    def solve(self, gradient: Coef) -> Coef:
        """Return the inverse times a gradient."""
        norm = float(np.linalg.norm(gradient))
        limit = norm * min(LARGEST_SHARE, norm**0.5)
        solved = np.zeros_like(gradient)
        residual = gradient.copy()
        direction = residual
        square = norm**2
        for _ in range(MOST_PRODUCTS):
            if not square**0.5 > limit:
                break
            curved = self.product(direction)
            curvature = float(np.vdot(direction, curved))
            if not curvature > 0:  # rounding
                break
            step = square / curvature
            solved += step * direction
            residual -= step * curved
            last, square = square, float(np.vdot(residual, residual))
            direction = residual + square / last * direction
        return solved if solved.any() else gradient.copy()

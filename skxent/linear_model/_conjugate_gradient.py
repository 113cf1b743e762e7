"""Newton steps without a Hessian: conjugate gradients on products with it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._linear_loss import LinearCrossEntropy

__all__ = ["TruncatedNewton", "conjugate_gradients"]

Coef = NDArray[np.float64]

# Share of the gradient that may be left, at most; then its square root once that is
# less, which makes the steps converge superlinearly.
LARGEST_SHARE = 0.1
MOST_PRODUCTS = 200


def conjugate_gradients(
    product: Callable[[Coef], Coef],
    gradient: Coef,
    precondition: Callable[[Coef], Coef],
    enough: Callable[[int, float, float, Coef], bool],
) -> Coef:
    """Return about the inverse of a Hessian times a gradient.

    ``enough(n_products, latest, decrease, residual)`` says when to stop: by what the
    last step and all of them would lower the objective, and by the gradient that they
    would leave.
    """
    solved = np.zeros_like(gradient)
    residual = gradient.copy()
    direction = precondition(residual)
    square = float(np.vdot(residual, direction))
    decrease = 0.0
    for n_products in range(1, MOST_PRODUCTS + 1):
        curved = product(direction)
        curvature = float(np.vdot(direction, curved))
        if not (curvature > 0 and square > 0):  # rounding
            break
        step = square / curvature
        solved += step * direction
        residual -= step * curved
        latest = 0.5 * step * square
        decrease += latest
        if enough(n_products, latest, decrease, residual):
            break
        conditioned = precondition(residual)
        last, square = square, float(np.vdot(residual, conditioned))
        direction = conditioned + square / last * direction
    return solved


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

        def enough(n: int, latest: float, decrease: float, residual: Coef) -> bool:
            return bool(np.linalg.norm(residual) <= limit)

        solved = conjugate_gradients(self.product, gradient, np.copy, enough)
        return solved if solved.any() else gradient.copy()

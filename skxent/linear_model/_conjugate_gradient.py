"""Newton steps without a Hessian: conjugate gradients on products with it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._preconditioners import DiagonalCurvature

__all__ = ["MOST_ROUNDING", "SHARE_LEFT", "TruncatedNewton", "conjugate_gradients"]

Coef = NDArray[np.float64]

# Share of the gradient that may be left, at most; then its square root once that is
# less, which makes the steps converge superlinearly.
LARGEST_SHARE = 0.1
# Of the decrease of a step, what may be left: terms fall, and as many more as there
# were bound it.
SHARE_LEFT = 0.1
MOST_PRODUCTS = 200
MOST_ROUNDING = 10.0  # times that of a number


def conjugate_gradients(
    product: Callable[[Coef], Coef],
    gradient: Coef,
    precondition: Callable[[Coef], Coef],
    enough: Callable[[int, float, float, Coef], bool],
    rounding: float,
) -> Coef:
    """Return about the inverse of a Hessian times a gradient.

    ``enough(n_products, latest, decrease, residual)`` says when to stop: by what the
    last step and all of them would lower the objective, and by the gradient that they
    would leave. What is left of it by the relative ``rounding`` of products has no
    meaning: where the Hessian is singular, it would make steps of any length.
    """
    solved = np.zeros_like(gradient)
    residual = gradient.copy()
    direction = precondition(residual)
    square = float(np.vdot(residual, direction))
    least = rounding**2 * square
    decrease = 0.0
    for n_products in range(1, MOST_PRODUCTS + 1):
        curved = product(direction)
        curvature = float(np.vdot(direction, curved))
        if not (curvature > 0 and square > least):
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
    on Numerical Analysis 19, 1982: the forcing term. Lengths are those of the diagonal
    curvature, which is the preconditioner as well.
    """

    scaled = True

    def __init__(self, objective: LinearCrossEntropy, coef: Coef) -> None:
        self.product = objective.curvature_at(coef)
        self.rounding = MOST_ROUNDING * float(np.finfo(objective.dtype).eps)
        self.diagonal = DiagonalCurvature(objective, coef)

    def solve(self, gradient: Coef) -> Coef:
        """Return the inverse times a gradient."""
        conditioned = self.diagonal.solve(gradient)
        square = float(np.vdot(gradient, conditioned))
        limit = square * min(LARGEST_SHARE**2, square**0.5)

        def enough(n: int, latest: float, decrease: float, residual: Coef) -> bool:
            left = float(np.vdot(residual, self.diagonal.solve(residual)))
            return left <= limit and n * latest <= SHARE_LEFT * decrease

        solved = conjugate_gradients(
            self.product, gradient, self.diagonal.solve, enough, self.rounding
        )
        return solved if solved.any() else conditioned

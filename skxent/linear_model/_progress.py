"""What proximal Newton solvers record, and how they end.

The estimate of the suboptimality at a point is what the next step is predicted to gain:
by how much its quadratic model and the penalty were lowered together. Near the minimum,
with the exact curvature and a model that is solved, that is the suboptimality itself.
The entry of the last point repeats that of the step that led there, an upper estimate.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._solvers import (
    LEAST_VALUE,
    Settings,
    SolverResult,
    SolverStatus,
)
from skxent.linear_model._trace import Trace

__all__ = ["LONGEST_SEARCH", "Progress", "is_enough"]

Coef = NDArray[np.float64]

# Armijo's condition: the share of the predicted gain that a step must keep.
SUFFICIENT = 1e-4
LONGEST_SEARCH = 30


def is_enough(value: float, before: float, step: float, gain: float) -> bool:
    """Return whether a share ``step`` of a step is worth taking."""
    return value <= before - SUFFICIENT * step * gain


class Progress:
    """The objective at the start and after each step, and the gains predicted."""

    def __init__(self, value: float, settings: Settings) -> None:
        self.trace = Trace(settings)
        self.settings = settings
        self.value = value
        self.gain = np.inf

    @property
    def is_over(self) -> bool:
        """Whether all iterations are used up."""
        return len(self.trace.values) >= self.settings.max_iter

    @property
    def allowed(self) -> float:
        """By how much the objective may be off."""
        return self.settings.allowed(self.value)

    def add(self, value: float, gain: float) -> None:
        """Record a step."""
        self.trace.add(self.value, gain)
        self.value, self.gain = value, gain

    def is_stopped(self, coef: Callable[[], Coef]) -> bool:
        """Return whether the caller wants no more steps."""
        return self.settings.stop is not None and self.settings.stop(coef())

    def status_without_step(self, gain: float, noise: float) -> SolverStatus:
        """Return how it ends where no step lowers the objective.

        ``noise`` is the relative rounding error of a value.
        """
        if gain <= noise * max(abs(self.value), LEAST_VALUE):
            return SolverStatus.CONVERGED
        return SolverStatus.LINE_SEARCH

    def result(self, coef: Coef, status: SolverStatus) -> SolverResult:
        """Return the record of the solver."""
        self.trace.add(self.value, self.gain)
        return self.trace.result(coef, status)

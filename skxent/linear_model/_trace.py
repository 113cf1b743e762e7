"""The history that every solver keeps, and what it tells of the rest."""

import math

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus

__all__ = ["Trace", "remaining"]

TINY = 1e-300
# Rates are those between the means of so many decreases, and this at most.
WINDOW = 3
LARGEST_LOG_RATE = math.log(0.95)


class Trace:
    """The objective and the estimated relative suboptimality of every iterate."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.values: list[float] = []
        self.estimates: list[float] = []

    @property
    def n_iter(self) -> int:
        """Number of iterations, of which the first iterate is none."""
        return len(self.values) - 1

    def add(self, value: float, distance: float) -> None:
        """Note an iterate that is a distance above the minimum."""
        self.values.append(value)
        self.estimates.append(distance / max(abs(value), TINY))
        if self.settings.report is not None:
            self.settings.report(self.n_iter, value, self.estimates[-1])

    def forget(self) -> None:
        """Drop the last iterate, which will be noted again."""
        del self.values[-1], self.estimates[-1]

    def result(self, coef: NDArray[np.float64], status: SolverStatus) -> SolverResult:
        """Return what a solver that ended at the last iterate returns."""
        history = {
            "loss": np.array(self.values),
            "suboptimality": np.array(self.estimates),
        }
        return SolverResult(coef, self.values[-1], self.n_iter, status, history)


def remaining(decreases: list[float]) -> float:
    """Return the sum of the decreases to come, if their rate stays what it is."""
    length = min(WINDOW, len(decreases) // 2)
    if not length:
        return decreases[-1]
    # on floats: numpy takes longer for so few numbers
    logs = [math.log(min(max(d, TINY), 1 / TINY)) for d in decreases[-2 * length :]]
    last, before = sum(logs[length:]) / length, sum(logs[:length]) / length
    rate = math.exp(min((last - before) / length, LARGEST_LOG_RATE))
    latest: float = math.exp(last) * rate ** ((length - 1) / 2)
    return max(decreases[-1], latest) / (1.0 - rate)

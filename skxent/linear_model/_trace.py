"""The history that every solver keeps."""

import numpy as np
from numpy.typing import NDArray

from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus

__all__ = ["Trace"]

TINY = 1e-300


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

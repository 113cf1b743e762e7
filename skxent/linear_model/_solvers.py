"""What every solver takes and returns, and how it says that it ended."""

import enum
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_VALUE", "Settings", "SolverResult", "SolverStatus"]


class SolverStatus(enum.Enum):
    """How a solver ended; the value says what to do about it."""

    CONVERGED = "Converged."
    MAX_ITER = "Increase max_iter, or regularise more with a smaller C."
    LINE_SEARCH = (
        "The objective could not be lowered any further in floating-point numbers. "
        "Loosen tol, standardise the features (sklearn.preprocessing.StandardScaler), "
        "or pass float64 data."
    )


# What the losses of separable classes without a penalty may fall to, on and on.
LEAST_VALUE = 1e-6


class Settings(NamedTuple):
    """What ends a search, and who is told of it."""

    tol: float  # square root of the relative suboptimality to reach
    max_iter: int
    stop: Callable[[NDArray[np.float64]], bool] | None = None  # asked each iteration
    # told each iterate's number, objective and relative suboptimality
    report: Callable[[int, float, float], None] | None = None

    def allowed(self, value: float) -> float:
        """Return by how much an objective of some value may be off."""
        return self.tol**2 * max(abs(value), LEAST_VALUE)

    def seen_through(
        self, back: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> "Settings":
        """Return those of a problem whose points ``back`` turns into coefficients."""
        stop = self.stop
        if stop is None:
            return self
        return self._replace(stop=lambda point: stop(back(point)))

    def after(self, n_iter: int) -> "Settings":
        """Return those of a search that goes on after some iterations."""
        told = self.report

        def report(n: int, value: float, estimate: float) -> None:
            if told is not None and n > 0:  # where it begins is known
                told(n_iter + n, value, estimate)

        return self._replace(max_iter=self.max_iter - n_iter, report=report)


class SolverResult(NamedTuple):
    """Where a solver ended."""

    coef: NDArray[np.float64]
    value: float
    n_iter: int
    status: SolverStatus
    # one entry per iteration, the start first: "loss", the objective, and
    # "suboptimality", the estimate of (f - f*) / f
    history: dict[str, NDArray[np.float64]]

    def followed_by(self, other: "SolverResult") -> "SolverResult":
        """Return the result of a search that went on from where this one ended."""
        history = {
            name: np.concatenate([values, other.history[name][1:]])
            for name, values in self.history.items()
        }
        return other._replace(n_iter=self.n_iter + other.n_iter, history=history)

"""The history of a solver that goes through several methods."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Trace"]

TINY = 1e-300


class Trace:
    """The objective and the estimated suboptimality of every iterate."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.estimates: list[float] = []

    def add(self, value: float, distance: float) -> None:
        """Note an iterate that is a distance above the minimum."""
        self.values.append(value)
        self.estimates.append(distance / max(abs(value), TINY))

    def forget(self) -> None:
        """Drop the last iterate, which will be noted again."""
        del self.values[-1], self.estimates[-1]

    def history(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays of a solver's result."""
        return {
            "loss": np.array(self.values),
            "suboptimality": np.array(self.estimates),
        }

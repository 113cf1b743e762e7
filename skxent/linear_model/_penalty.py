r"""The penalty of the elastic net.

.. math::
    \Omega(W) = \lambda_1 \|W\|_1 + \frac{\lambda_2}{2} \|W\|_2^2

Conventions
-----------
p features, R classes; ``weights`` and the gradient of the data term are (p, R).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.backends._threads import LAUNCH_SIZE

__all__ = ["ElasticNet", "descend", "scratch"]

Matrix = NDArray[np.float64]


class ElasticNet(NamedTuple):
    """The factors of the penalty."""

    l1: float
    l2: float

    def value(self, weights: Matrix) -> float:
        """Return the penalty."""
        weights = weights[weights != 0.0]  # often few
        return float(
            self.l1 * np.abs(weights).sum() + 0.5 * self.l2 * np.vdot(weights, weights)
        )

    def shift(self, weights: Matrix) -> float:
        """Shift each feature's weights for the least penalty; return what that gains.

        A shift of all classes alike changes no loss; there is none for a single row.
        """
        from skxent.kernels import _coordinate_descent as kernels

        if weights.shape[1] == 1:
            return 0.0
        return float(kernels.shift_features(weights, *self, scratch(weights)))


def descend(kernel: Any, *args: Any, allowed: float = 0.0) -> tuple[float, int]:
    """Let a kernel of coordinate descent do its sweeps; return the gain, how many.

    What the objective may be off by counts as gained before them: sweeps end when one
    gains little beside it, too.
    """
    state = np.array([0.0, 0.0, 1.0, 0.0, allowed])  # at the first place, everywhere
    while not kernel(*args, state, LAUNCH_SIZE):
        pass  # Python looks for Ctrl-C
    return float(state[-1]) - allowed, int(state[0])


def scratch(weights: Matrix) -> Any:
    """Return what the kernels sort the weights of a feature in."""
    return np.empty(2 * weights.shape[1] + 1)

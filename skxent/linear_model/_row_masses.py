"""What each row adds to the denominator of encoded targets."""

import numpy as np
from numpy.typing import NDArray

from skxent.backends import EncodedTargets
from skxent.losses._targets import mass_and_weight

__all__ = ["pulls", "row_masses"]


def pulls(targets: EncodedTargets) -> NDArray[np.float64]:
    """Return the weight times the target mass of each row, which scales its loss."""
    mass, row_weight = mass_and_weight(targets)
    return mass * row_weight if row_weight.size else mass


def row_masses(targets: EncodedTargets) -> NDArray[np.float64]:
    """Return the share of each row in the denominator, in proportion to its pull."""
    pull = pulls(targets)
    total = pull.sum()
    return pull * (targets.denominator / total) if total > 0 else pull

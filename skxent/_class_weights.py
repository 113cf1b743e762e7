"""Weights of classes by their labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["weights_by_label"]


def weights_by_label(
    class_weight: dict[Any, Any], classes: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the weight of each class, 1 for those that the dict lacks.

    As scikit-learn's ``compute_class_weight``, which in 1.9 looks labels up by their
    integer part: 1.5 as 1, and "1" as 1.

    Raises
    ------
    ValueError
        If the dict has other labels than the classes, and classes without a weight.
    """
    weights = [class_weight.get(label, 1.0) for label in classes]
    lacking = [label for label in classes if label not in class_weight]
    if lacking and len(classes) - len(lacking) != len(class_weight):
        shown = np.array(lacking).tolist()
        raise ValueError(
            f"The classes, {shown}, are not in class_weight, which must have the "
            f"labels of classes as keys; got {list(class_weight)!r}."
        )
    return np.array(weights, dtype=np.float64)

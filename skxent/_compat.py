"""What differs between the versions of scikit-learn that are supported."""

from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

__all__ = ["class_weights"]


def class_weights(
    class_weight: Any,
    *,
    classes: NDArray[Any],
    y: NDArray[Any],
    sample_weight: NDArray[Any] | None,
) -> NDArray[np.float64]:
    """Return one weight per class; "balanced" counts samples by weight since 1.7."""
    options: dict[str, Any] = {}
    if "sample_weight" in signature(compute_class_weight).parameters:
        options["sample_weight"] = sample_weight
    weights = compute_class_weight(class_weight, classes=classes, y=y, **options)
    return np.asarray(weights, dtype=np.float64)

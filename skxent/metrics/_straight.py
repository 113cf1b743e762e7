"""The sum of the losses of right arguments of the usual types, in one pass over them.

Whatever is unusual or wrong gets None for an answer: the caller then takes the way that
knows all types and all messages. There is nothing to repair here, so what is doubtful
may be found late, by a loss that is nan or a sum of a row that is not 1.

Conventions
-----------
n samples, K classes. Probabilities are (n, K), float32 or float64, C-contiguous.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.backends import backend_for
from skxent.metrics._blocks import blocks_of, eps_of, most_distance
from skxent.metrics._codes import Table, find_table
from skxent.metrics._predictions import are_integral

__all__ = ["Sums", "class_weights", "straight_sums"]

COMPUTED = (np.dtype(np.float64), np.dtype(np.float32))
NO_ROWS = np.empty(0)


class Sums(NamedTuple):
    """What a metric is made of."""

    loss: float
    weight: float
    table: Table
    sample_weight: NDArray[np.float64]  # (n,), or (0,) for ones


def straight_sums(
    y_true: Any, y_proba: Any, sample_weight: Any, labels: Any, *, clips: bool
) -> Sums | None:
    """Return the sums for probabilities, None for what needs a closer look.

    ``clips`` stands for all that is scikit-learn's: it limits probabilities, has none
    just above 1, and takes fractions for no classes.
    """
    rows = y_proba
    if (
        type(rows) not in (np.ndarray, np.memmap)
        or rows.dtype not in COMPUTED
        or rows.ndim != 2
        or rows.shape[1] < 2
        or not rows.flags.c_contiguous
    ):
        return None
    weight, total_weight = NO_ROWS, float(len(rows))
    if sample_weight is not None:
        weight = sample_weight
        if not _are_weights(weight, len(rows)):
            return None
        total_weight = float(weight.sum())
        if not math.isfinite(total_weight) or total_weight == 0:
            return None
    table = find_table(y_true, labels, rows.shape[1])
    if table is None or len(table.labels) != len(rows):
        return None
    if clips and not are_integral(table.classes):
        return None
    eps = eps_of(rows.dtype)
    limits = (1.0, eps, 1.0 - eps) if clips else (1.0 + eps**0.5, -math.inf, math.inf)
    loss, worst = backend_for(rows).checked_log_loss(
        rows, table.labels, table.least, table.codes, weight, *limits
    )
    if not worst <= most_distance(rows) or math.isnan(loss):
        return None
    return Sums(loss, total_weight, table, weight)


def _are_weights(weight: Any, size: int) -> bool:
    """Return whether there is one float64 number for each sample."""
    return (
        type(weight) in (np.ndarray, np.memmap)
        and weight.dtype == np.float64
        and weight.shape == (size,)
    )


def class_weights(sums: Sums) -> NDArray[np.float64]:
    """Return how often each class occurs, weighted or not."""
    labels, least, codes, classes = sums.table
    size = codes.size or len(classes)
    totals = np.zeros(size)
    for block in blocks_of(len(labels)):
        places = labels[block].astype(np.int64, copy=False) - least
        weight = sums.sample_weight[block] if sums.sample_weight.size else None
        totals += np.bincount(places, weight, size)
    if not codes.size:
        return totals
    of_classes = np.zeros(len(classes))
    of_classes[codes[codes >= 0]] = totals[codes >= 0]
    return of_classes

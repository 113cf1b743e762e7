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
from skxent.backends._device_arrays import is_on_device
from skxent.metrics._blocks import blocks_of, eps_of, most_distance
from skxent.metrics._codes import Table, find_table
from skxent.metrics._device import dtype_on_device, log_loss_on_device
from skxent.metrics._encoding import fractions_among

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

    ``clips`` stands for all that is scikit-learn's: it limits probabilities, and has
    none just above 1.
    """
    there = is_on_device(y_proba)
    rows = y_proba
    dtype = dtype_on_device(rows) if there else _dtype_of_plain(rows)
    if dtype is None:
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
    if fractions_among(table.classes):
        return None
    eps = eps_of(dtype)
    limits = (1.0, eps, 1.0 - eps) if clips else (1.0 + eps**0.5, -math.inf, math.inf)
    if there:
        found = log_loss_on_device(rows, _codes(table), weight, *limits)
        return None if found is None else Sums(found, total_weight, table, weight)
    loss, worst = backend_for(rows).checked_log_loss(
        rows, table.labels, table.least, table.codes, weight, *limits
    )
    if not worst <= most_distance(rows) or math.isnan(loss):
        return None
    return Sums(loss, total_weight, table, weight)


def _dtype_of_plain(rows: Any) -> np.dtype[Any] | None:
    """Return the dtype of rows that the kernel takes as they are, else None."""
    is_plain = (
        type(rows) in (np.ndarray, np.memmap)
        and rows.dtype in COMPUTED
        and rows.ndim == 2
        and rows.shape[1] >= 2
        and rows.flags.c_contiguous
    )
    return rows.dtype if is_plain else None


def _codes(table: Table) -> NDArray[Any]:
    """Return the class index of each label, -1 for those of no class."""
    labels, least, codes, _ = table
    places = labels.astype(np.int64) - least
    return codes[places] if codes.size else places


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

"""Metrics over blocks of rows, so that no copy is larger than a block.

Conventions
-----------
n samples, K classes. Probabilities are (n, K), or (n,) or (n, 1) for the second of two
classes, float64, float32 or float16.
"""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import backend_for
from skxent.losses._call import prepare, value
from skxent.losses._validation import to_array

__all__ = [
    "IGNORED",
    "blocks_of",
    "class_totals",
    "eps_of",
    "holds_distributions",
    "most_distance",
    "n_columns_of",
    "sums_of_losses",
    "two_columns",
]

IGNORED = -100  # the class index of rows that are left out

# Of a large array a 48th is copied at once, of two columns made of one a 16th.
N_BLOCKS = 48
# Codes become int64 in blocks of 2 % of the size of the scores. Each is a launch of all
# threads, which should be few.
SHARE_OF_TARGET = 0.02
LEAST_ROWS = 4096  # blocks of fewer rows are calls more than work


def blocks_of(
    n_rows: int, n_blocks: int = N_BLOCKS, least_rows: int = LEAST_ROWS
) -> Iterator[slice]:
    """Yield the blocks of rows; they depend on the number of rows alone."""
    size = max(least_rows, -(-n_rows // n_blocks))
    for begin in range(0, n_rows, size):
        yield slice(begin, min(begin + size, n_rows))


@cache
def eps_of(dtype: np.dtype[Any]) -> float:
    """Return the machine precision of a dtype; numpy takes longer than a small loss."""
    return float(np.finfo(dtype).eps)


def n_columns_of(scores: NDArray[Any]) -> int:
    """Return the number of classes that the scores are of."""
    return 2 if scores.ndim == 1 else max(2, scores.shape[1])


def two_columns(scores: NDArray[Any], from_logits: bool) -> NDArray[Any]:
    """Return (n, 2) scores for those of the second class alone, (n,) or (n, 1)."""
    if scores.ndim == 2 and scores.shape[1] != 1:
        return scores
    scores = scores.reshape(-1, 1)
    if from_logits:
        return np.hstack([np.zeros_like(scores), scores])
    # a probability may be above 1 by rounding
    return np.hstack([np.maximum(0, 1 - scores), scores])


def log_columns(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return (n, 2) logarithms for the probabilities of the second class alone.

    Of a tiny probability ``1 - p`` keeps few digits or none, and its logarithm all.
    """
    p = scores.reshape(-1, 1).astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.hstack([np.log1p(-np.minimum(p, 1.0)), np.log(p)])


def holds_distributions(rows: NDArray[Any], most: float = 1.0) -> bool:
    """Return whether all is in ``[0, most]`` and rows sum to 1; no in case of doubt.

    What scikit-learn finds by sums in the dtype of the rows, with rounding errors of
    their own, is not doubted where the distance from 1 leaves room for those.
    """
    if rows.ndim == 1 or rows.shape[1] == 1:
        return bool(rows.min() >= 0 and rows.max() <= most)  # nan is neither
    most_off = most_distance(rows)
    worst_row_sum = backend_for(rows).worst_row_sum
    if rows.flags.c_contiguous and rows.dtype != np.float16:
        return bool(worst_row_sum(rows, most) <= most_off)
    kind = np.float32 if rows.dtype == np.float16 else rows.dtype
    return all(
        worst_row_sum(rows[block].astype(kind, copy=False), most) <= most_off
        for block in blocks_of(len(rows))
    )


def most_distance(rows: NDArray[Any]) -> float:
    """Return how far from 1 sums of rows may be without a doubt."""
    n_classes = rows.shape[1]
    eps = eps_of(rows.dtype)
    # numpy adds in pairs what lies side by side
    rounding = eps * (min(n_classes, 64) if rows.flags.c_contiguous else n_classes)
    return float(eps**0.5 - rounding)


def class_totals(
    target: NDArray[Any], n_classes: int, sample_weight: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return how often each class occurs, weighted or not, in the rows not ignored."""
    totals = np.zeros(n_classes, dtype=np.intp if sample_weight is None else np.float64)
    for block in blocks_of(len(target)):
        part = target[block].astype(np.int64, copy=False)
        kept = part != IGNORED
        weight = None if sample_weight is None else sample_weight[block][kept]
        totals += np.bincount(part[kept], weight, n_classes)
    return totals


def _blocks_to_copy(
    scores: NDArray[Any], target: NDArray[Any], sample_weight: Any
) -> list[slice]:
    """Return the blocks of rows of which the kernels need a copy, one for all if not.

    All rows as well where the weights have a shape that will be refused.
    """
    in_place = (
        scores.ndim == 2
        and scores.shape[1] > 1
        and scores.dtype != np.float16
        and (scores.flags.c_contiguous or scores.flags.f_contiguous)
    )
    dtype = np.int64 if target.ndim == 1 else scores.dtype
    if np.ndim(sample_weight) > 1 or (in_place and target.dtype == dtype):
        return [slice(None)]
    if in_place and scores.flags.c_contiguous and target.ndim == 1:
        n_blocks = 8 * len(scores) / (SHARE_OF_TARGET * scores.nbytes)
        return list(blocks_of(len(scores), math.ceil(n_blocks)))
    return list(blocks_of(len(scores)))


def sums_of_losses(
    scores: NDArray[Any],
    target: NDArray[Any],
    sample_weight: Any,
    *,
    from_logits: bool = False,
    low: float = -np.inf,
    high: float = np.inf,
    class_weight: NDArray[np.float64] | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, float]:
    """Return the sum of the losses and what their mean divides it by.

    ``target`` holds class indices (n,) of any integer dtype, or probabilities.
    """
    if sample_weight is not None:
        sample_weight = to_array(sample_weight, "sample_weight")
    is_clipped = low > -np.inf
    is_exact = scores[:1].size == 1 and not from_logits and not is_clipped
    total = denominator = 0.0
    for block in _blocks_to_copy(scores, target, sample_weight):
        part = target[block]
        if is_exact:
            columns = log_columns(scores[block])
        else:
            columns = two_columns(scores[block], from_logits)
        call = prepare(
            columns,
            part.astype(columns.dtype, copy=False) if part.ndim == 2 else part,
            class_weight,
            IGNORED,
            "sum",
            label_smoothing,
            from_logits or is_exact,
            None,
            None if sample_weight is None else sample_weight[block],
        )._replace(dtype=np.dtype(np.float64))
        total += float(value(call, low, high))
        denominator += call.targets.denominator
    return total, denominator

"""Targets and options folded into what the kernels know: mass and target.

``t_ik = w_k ((1 - e) q_ik + e / K)`` with class weights ``w``, smoothing ``e``, K
classes and target ``q`` becomes ``on_value_k q_ik + off_value_k``; ``sample_weight``
becomes one weight per row, and rows with ``ignore_index`` weigh 0. The rule is that of
``torch.nn.CrossEntropyLoss``.
"""

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import NO_INDEX, EncodedTargets, backend_for
from skxent.backends._blas import one_blas_thread
from skxent.losses import _validation as check

__all__ = [
    "encode_targets",
    "is_far_number",
    "kept_values",
    "mass_and_weight",
    "need_float64",
    "row_shares",
    "row_weights",
    "weighted_values",
]

_Values = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

NO_ROWS = np.empty(0)
MOST_KEPT_CLASSES = 1 << 18  # 4 MiB, which take 0.5 ms to make anew
FLOAT64 = np.dtype(np.float64)
SMALLEST, LARGEST = 2.0**-100, 2.0**100  # weights that leave float32 room
FEW_WEIGHTS = 64  # that a loop looks at as soon as numpy does
MOST_KEPT_BYTES = 1 << 12  # of class weights, which take 2 us to be compared


def encode_targets(
    target: NDArray[Any],
    n_classes: int,
    *,
    dtype: np.dtype[Any],
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    sample_weight: NDArray[np.float64] | None = None,
) -> EncodedTargets:
    """Return the record for class indices (n,) or probabilities, rows or planes."""
    if weight is not None:
        weight = check.check_class_weight(weight, n_classes)
    smoothing = check.check_label_smoothing(label_smoothing)
    ignore_index = check.check_ignore_index(ignore_index)
    row_weight = NO_ROWS if sample_weight is None else sample_weight
    if target.ndim == 1:
        came = target, n_classes, ignore_index
        if check.is_uint64(target) and ignore_index >= check.LARGEST_INT64:
            # as int64 other classes beyond it would be this one
            target = np.where(target == ignore_index, -1, check.as_int64(target))
            ignore_index = -1
        indices = check.check_index_dtype(target)
        class_weight = NO_ROWS if weight is None else weight
        sought = ignore_index
        if abs(ignore_index) > check.LARGEST_INT64:
            sought = NO_INDEX
        wrong, ignored, denominator = backend_for(indices).survey_indices(
            indices, n_classes, sought, class_weight, row_weight
        )
        if wrong or (ignored and sought != ignore_index):
            check.refuse_first_wrong_index(*came)
        if not ignored:
            ignore_index = NO_INDEX
        elif ignore_index == NO_INDEX:  # which means none to the kernels
            row_weight = _masked(row_weight, indices == ignore_index)
        target = indices
    else:
        check.refuse_ignore_index(ignore_index)
        ignore_index = NO_INDEX
        target = check.check_probability_targets(target, dtype)
        # torch divides by the number of elements over the number of classes: 0 / 0
        if not n_classes:
            denominator = 0.0
        elif row_weight.size:
            denominator = float(row_weight.sum())
        else:
            denominator = float(_n_rows(target))
    if weight is not None:
        values = _values(weight, smoothing)
    elif n_classes <= MOST_KEPT_CLASSES:
        values = kept_values(n_classes, smoothing)
    else:
        values = _values(np.ones(n_classes), smoothing)
    on_value, off_value, on_low = values
    return EncodedTargets(
        target, on_value, off_value, row_weight, ignore_index, denominator, on_low
    )


def need_float64(dtype: np.dtype[Any], *weights: Any) -> bool:
    """Return whether the dtype of the logits does not hold products with weights.

    The kernels narrow what they multiply with logits and probabilities. None is ones.
    """
    return dtype != FLOAT64 and any(map(_is_far, weights))


def _is_far(weight: Any) -> bool:
    if weight is None:
        return False
    if isinstance(weight, float):
        return is_far_number(weight)
    weights = np.asarray(weight, dtype=np.float64)
    if weights.size > FEW_WEIGHTS:
        sizes = np.abs(weights)
        least = sizes.min() or sizes.min(where=sizes > 0, initial=1.0)
        return bool(least < SMALLEST or sizes.max() > LARGEST)
    return any(map(is_far_number, weights.ravel().tolist()))


def is_far_number(weight: float) -> bool:
    """Return whether float32 does not hold what a number is multiplied with."""
    return 0 < abs(weight) < SMALLEST or abs(weight) > LARGEST


def _values(class_weight: NDArray[np.float64], smoothing: float) -> _Values:
    """Return ``on_value``, ``off_value`` and ``on_low``."""
    n_classes = class_weight.size
    if not smoothing or not n_classes:
        return class_weight.copy(), np.zeros(n_classes), NO_ROWS
    on_value, off_value, on_low = backend_for(class_weight).class_values(
        class_weight, *_shares(n_classes, smoothing)
    )
    return on_value, off_value, on_low


@lru_cache(maxsize=8)
def _shares(
    n_classes: int, smoothing: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ``1 - e`` and ``e / K``, in two parts each."""
    rest, spread = 1.0 - smoothing, smoothing / n_classes
    low = (Fraction(smoothing) - Fraction(spread) * n_classes) / n_classes
    return (rest, (1.0 - rest) - smoothing), (spread, float(low))


@lru_cache(maxsize=8)
def kept_values(n_classes: int, smoothing: float) -> _Values:
    """Return `_values` of weights of 1, the same arrays for calls in a row."""
    return _values(np.ones(n_classes), smoothing)


def weighted_values(
    weight: NDArray[Any], smoothing: float
) -> tuple[NDArray[np.float64], _Values, bool]:
    """Return class weights in float64, `_values` of them, and if float32 is no room.

    The same arrays for calls in a row with weights alike.
    """
    if weight.nbytes > MOST_KEPT_BYTES:
        return _weighted_values(weight, smoothing)
    return _kept_weighted_values(weight.tobytes(), weight.dtype.char, smoothing)


@lru_cache(maxsize=8)
def _kept_weighted_values(
    data: bytes, code: str, smoothing: float
) -> tuple[NDArray[np.float64], _Values, bool]:
    return _weighted_values(np.frombuffer(data, code), smoothing)


def _weighted_values(
    weight: NDArray[Any], smoothing: float
) -> tuple[NDArray[np.float64], _Values, bool]:
    class_weight = weight.astype(np.float64)
    return class_weight, _values(class_weight, smoothing), _is_far(class_weight)


def _n_rows(target: NDArray[Any]) -> int:
    """Return the number of rows."""
    return target.size if target.ndim == 1 else target.size // max(1, target.shape[1])


def _masked(
    row_weight: NDArray[np.float64], ignored: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the weight of each row, 0 where it is ignored."""
    return np.where(ignored, 0.0, row_weight if row_weight.size else 1.0)


def row_weights(targets: EncodedTargets) -> NDArray[np.float64]:
    """Return the weight of each row, 0 where it is ignored; (0,) where all are 1."""
    if targets.ignore_index == NO_INDEX:
        return np.asarray(targets.row_weight)
    return _masked(targets.row_weight, targets.target == targets.ignore_index)


def row_shares(targets: EncodedTargets, weight: Any) -> NDArray[np.float64]:
    """Return what each row adds to the denominator: ``w[y] s``, or ``s`` alone."""
    target, shares = targets.target, row_weights(targets)
    if not shares.size:
        shares = np.ones(_n_rows(target))
    if weight is None or target.ndim > 1:
        return shares
    kept = shares != 0  # the index of an ignored row may lie outside
    if not kept.any():  # as where there are no classes
        return shares
    class_weight = np.asarray(weight, dtype=np.float64)  # checked by encode_targets
    return np.where(kept, shares * class_weight[np.where(kept, target, 0)], 0.0)


def mass_and_weight(
    targets: EncodedTargets,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``a_i = sum_k t_ik`` and the weight of each row, all of curvature."""
    target, on_value, off_value, *_ = targets
    row_weight = row_weights(targets)
    if target.ndim > 1:
        # planes are copied, so that both layouts add up in the same order
        rows = np.moveaxis(target, 1, -1).reshape(-1, len(on_value))
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            mass = np.ascontiguousarray(rows) @ on_value
    elif row_weight.size:
        mass = np.zeros(len(target))
        kept = row_weight != 0
        mass[kept] = on_value[target[kept]]
    else:
        mass = on_value[target]
    with np.errstate(over="ignore", invalid="ignore"):
        mass = mass + off_value.sum()
    return np.asarray(mass, dtype=np.float64), row_weight

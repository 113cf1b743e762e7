"""Sums of losses of scores on a CUDA device; labels and weights come from the host.

Conventions are those of :mod:`skxent.metrics._blocks`. What is wrong or doubtful gets
None for an answer: the caller then copies the scores to the host and looks at them.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import NO_INDEX
from skxent.backends._device_arrays import arrays_like, is_on_device
from skxent.losses._device import on_device
from skxent.losses._targets import need_float64
from skxent.metrics._blocks import IGNORED, eps_of, most_distance

__all__ = ["dtype_on_device", "log_loss_on_device", "sums_on_device"]


def dtype_on_device(scores: Any) -> np.dtype[Any] | None:
    """Return the dtype of scores (n, K) that kernels take, else None."""
    if len(scores.shape) != 2 or scores.shape[1] < 2 or not scores.shape[0]:
        return None
    name = str(arrays_like(scores).dtype(scores))
    return np.dtype(name) if name in ("float32", "float64") else None


def log_loss_on_device(
    scores: Any,
    codes: NDArray[Any],
    sample_weight: NDArray[Any],
    most: float,
    low: float,
    high: float,
) -> float | None:
    """Return the sum of ``-log p`` of class indices; p is limited to [low, high].

    ``sample_weight`` is (n,), or (0,) for ones; ``most`` bounds a probability. None
    if the host has to do it.
    """
    on_device()
    from skxent.backends import _cuda as backend

    arrays = arrays_like(scores)
    rows, name = arrays.read(scores), str(arrays.dtype(scores))
    if need_float64(np.dtype(name), sample_weight):
        return None
    one = arrays.constant((1.0,), name)
    weight = arrays.read(sample_weight.astype(name)) if sample_weight.size else None
    targets = backend.DeviceTargets(
        arrays.read(codes.astype(np.int64, copy=False)),
        one,
        arrays.constant((0.0,), name),
        weight,
        NO_INDEX,
        is_smooth=False,
        has_indices=True,
    )
    call = backend.new_call(arrays)
    backend.picked_loss(
        call, rows, targets, name, one, None, None, is_log=False, limits=(low, high)
    )
    return _unless_doubtful(backend, call, rows, name, most)


def _unless_doubtful(
    backend: Any, call: Any, rows: Any, name: str, most: float
) -> float | None:
    """Return the sum that a call found, None if it is nan or rows may be wrong."""
    n_classes = rows.shape[1]
    most_off = most_distance(np.empty((0, n_classes), name))
    backend.count_doubtful_rows(call, rows, name, most, most_off)
    summary = backend.summary_on_host(call)
    wrong = summary.n_wrong or math.isnan(summary.total)
    return None if wrong else summary.total


def sums_on_device(
    scores: Any,
    target: NDArray[Any],
    sample_weight: Any,
    *,
    from_logits: bool,
    class_weight: NDArray[np.float64] | None,
    label_smoothing: float,
) -> tuple[float, float] | None:
    """Return the sum of the losses and what their mean divides it by.

    None if the host has to do it.
    """
    weights = [w for w in (sample_weight, class_weight) if not is_on_device(w)]
    dtype = dtype_on_device(scores)
    if dtype is not None and need_float64(dtype, *weights):
        return None
    losses = on_device()
    from skxent.backends import _cuda as backend

    call = losses.prepare_on_device(
        scores,
        target,
        class_weight,
        IGNORED if target.ndim == 1 else -100,
        "sum",
        label_smoothing,
        from_logits,
        None,
        sample_weight,
    )
    total = call.run(wants_loss=True, gradient=None)
    if math.isnan(total):
        return None
    weight = backend.summary_on_host(call.call).weight
    if call.mean_of is not None:
        weight = call.mean_of
    if not from_logits:
        name = call.dtype
        again = backend.new_call(call.call.arrays)
        most = 1 + eps_of(np.dtype(name)) ** 0.5
        if _unless_doubtful(backend, again, call.logits, name, most) is None:
            return None
    return total, weight

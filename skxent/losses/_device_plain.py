"""The cross-entropy on a CUDA device: without options in two launches, or any.

Conventions are those of :mod:`skxent.losses._device_call`.

A mean divides by the number of rows unless some are ignored, which the kernel of the
losses finds out as well: nobody has to look at the class indices before. Where rows are
ignored, or a loss is nan, as that of an index that is no class, the general way
computes all again; it takes the next calls of as many classes, if rows were ignored.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

from skxent.backends import _cuda as backend
from skxent.backends._device_arrays import arrays_like, is_on_device
from skxent.kernels._cuda import real_name
from skxent.losses import _device_call as general
from skxent.losses import _validation as check
from skxent.losses._call import scale_of_mean
from skxent.losses._device_operands import FLOATS
from skxent.losses._device_out import (
    check_out_on_device,
    gradient_buffer_on_device,
    is_same,
    overlap,
)

__all__ = ["grad", "value", "value_and_grad"]


def value(input: Any, target: Any, *options: Any) -> Any:
    """Return the reduced loss."""
    found = _plain(input, target, options, None, has_gradient=False)
    if found is not None:
        return found.loss
    return general.value(general.prepare_on_device(input, target, *options))


def value_and_grad(input: Any, target: Any, out: Any, *options: Any) -> tuple[Any, Any]:
    """Return the reduced loss and its gradient."""
    found = _plain(input, target, options, out, has_gradient=True)
    if found is not None:
        return found
    call = general.prepare_on_device(input, target, *options)
    return general.value_and_grad(call, out)


def grad(input: Any, target: Any, grad_output: Any, out: Any, *options: Any) -> Any:
    """Return the gradient, times what flows into the loss.

    What is written to ``out`` is written when class indices are known to be right.
    """
    if grad_output is out is None:
        found = _plain(input, target, options, out, has_gradient=True)
        if found is not None:
            return found.gradient
    call = general.prepare_on_device(input, target, *options)
    return general.grad(call, grad_output, out)


class _Found(NamedTuple):
    loss: float
    gradient: Any


class _Habit:
    """Whether rows of so many logits have been ignored.

    Batches that are filled up with ignored rows seldom have one number of them.
    """

    ignores = False


@lru_cache(maxsize=64)
def _habit_of(n_classes: int, dtype: str) -> _Habit:
    return _Habit()


def _are_plain(
    weight: Any,
    ignore_index: Any,
    reduction: Any,
    label_smoothing: Any,
    from_logits: Any,
    class_axis: Any,
    sample_weight: Any,
) -> bool:
    """Return whether the options are those of this module; others check the rest."""
    return (
        weight is sample_weight is class_axis is None
        and type(ignore_index) is int
        and abs(ignore_index) <= check.LARGEST_INT64
        and type(reduction) is str
        and reduction == "mean"
        and type(label_smoothing) is float
        and label_smoothing == 0
        and from_logits is True
    )


def _plain(
    input: Any, target: Any, options: Any, out: Any, *, has_gradient: bool
) -> _Found | None:
    """Return the mean loss of rows and its gradient, None if there is more to do."""
    if not (_are_plain(*options) and is_on_device(target)):
        return None
    arrays = arrays_like(input)
    logits, indices = arrays.read(input), arrays.read(target)
    shape, dtype = tuple(logits.shape), arrays.dtype(logits)
    if len(shape) != 2 or 0 in shape or tuple(indices.shape) != shape[:1]:
        return None
    habit = _habit_of(shape[1], dtype)
    if habit.ignores or dtype not in FLOATS or arrays.dtype(indices) != "int64":
        return None
    gradient = out
    if has_gradient and out is not None:
        check_out_on_device(arrays, out, shape, dtype)
        # the input may be needed again; of one that was copied nobody knows where it is
        if overlap(arrays, out, logits) or not is_same(arrays, input, logits):
            return None
        gradient = gradient_buffer_on_device(arrays, out, logits, dtype, (indices,))
        if not overlap(arrays, gradient, out):
            return None
    elif has_gradient:
        gradient = arrays.empty(shape, dtype)
    real, n_rows = real_name(dtype), shape[0]
    one = arrays.constant((1.0,), real)
    targets = backend.DeviceTargets(
        indices, one, one, None, options[1], is_smooth=False, has_indices=True
    )
    call = backend.new_call_of_rows(arrays)
    share = scale_of_mean(n_rows)
    scale = arrays.constant((share,), real)
    backend.softmax_loss(call, logits, targets, dtype, scale, None, gradient)
    n_counted, total = backend.rows_on_host(call)
    habit.ignores = n_counted < n_rows
    if habit.ignores or math.isnan(total):
        return None
    return _Found(total * share, gradient if out is None else out)

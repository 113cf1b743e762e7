"""The mean loss of rows without options, with nothing but checks before the kernel.

Conventions
-----------
C classes, n rows, logits (n, C), class indices (n,). The mean loss is in nats.

A call of 32 rows spends 3 us in its kernel. The general way there, which knows every
layout and option, spends 4 times as much in Python, and torch 3 times in all; this
short cut leads to the same call of the backend, so to the same bits. A loss that is nan
may be that of a class index outside [0, C): the general way says what it means.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.backends import NO_INDEX, Backend, EncodedTargets, backend_for
from skxent.losses import _validation as check
from skxent.losses._call import absent, number
from skxent.losses._targets import MOST_KEPT_CLASSES, NO_ROWS, kept_values

__all__ = ["plain_loss", "plain_value_and_grad"]

# Where rows are ignored, a call is computed again. A look at so many class indices
# spares large calls that, unless there are few such rows; it takes 3 us.
SAMPLE_SIZE = 256
LARGE = 1 << 16


def plain_loss(input: Any, target: Any) -> Any:
    """Return the mean loss of rows of logits, None for what needs more than checks."""
    plan = _plan_for(input, target)
    if plan is None:
        return None
    return _mean(plan, input, target, plan.no_gradient)


def plain_value_and_grad(input: Any, target: Any, out: Any) -> tuple[Any, Any] | None:
    """Return the mean loss and its gradient, None for what needs more than checks."""
    plan = _plan_for(input, target)
    if plan is None:
        return None
    if out is None:
        out = np.empty(input.shape, dtype=input.dtype)
    elif (
        type(out) is not np.ndarray
        or out.dtype != input.dtype
        or out.shape != input.shape
        or not out.flags.carray
        or np.may_share_memory(out, input)
        or np.may_share_memory(out, target)
    ):
        return None
    loss = _mean(plan, input, target, out)
    return None if loss is None else (loss, out)


class _Plan(NamedTuple):
    """What the shape and the dtype of logits say about a call."""

    backend: Backend
    on_value: NDArray[np.float64]
    off_value: NDArray[np.float64]
    no_losses: NDArray[Any]  # the outputs that nobody asks for
    no_gradient: NDArray[Any]
    n_rows: float
    dtype: np.dtype[Any]
    target_shape: tuple[int]
    is_large: bool


@lru_cache(maxsize=64)
def _plan(shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Plan | None:
    """Return the plan for logits, None if these are not what is expected here."""
    if dtype not in check.FLOATS or len(shape) != 2 or 0 in shape:
        return None
    n_rows, n_classes = shape
    if n_classes > MOST_KEPT_CLASSES:
        return None
    no_losses = absent(1, dtype)
    return _Plan(
        backend_for(no_losses),
        *kept_values(n_classes, 0.0),
        no_losses,
        absent(2, dtype),
        float(n_rows),
        dtype,
        (n_rows,),
        n_rows * n_classes >= LARGE,
    )


def _plan_for(input: Any, target: Any) -> _Plan | None:
    """Return the plan for class indices of rows, None if there is more to do."""
    if type(input) is not np.ndarray or type(target) is not np.ndarray:
        return None
    plan = _plan(input.shape, input.dtype)
    if (
        plan is None
        or target.shape != plan.target_shape
        or target.dtype != check.INT64
        or not input.flags.c_contiguous
        or (plan.is_large and _seems_to_ignore(target))
    ):
        return None
    return plan


def _seems_to_ignore(target: NDArray[np.int64]) -> bool:
    """Return whether a negative index is in a sample."""
    sample = target[:: -(-target.size // SAMPLE_SIZE)]
    # on small arrays argmin takes half of what min takes
    return sample.item(sample.argmin()) < 0


def _mean(plan: _Plan, input: Any, target: Any, gradient: Any) -> Any:
    """Return the mean loss, None if it is nan; fill the gradient if it has rows."""
    backend, on_value, off_value, no_losses, _, n_rows, dtype, _, _ = plan
    targets = EncodedTargets(target, on_value, off_value, NO_ROWS, NO_INDEX, n_rows)
    scale = 1.0 / n_rows
    total = backend.softmax_loss(input, targets, no_losses, gradient, scale)
    return None if math.isnan(total) else number(total * scale, dtype)

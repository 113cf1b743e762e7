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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import NO_INDEX, EncodedTargets, backend_for
from skxent.losses import _validation as check
from skxent.losses._call import absent, number
from skxent.losses._targets import MOST_KEPT_CLASSES, NO_ROWS, kept_values

__all__ = ["plain_loss", "plain_value_and_grad"]

COMPUTED = frozenset(map(np.dtype, "efd"))
# Where rows are ignored, a call is computed again. A look at so many class indices
# spares large calls that, unless there are few such rows; it takes 3 us.
SAMPLE_SIZE = 256
LARGE = 1 << 16


def plain_loss(input: Any, target: Any) -> Any:
    """Return the mean loss of rows of logits, None for what needs more than checks."""
    targets = _plain_targets(input, target)
    if targets is None:
        return None
    _, _, no_losses, no_gradient = _constants(input.shape[1], input.dtype)
    return _mean(input, targets, no_losses, no_gradient)


def plain_value_and_grad(input: Any, target: Any, out: Any) -> tuple[Any, Any] | None:
    """Return the mean loss and its gradient, None for what needs more than checks."""
    targets = _plain_targets(input, target)
    if targets is None:
        return None
    if out is None:
        out = np.empty(input.shape, dtype=input.dtype)
    elif (
        type(out) is not np.ndarray
        or out.dtype != input.dtype
        or out.shape != input.shape
        or not (out.flags.c_contiguous and out.flags.writeable)
        or np.may_share_memory(out, input)
        or np.may_share_memory(out, target)
    ):
        return None
    no_losses = _constants(input.shape[1], input.dtype)[2]
    loss = _mean(input, targets, no_losses, out)
    return None if loss is None else (loss, out)


def _plain_targets(input: Any, target: Any) -> EncodedTargets | None:
    """Return the record of class indices of rows, None if there is more to do."""
    if type(input) is not np.ndarray or type(target) is not np.ndarray:
        return None
    shape = input.shape
    if (
        input.dtype not in COMPUTED
        or target.dtype != check.INT64
        or len(shape) != 2
        or target.shape != shape[:1]
        or not 0 < shape[1] <= MOST_KEPT_CLASSES
        or not target.size
        or not input.flags.c_contiguous
        or (input.size >= LARGE and _seems_to_ignore(target))
    ):
        return None
    on_value, off_value, _, _ = _constants(shape[1], input.dtype)
    n_rows = float(shape[0])
    return EncodedTargets(target, on_value, off_value, NO_ROWS, NO_INDEX, n_rows)


def _seems_to_ignore(target: NDArray[np.int64]) -> bool:
    """Return whether a negative index is in a sample."""
    sample = target[:: -(-target.size // SAMPLE_SIZE)]
    # on small arrays argmin takes half of what min takes
    return sample.item(sample.argmin()) < 0


def _mean(input: Any, targets: EncodedTargets, losses: Any, gradient: Any) -> Any:
    """Return the mean loss, None if it is nan; fill the gradient if it has rows."""
    scale = 1.0 / targets.denominator
    total = backend_for(input).softmax_loss(input, targets, losses, gradient, scale)
    return None if math.isnan(total) else number(total * scale, input.dtype)


@lru_cache(maxsize=16)
def _constants(n_classes: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], ...]:
    """Return the coefficients of the target, and the outputs that nobody asks for."""
    return *kept_values(n_classes, 0.0), absent(1, dtype), absent(2, dtype)

"""The losses of rows of logits, with little more than the kernel and a few checks.

Conventions
-----------
C classes, n rows, logits (n, C), class indices (n,) or probabilities of the shape and
dtype of the logits. Losses are in nats. None stands for calls that the general way,
which knows every layout and type, has to take.

A call of 32 rows spends 0.5 us in its kernel, and torch 3 us in all. The general way
spends 6 us in Python; this short cut leads to the same call of the backend, so to the
same bits. Class indices are not looked at before the kernel where nothing depends on
it: a sum of losses that is nan may come of one outside [0, C), and only then are they
checked, and the kernel called again if they are right.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.backends import NO_INDEX, Backend, EncodedTargets, backend_for
from skxent.losses import _validation as check
from skxent.losses._call import absent, number, scale_of_mean
from skxent.losses._targets import (
    MOST_KEPT_CLASSES,
    NO_ROWS,
    is_far_number,
    kept_values,
    weighted_values,
)

__all__ = [
    "plain_loss",
    "plain_value_and_grad",
    "rows_loss",
    "rows_nll_loss",
    "rows_value_and_grad",
]

# Where rows are ignored, a call without a survey of the class indices is computed
# again. To look for such rows takes 0.25 us for up to `FEW_ROWS`, and for a sample of
# more 3 us: on fewer than `LEAST_ROWS` that is more than it spares.
LEAST_ROWS = 256
FEW_ROWS = 1024
SAMPLE_SIZE = 256

FLOAT64 = np.dtype(np.float64)
IGNORE_INDEX = -100  # the default


class _Plan(NamedTuple):
    """What the shapes and the dtypes of logits and targets say about a call."""

    backend: Backend
    loss: Callable[..., float]  # see `Backend.bound_loss`
    values: tuple[Any, ...]  # of calls without options, the last argument of `loss`
    no_losses: NDArray[Any]  # the outputs that nobody asks for
    no_gradient: NDArray[Any]
    n_rows: int
    n_classes: int
    dtype: np.dtype[Any]
    has_indices: bool
    is_cast: bool  # whether class indices have to become int64
    is_looked_at: bool  # whether ignored rows are looked for


@lru_cache(maxsize=16)
def _plan(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    target_shape: tuple[int, ...],
    target_dtype: np.dtype[Any],
) -> _Plan | None:
    """Return the plan for logits and targets, None if they are not as expected."""
    if dtype not in check.FLOATS or len(shape) != 2 or 0 in shape:
        return None
    n_rows, n_classes = shape
    has_indices = target_shape == (n_rows,) and target_dtype.kind in "iu"
    has_probabilities = target_shape == shape and target_dtype == dtype
    if n_classes > MOST_KEPT_CLASSES or not (has_indices or has_probabilities):
        return None
    no_losses = absent(1, dtype)
    backend = backend_for(no_losses)
    loss = backend.bound_loss(shape, dtype)
    assert loss is not None  # as for all rows
    return _Plan(
        backend,
        loss,
        _unweighted_values(n_classes, 0.0),
        no_losses,
        absent(2, dtype),
        n_rows,
        n_classes,
        dtype,
        has_indices,
        has_indices and target_dtype != check.INT64,
        has_indices and n_rows >= LEAST_ROWS,
    )


def _unweighted_values(n_classes: int, smoothing: float) -> tuple[Any, ...]:
    """Return the last argument of `Backend.bound_loss` for rows that all count."""
    return *kept_values(n_classes, smoothing), NO_ROWS, NO_INDEX


def _plan_for(input: Any, target: Any) -> _Plan | None:
    """Return the plan for a call, None if there is more to do."""
    if type(input) is not np.ndarray or type(target) is not np.ndarray:
        return None
    plan = _plan(input.shape, input.dtype, target.shape, target.dtype)
    return plan if input.flags.c_contiguous else None


def plain_loss(input: Any, target: Any) -> Any:
    """Return the mean loss of rows without options."""
    plan = _plan_for(input, target)
    return plan and _mean(plan, input, target, plan.no_gradient)


def plain_value_and_grad(input: Any, target: Any, out: Any) -> tuple[Any, Any] | None:
    """Return the mean loss of rows without options, and its gradient."""
    plan = _plan_for(input, target)
    gradient = plan and _gradient(input, target, out)
    if plan is None or gradient is None:
        return None
    return _mean(plan, input, target, gradient), gradient


def _mean(plan: _Plan, input: Any, target: Any, gradient: Any) -> Any:
    """Return the mean loss; fill the gradient if it has rows."""
    loss = _unweighted(plan, input, target, gradient, "mean", plan.values)
    if loss is None:
        targets = _encoded(plan, target, None, IGNORE_INDEX, 0.0, None)
        loss = targets and _reduced(plan, input, targets, gradient, "mean")
    return loss


def _unweighted(
    plan: _Plan, input: Any, target: Any, gradient: Any, reduction: str, values: Any
) -> Any:
    """Return the loss of rows that all count, None if one of them may not."""
    if plan.is_looked_at and _seems_to_ignore(target):
        return None
    if plan.is_cast:
        target = check.check_index_dtype(target)
    scale = 1.0 / plan.n_rows if reduction == "mean" else 1.0
    is_reduced = reduction != "none"
    losses = plan.no_losses if is_reduced else np.empty(plan.n_rows, plan.dtype)
    total = plan.loss(input, target, losses, gradient, scale, values)
    if plan.has_indices and math.isnan(total):
        return None
    return number(total * scale, plan.dtype) if is_reduced else losses


def rows_loss(input: Any, target: Any, *options: Any) -> Any:
    """Return the loss of rows with the options of `cross_entropy`."""
    plan = _plan_for(input, target)
    if plan is None or not _are_usual(plan, *options):
        return None
    return _with_options(plan, input, target, plan.no_gradient, True, *options)


def rows_nll_loss(
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    reduction: Any,
    class_axis: Any,
    sample_weight: Any,
) -> Any:
    """Return the loss of rows with the options of `nll_loss`."""
    options = weight, ignore_index, reduction, 0.0, True, class_axis, sample_weight
    plan = _plan_for(input, target)
    if plan is None or not (plan.has_indices and _are_usual(plan, *options)):
        return None
    if plan.dtype == check.FLOAT16:  # which others widen
        return None
    gradient = plan.no_gradient
    if (
        _may_be_unweighted(weight, ignore_index, sample_weight)
        and reduction != "none"
        and not plan.is_cast
        and not (plan.is_looked_at and _seems_to_ignore(target))
    ):
        on_value, off_value, on_low = plan.values[:3]
        targets = EncodedTargets(
            target, on_value, off_value, NO_ROWS, NO_INDEX, plan.n_rows, on_low
        )
        loss = _reduced(plan, input, targets, gradient, reduction, is_log=True)
        if not math.isnan(loss):
            return loss
    encoded = _encoded(plan, target, weight, ignore_index, 0.0, sample_weight)
    return encoded and _reduced(plan, input, encoded, gradient, reduction, is_log=True)


def rows_value_and_grad(
    input: Any, target: Any, out: Any, *options: Any
) -> tuple[Any, Any] | None:
    """Return the loss of rows with the options of `cross_entropy`, and its gradient."""
    plan = _plan_for(input, target)
    if plan is None or not _are_usual(plan, *options):
        return None
    gradient = _gradient(input, target, out, options[-1])
    if gradient is None:
        return None
    # a refusal leaves an array of the caller as it was
    may_write = out is None
    loss = _with_options(plan, input, target, gradient, may_write, *options)
    return None if loss is None else (loss, gradient)


def _are_usual(
    plan: _Plan,
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
        type(reduction) is str
        and reduction in ("mean", "sum", "none")
        and from_logits is True
        and class_axis is None
        and (
            sample_weight is None
            or (
                type(sample_weight) is np.ndarray
                and sample_weight.dtype in check.FLOATS
                and sample_weight.shape == (plan.n_rows,)
            )
        )
    )


def _may_be_unweighted(weight: Any, ignore_index: Any, sample_weight: Any) -> bool:
    """Return whether nothing has to be known of class indices beforehand."""
    return (
        weight is sample_weight is None
        and type(ignore_index) is int
        and ignore_index < 0
    )


def _with_options(
    plan: _Plan,
    input: Any,
    target: Any,
    gradient: Any,
    may_write: bool,
    weight: Any,
    ignore_index: Any,
    reduction: str,
    label_smoothing: Any,
    from_logits: Any,
    class_axis: Any,
    sample_weight: Any,
) -> Any:
    """Return the loss; fill a gradient that has rows. None if others have to do it.

    ``may_write`` says whether that may be done before class indices are checked.
    """
    if (
        (may_write or not plan.has_indices)
        and _may_be_unweighted(weight, ignore_index, sample_weight)
        and type(label_smoothing) is float
        and 0 <= label_smoothing <= 1
    ):
        values = plan.values
        if label_smoothing:
            values = _unweighted_values(plan.n_classes, label_smoothing)
        loss = _unweighted(plan, input, target, gradient, reduction, values)
        if loss is not None:
            return loss
    targets = _encoded(
        plan, target, weight, ignore_index, label_smoothing, sample_weight
    )
    return targets and _reduced(plan, input, targets, gradient, reduction)


def _encoded(
    plan: _Plan,
    target: Any,
    weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    sample_weight: Any,
) -> EncodedTargets | None:
    """Return what `encode_targets` does; None for options it has to refuse or convert.

    And if the rows have to be made float64.
    """
    if (
        type(ignore_index) is not int
        or abs(ignore_index) >= check.LARGEST_INT64  # what larger ones become
        or type(label_smoothing) is not float
        or not 0 <= label_smoothing <= 1
    ):
        return None
    class_weight, is_far = NO_ROWS, False
    if weight is None:
        values = kept_values(plan.n_classes, label_smoothing)
    elif (
        type(weight) is np.ndarray
        and weight.dtype in check.FLOATS
        and weight.shape == (plan.n_classes,)
    ):
        class_weight, values, is_far = weighted_values(weight, label_smoothing)
    else:
        return None
    row_weight = NO_ROWS
    if sample_weight is not None:
        row_weight = sample_weight.astype(FLOAT64, copy=False)
    if plan.has_indices:
        came = target
        if plan.is_cast:
            target = check.check_index_dtype(target)
        wrong, ignored, denominator = plan.backend.survey_indices(
            target, plan.n_classes, ignore_index, class_weight, row_weight
        )
        if wrong:
            check.refuse_first_wrong_index(came, plan.n_classes, ignore_index)
        if not ignored:
            ignore_index = NO_INDEX
    elif ignore_index < 0:
        ignore_index = NO_INDEX
        denominator = float(row_weight.sum() if row_weight.size else plan.n_rows)
    else:
        return None
    if plan.dtype != FLOAT64 and (is_far or is_far_number(denominator)):
        return None
    on_value, off_value, on_low = values
    return EncodedTargets(
        target, on_value, off_value, row_weight, ignore_index, denominator, on_low
    )


def _reduced(
    plan: _Plan,
    input: Any,
    targets: EncodedTargets,
    gradient: Any,
    reduction: str,
    *,
    is_log: bool = False,
) -> Any:
    """Return the loss of targets that were checked."""
    losses = plan.no_losses
    if reduction == "none":
        losses = np.empty(plan.n_rows, plan.dtype)
    scale = scale_of_mean(targets.denominator) if reduction == "mean" else 1.0
    loss = plan.backend.picked_loss if is_log else plan.backend.softmax_loss
    total = loss(input, targets, losses, gradient, scale)
    return losses if reduction == "none" else number(total * scale, plan.dtype)


def _gradient(input: Any, target: Any, out: Any, row_weight: Any = None) -> Any:
    """Return the array that the kernel writes, None if that is not ``out`` itself."""
    if out is None:
        return np.empty(input.shape, dtype=input.dtype)
    if (
        type(out) is not np.ndarray
        or out.dtype != input.dtype
        or out.shape != input.shape
        or not out.flags.carray
        or np.may_share_memory(out, input)
        or np.may_share_memory(out, target)
        or (row_weight is not None and np.may_share_memory(out, row_weight))
    ):
        return None
    return out


def _seems_to_ignore(target: NDArray[np.int64]) -> bool:
    """Return whether a negative index is among a few, or in a sample of many."""
    size = target.size
    if size > FEW_ROWS:
        target = target[:: -(-size // SAMPLE_SIZE)]
    # on small arrays argmin takes a third of what min takes
    return target.item(target.argmin()) < 0

"""The backend for arrays on a CUDA device: launches the CUDA kernels of losses."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

from skxent.backends._cuda_calls import (
    N_WRONG,
    TOTAL,
    Call,
    DeviceTargets,
    Summary,
    add_up,
    inverse_of_weight,
    inverses_of,
    new_call,
    new_call_of_rows,
    queue,
    rows_on_host,
    summary_on_host,
    sums_of_rows,
    survey_indices,
    total_of,
)
from skxent.kernels import _cuda as kernels

__all__ = [
    "Call",
    "DeviceTargets",
    "Summary",
    "count_doubtful_rows",
    "inverse_of_weight",
    "inverses_of",
    "new_call",
    "new_call_of_rows",
    "picked_loss",
    "probability_loss",
    "rows_on_host",
    "sigmoid_curvature",
    "sigmoid_loss",
    "softmax_curvature",
    "softmax_loss",
    "summary_on_host",
    "sums_of_rows",
    "survey_indices",
    "total_of",
]

# Blocks that share rows among them. More of them do not end together, fewer add up less
# often. Those whose rows take turns are better as few as the device has room for, or a
# small multiple.
MOST_BLOCKS_OF_ROWS = 65536
MOST_BLOCKS_OF_TURNS = 4096
MOST_BLOCKS = 2**31 - 1  # of a launch
MOST_CLASSES = 2**31 - 1  # of a row in parts, whose places are numbers of 32 bits


def softmax_loss(
    call: Call,
    logits: Any,
    targets: DeviceTargets,
    dtype: str,
    scale: Any,
    losses: Any,
    gradient: Any,
) -> None:
    """Find out the sum of the losses; fill the arrays that are not None."""
    made = rows_of(
        tuple(logits.shape),
        dtype,
        targets.has_indices,
        targets.is_smooth,
        gradient is not None,
    )
    partial = call.arrays.empty((made.n_blocks, kernels.N_PARTIAL), "float64")
    queue(
        call,
        made.kernel,
        made.n_blocks,
        made.block,
        logits,
        targets.target,
        targets.on_value,
        targets.off_value,
        targets.row_weight,
        scale,
        losses,
        partial,
        gradient,
        *made.lengths,
        *targets.flags()[:3],
        int(losses is not None),
    )
    add_up(call, partial, made.n_blocks, kernels.N_PARTIAL, call.summary)


class Rows(NamedTuple):
    """The kernel for rows or planes of a shape, and how it is launched."""

    kernel: Any
    n_blocks: int
    block: int
    lengths: tuple[int, ...]


@lru_cache(maxsize=256)
def rows_of(
    shape: tuple[int, ...],
    dtype: str,
    has_indices: bool,
    is_smooth: bool,
    has_gradient: bool,
) -> Rows:
    """Return the kernel for logits of a shape."""
    outer, n_classes, n_columns = (*shape, 1)[:3]
    n_rows = outer * n_columns
    # rows of probabilities are staged as well, and take as much memory
    block = kernels.BLOCK if has_indices else max(kernels.WARP, kernels.BLOCK // 2)
    rows_per_block = block
    most_blocks = MOST_BLOCKS_OF_ROWS
    if kernels.is_of_thread(n_classes, dtype):
        factory: Any = kernels.short_rows_loss
        options: tuple[Any, ...] = n_classes, block, n_columns == 1
        lengths: tuple[int, ...] = n_rows, n_columns
    elif n_columns > 1:
        factory, options = kernels.planes_loss, (block,)
        lengths = n_rows, n_classes, n_columns
    else:
        if n_classes > MOST_CLASSES:
            raise ValueError(
                f"input on a device must have at most {MOST_CLASSES} classes if they "
                f"lie side by side; got {n_classes}. Move it to the host."
            )
        schedule = kernels.schedule_of(n_classes, dtype, has_indices, is_smooth)
        factory, options = kernels.rows_loss, (schedule,)
        lengths = n_rows, n_classes
        block, rows_per_block = schedule.block, schedule.block // schedule.group
        if not schedule.is_whole:
            most_blocks = MOST_BLOCKS_OF_TURNS
    options = *options, has_indices, is_smooth, has_gradient
    kernel = kernels.compiled(factory, *kernels.types_of(dtype), *options)
    return Rows(kernel, min(most_blocks, -(-n_rows // rows_per_block)), block, lengths)


def _n_blocks(n_rows: int, rows_per_block: int) -> int:
    """Return how many blocks have rows that no block takes in turns."""
    n_blocks = -(-n_rows // rows_per_block)
    if n_blocks > MOST_BLOCKS:
        raise ValueError(
            f"input on a device must have at most {MOST_BLOCKS * rows_per_block} rows "
            f"for this function; got {n_rows}. Pass parts of it."
        )
    return n_blocks


def _group_of(n_columns: int) -> int:
    """Return how many threads share a row that is gone over number by number."""
    return 1 if n_columns > 1 else kernels.WARP


def probability_loss(
    call: Call,
    probabilities: Any,
    targets: DeviceTargets,
    dtype: str,
    scale: Any,
    losses: Any,
    gradient: Any,
) -> None:
    """Find out the sum of ``-t log p``; fill the arrays that are not None."""
    outer, n_classes, n_columns = (*probabilities.shape, 1)[:3]
    n_rows, group = outer * n_columns, _group_of(n_columns)
    n_blocks = _n_blocks(n_rows, kernels.BLOCK // group)
    partial = call.arrays.empty((n_blocks,), "float64")
    types = kernels.types_of(dtype)
    options = group, kernels.BLOCK, targets.has_indices, gradient is not None
    queue(
        call,
        kernels.compiled(kernels.probability_rows_loss, *types, *options),
        n_blocks,
        kernels.BLOCK,
        probabilities,
        targets.target,
        targets.on_value,
        targets.off_value,
        targets.row_weight,
        scale,
        losses,
        partial,
        gradient,
        n_rows,
        n_classes,
        n_columns,
        *targets.flags(),
        int(losses is not None),
    )
    add_up(call, partial, n_blocks, 1, call.summary[TOTAL:])


def count_doubtful_rows(
    call: Call, probabilities: Any, dtype: str, most: float, most_off: float
) -> None:
    """Find out how many rows may be no distributions, as what is wrong.

    ``most`` bounds an entry, ``most_off`` the distance of their sum from 1.
    """
    n_rows, n_classes = probabilities.shape
    n_blocks = _n_blocks(n_rows, kernels.BLOCK // kernels.WARP)
    counts = call.arrays.empty((n_blocks,), "float64")
    made = *kernels.types_of(dtype), kernels.WARP, kernels.BLOCK
    limits = call.arrays.constant((most, most_off), kernels.real_name(dtype))
    queue(
        call,
        kernels.compiled(kernels.doubtful_rows, *made),
        n_blocks,
        kernels.BLOCK,
        probabilities,
        limits,
        counts,
        n_rows,
        n_classes,
    )
    add_up(call, counts, n_blocks, 1, call.summary[N_WRONG:])


def picked_loss(
    call: Call,
    probabilities: Any,
    targets: DeviceTargets,
    dtype: str,
    scale: Any,
    losses: Any,
    gradient: Any,
    *,
    is_log: bool,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> None:
    """Find out the sum of ``-w_y log p_y``, or of ``-w_y x_y``, if the log is given.

    Fills the arrays that are not None. Probabilities are limited in the loss.
    """
    outer, n_classes, n_columns = (*probabilities.shape, 1)[:3]
    n_rows = outer * n_columns
    n_blocks = _n_blocks(n_rows, kernels.BLOCK)
    partial = call.arrays.empty((n_blocks,), "float64")
    if gradient is not None:
        call.arrays.clear(gradient)
    has_gradient = gradient is not None
    made = *kernels.types_of(dtype), kernels.BLOCK, is_log, has_gradient
    queue(
        call,
        kernels.compiled(kernels.picked_loss, *made),
        n_blocks,
        kernels.BLOCK,
        probabilities,
        targets.target,
        targets.on_value,
        targets.row_weight,
        scale,
        call.arrays.constant(limits, kernels.real_name(dtype)),
        losses,
        partial,
        gradient,
        n_rows,
        n_classes,
        n_columns,
        *targets.flags()[:3],
        int(losses is not None),
    )
    add_up(call, partial, n_blocks, 1, call.summary[TOTAL:])


def softmax_curvature(
    call: Call,
    logits: Any,
    targets: DeviceTargets,
    dtype: str,
    vector: Any,
    scale: Any,
    product: Any,
) -> None:
    """Write ``scale`` times the Hessian of the sum times ``vector``."""
    outer, n_classes, n_columns = (*logits.shape, 1)[:3]
    n_rows, group = outer * n_columns, _group_of(n_columns)
    types = kernels.types_of(dtype)
    options = group, kernels.BLOCK, targets.has_indices
    queue(
        call,
        kernels.compiled(kernels.rows_curvature, *types, *options),
        _n_blocks(n_rows, kernels.BLOCK // group),
        kernels.BLOCK,
        logits,
        targets.target,
        targets.on_value,
        targets.off_value,
        targets.row_weight,
        vector,
        scale,
        product,
        n_rows,
        n_classes,
        n_columns,
        *targets.flags(),
    )


def _elements(
    call: Call,
    kind: int,
    values: Any,
    targets: tuple[Any, Any, Any],
    dtype: str,
    vector: Any,
    options: Any,
    losses: Any,
    out: Any,
) -> None:
    """Launch the kernel of binary targets: target, weight, pos_weight."""
    target, weight, pos_weight = targets
    size = values.shape[0]
    n_blocks = -(-size // kernels.elements_per_block(dtype))
    partial = call.arrays.empty((n_blocks, 2), "float64")
    types = kernels.types_of(dtype)
    is_real = losses is not None and str(call.arrays.dtype(losses)) != dtype
    made = kernels.PARTS, kernels.BLOCK, kind, out is not None, is_real
    queue(
        call,
        kernels.compiled(kernels.elements_loss, *types, *made),
        n_blocks,
        kernels.BLOCK,
        values,
        target,
        weight,
        pos_weight,
        vector,
        options,
        losses,
        partial,
        out,
        size,
        weight.shape[0],
        pos_weight.shape[0],
        int(losses is not None),
    )
    if kind != kernels.CURVATURE:
        add_up(call, partial, n_blocks, 2, call.summary[TOTAL:])


def sigmoid_loss(
    call: Call,
    values: Any,
    targets: tuple[Any, Any, Any],
    dtype: str,
    from_logits: bool,
    options: Any,
    losses: Any,
    gradient: Any,
) -> None:
    """Find out the sum of the losses (n,); fill the arrays that are not None.

    And how many probabilities are none. ``options`` holds the scale, ``on_share`` and
    ``off_share``.
    """
    kind = kernels.LOGITS if from_logits else kernels.PROBABILITIES
    _elements(call, kind, values, targets, dtype, None, options, losses, gradient)


def sigmoid_curvature(
    call: Call,
    values: Any,
    targets: tuple[Any, Any, Any],
    dtype: str,
    vector: Any,
    options: Any,
    product: Any,
) -> None:
    """Write the product of the Hessian, which is diagonal, with ``vector`` (n,)."""
    kind = kernels.CURVATURE
    _elements(call, kind, values, targets, dtype, vector, options, None, product)

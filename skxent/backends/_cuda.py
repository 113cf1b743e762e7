"""The backend for arrays on a CUDA device: launches the CUDA kernels.

Everything is queued on the caller's stream, and nothing waits for the device: sums, and
what a mean is divided by, are made there. What a call has found out, `Summary`, comes
to the host in one copy when it is asked for.
"""

import math
from contextlib import nullcontext
from functools import cache
from typing import Any, NamedTuple

from numba import cuda

from skxent.backends._device_arrays import CupyArrays, NumbaArrays, TorchArrays
from skxent.kernels import _cuda as kernels

__all__ = [
    "Call",
    "DeviceTargets",
    "Summary",
    "count_doubtful_rows",
    "inverse_of_weight",
    "inverses_of",
    "new_call",
    "picked_loss",
    "probability_loss",
    "sigmoid_curvature",
    "sigmoid_loss",
    "softmax_curvature",
    "softmax_loss",
    "summary_on_host",
    "sums_of_rows",
    "survey_indices",
    "total_of",
]

# Blocks of the first stage of a sum; the second adds up theirs.
MOST_BLOCKS = 1024
SUM_BLOCK = 256
TOTAL, N_WRONG, WEIGHT, N_SUMMARY = range(4)


class Call(NamedTuple):
    """Where the arrays of a call live, and on which stream its work is queued."""

    arrays: TorchArrays | CupyArrays | NumbaArrays
    stream: Any
    summary: Any  # (3,) float64, on the device


def new_call(arrays: Any) -> Call:
    """Return a call that has found out nothing yet, on the current stream."""
    zeros = arrays.spread(arrays.constant((0.0,), "float64"), (N_SUMMARY,))
    return Call(arrays, arrays.stream(), zeros)


class DeviceTargets(NamedTuple):
    """What the kernels need to know about the targets, on the device."""

    target: Any  # (n,) int64, or probabilities of the logits' shape and dtype
    on_value: Any  # (K,) or (1,), of the dtype that is computed with
    off_value: Any  # as on_value
    row_weight: Any  # (n,) of that dtype, or None
    ignore_index: int
    is_smooth: bool
    has_indices: bool

    def flags(self) -> tuple[int, ...]:
        """Return ``ignore_index``, ``class_step``, ``is_weighted``, ``is_smooth``."""
        step = int(self.on_value.shape[0] > 1)
        weighted = int(self.row_weight is not None)
        return self.ignore_index, step, weighted, int(self.is_smooth)


class Summary(NamedTuple):
    """What a call found out, on the host."""

    total: float
    n_wrong: int
    weight: float  # of the rows that count


def _launch(
    call: Call, kernel: Any, n_blocks: int, block: int, *args: Any, shared: int = 0
) -> None:
    """Queue a kernel; arrays become addresses, None that of anything."""
    anything = call.summary
    addresses = [
        arg
        if isinstance(arg, int)
        else call.arrays.address(anything if arg is None else arg)
        for arg in args
    ]
    with _context_of(call.arrays):
        kernel[n_blocks, block, call.stream, shared](*addresses)


def _context_of(arrays: Any) -> Any:
    """Return what makes the device of the arrays numba's own, if there are several."""
    return cuda.gpus[arrays.index] if _n_devices() > 1 else nullcontext()


@cache
def _n_devices() -> int:
    return len(cuda.gpus)


def _add_up(call: Call, values: Any, n: int, n_columns: int, sums_out: Any) -> None:
    """Write the sums (n_columns,) over ``n`` rows of float64 numbers."""
    kernel = kernels.compiled(kernels.sum_columns, SUM_BLOCK)
    if n > MOST_BLOCKS:
        n_blocks = min(MOST_BLOCKS, -(-n // MOST_BLOCKS))
        sums = call.arrays.empty((n_blocks, n_columns), "float64")
        _launch(call, kernel, n_blocks, SUM_BLOCK, values, sums, n, n_columns)
        values, n = sums, n_blocks
    _launch(call, kernel, 1, SUM_BLOCK, values, sums_out, n, n_columns)


def survey_indices(
    call: Call,
    targets: DeviceTargets,
    class_weight: Any,
    n_classes: int,
    real: str,
    shares: Any = None,
) -> None:
    """Find out how many indices are wrong, and what the rows weigh that count.

    Fills ``shares`` (n,), float64, with what each of them weighs, if it is not None.
    """
    n = targets.target.shape[0]
    n_blocks = max(1, min(MOST_BLOCKS, -(-n // SUM_BLOCK)))
    counts = call.arrays.empty((n_blocks, kernels.N_COUNTS), "float64")
    _launch(
        call,
        kernels.compiled(kernels.survey, kernels.real_of(real), SUM_BLOCK),
        n_blocks,
        SUM_BLOCK,
        targets.target,
        class_weight,
        targets.row_weight,
        counts,
        shares,
        n,
        n_classes,
        *targets.flags()[:3],
        int(shares is not None),
    )
    _add_up(call, counts, n_blocks, kernels.N_COUNTS, call.summary[N_WRONG:])


def total_of(call: Call, values: Any) -> None:
    """Find out the sum of float64 numbers, as the weight of the rows."""
    _add_up(call, values, values.shape[0], 1, call.summary[WEIGHT:])


def inverse_of_weight(call: Call, real: str) -> Any:
    """Return 1 over the weight of the rows that count, (1,) on the device."""
    return inverses_of(call, call.summary[WEIGHT:], 1, real)


def inverses_of(call: Call, numbers: Any, n: int, real: str) -> Any:
    """Return 1 over each of ``n`` float64 numbers, nan for 0."""
    inverses = call.arrays.empty((n,), real)
    kernel = kernels.compiled(kernels.inverse, kernels.real_of(real), SUM_BLOCK)
    _launch(call, kernel, -(-n // SUM_BLOCK), SUM_BLOCK, numbers, inverses, n)
    return inverses


def sums_of_rows(
    call: Call, values: Any, n_rows: int, dtype: str, weights: Any = None
) -> Any:
    """Return the sum of each of ``n_rows`` rows of numbers, float64.

    It is nan where one of ``weights`` (n_rows,), float64, is 0.
    """
    sums = call.arrays.empty((n_rows,), "float64")
    memory, _ = kernels.types_of(dtype)
    kernel = kernels.compiled(kernels.sum_rows, memory, SUM_BLOCK)
    n_columns = values.shape[0] // n_rows
    has_weights = int(weights is not None)
    _launch(
        call, kernel, n_rows, SUM_BLOCK, values, weights, sums, n_columns, has_weights
    )
    return sums


def summary_on_host(call: Call) -> Summary:
    """Wait for the device and return what the call found out."""
    total, wrong, weight = call.arrays.to_host(call.summary).tolist()
    return Summary(total, int(wrong), weight)


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
    outer, n_classes, n_columns = (*logits.shape, 1)[:3]
    n_rows = outer * n_columns
    has_indices, has_gradient = targets.has_indices, gradient is not None
    columns: tuple[int, ...] = ()
    shared = 0
    if n_columns > 1 or n_classes <= kernels.MOST_STAGED_CLASSES:
        is_staged = n_columns == 1
        block = rows_per_block = kernels.staged_block(dtype, has_indices)
        columns = (n_columns,)
        factory: Any = kernels.short_rows_loss
        options: tuple[Any, ...] = block, is_staged, has_indices, has_gradient
        if is_staged:
            shared = kernels.staged_bytes(n_classes, dtype, has_indices, block)
    else:
        schedule = kernels.schedule_of(n_classes, dtype, has_indices)
        block, rows_per_block = schedule.block, schedule.block // schedule.group
        factory = kernels.rows_loss
        options = schedule, has_indices, has_gradient
    n_blocks = -(-n_rows // rows_per_block)
    partial = call.arrays.empty((n_blocks,), "float64")
    _launch(
        call,
        kernels.compiled(factory, *kernels.types_of(dtype), *options),
        n_blocks,
        block,
        logits,
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
        *columns,
        *targets.flags(),
        int(losses is not None),
        shared=shared,
    )
    _add_up(call, partial, n_blocks, 1, call.summary)


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
    n_blocks = -(-n_rows // (kernels.BLOCK // group))
    partial = call.arrays.empty((n_blocks,), "float64")
    types = kernels.types_of(dtype)
    options = group, kernels.BLOCK, targets.has_indices, gradient is not None
    _launch(
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
    _add_up(call, partial, n_blocks, 1, call.summary)


def count_doubtful_rows(
    call: Call, probabilities: Any, dtype: str, most: float, most_off: float
) -> None:
    """Find out how many rows may be no distributions, as what is wrong.

    ``most`` bounds an entry, ``most_off`` the distance of their sum from 1.
    """
    n_rows, n_classes = probabilities.shape
    n_blocks = -(-n_rows // (kernels.BLOCK // kernels.WARP))
    counts = call.arrays.empty((n_blocks,), "float64")
    made = *kernels.types_of(dtype), kernels.WARP, kernels.BLOCK
    limits = call.arrays.constant((most, most_off), kernels.real_name(dtype))
    _launch(
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
    _add_up(call, counts, n_blocks, 1, call.summary[N_WRONG:])


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
    n_blocks = -(-n_rows // kernels.BLOCK)
    partial = call.arrays.empty((n_blocks,), "float64")
    if gradient is not None:
        call.arrays.clear(gradient)
    has_gradient = gradient is not None
    made = *kernels.types_of(dtype), kernels.BLOCK, is_log, has_gradient
    _launch(
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
    _add_up(call, partial, n_blocks, 1, call.summary)


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
    _launch(
        call,
        kernels.compiled(kernels.rows_curvature, *types, *options),
        -(-n_rows // (kernels.BLOCK // group)),
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
    made = kernels.PARTS, kernels.BLOCK, kind, out is not None
    _launch(
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
        _add_up(call, partial, n_blocks, 2, call.summary)


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

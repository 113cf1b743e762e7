"""The backend for arrays on a CUDA device: launches the CUDA kernels.

Everything is queued on the caller's stream, and nothing waits for the device: sums, and
what a mean is divided by, are made there. What a call has found out, `Summary`, comes
to the host in one copy when it is asked for.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

from skxent.backends._cuda_launch import launch
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

# Blocks of the first stage of a sum; the second adds up theirs. Few rows are surveyed
# by one block in less time than it takes to launch the second stage.
MOST_BLOCKS = 1024
FEW_ROWS = 16384
SUM_BLOCK = 512
MOST_ADDED_AT_ONCE = 4096
# Blocks that share rows among them. More of them do not end together, fewer add up less
# often. Those whose rows take turns are better as few as the device has room for, or a
# small multiple.
MOST_BLOCKS_OF_ROWS = 65536
MOST_BLOCKS_OF_TURNS = 4096
N_COUNTED, TOTAL, N_WRONG, WEIGHT, N_SUMMARY = range(5)


class Call(NamedTuple):
    """Where the arrays of a call live, and on which stream its work is queued."""

    arrays: TorchArrays | CupyArrays | NumbaArrays
    stream: int  # its address
    summary: Any  # (4,) float64, on the device, or the first two of them


def new_call(arrays: Any) -> Call:
    """Return a call that has found out nothing yet, on the current stream."""
    return Call(arrays, arrays.stream(), arrays.zeros((N_SUMMARY,), "float64"))


def new_call_of_rows(arrays: Any) -> Call:
    """Return one that finds out no more than `rows_on_host` asks for, all of it."""
    return Call(arrays, arrays.stream(), arrays.empty((kernels.N_PARTIAL,), "float64"))


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

    n_counted: float  # rows of logits, where there are any
    total: float
    n_wrong: int
    weight: float  # of the rows that count


def _launch(
    call: Call, kernel: Any, n_blocks: int, block: int, *args: Any, shared: int = 0
) -> None:
    """Queue a kernel; arrays become addresses, None that of anything."""
    address = call.arrays.address
    anything = address(call.summary)
    addresses = [
        arg if isinstance(arg, int) else anything if arg is None else address(arg)
        for arg in args
    ]
    launch(kernel, n_blocks, block, call.stream, shared, call.arrays.index, addresses)


def _add_up(call: Call, values: Any, n: int, n_columns: int, sums_out: Any) -> None:
    """Write the sums (n_columns,) over ``n`` rows of float64 numbers."""
    kernel = kernels.compiled(kernels.sum_columns, SUM_BLOCK)
    if n > MOST_ADDED_AT_ONCE:
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
) -> Any:
    """Find out how many indices are wrong, and what the rows weigh that count.

    Returns 1 over that weight, (1,) on the device. Fills ``shares`` (n,), float64, with
    what each of them weighs, if it is not None.
    """
    n = targets.target.shape[0]
    n_blocks = min(MOST_BLOCKS, -(-n // SUM_BLOCK)) if n > FEW_ROWS else 1
    found = call.summary[N_WRONG:]
    counts = found
    if n_blocks > 1:
        counts = call.arrays.empty((n_blocks, kernels.N_COUNTS), "float64")
    inverse = call.arrays.empty((1,), real)
    made = kernels.real_of(real), SUM_BLOCK
    _launch(
        call,
        kernels.compiled(kernels.survey, *made),
        n_blocks,
        SUM_BLOCK,
        targets.target,
        class_weight,
        targets.row_weight,
        counts,
        inverse,
        shares,
        n,
        n_classes,
        *targets.flags()[:3],
        int(shares is not None),
    )
    if n_blocks > 1:
        kernel = kernels.compiled(kernels.sum_counts, *made)
        _launch(call, kernel, 1, SUM_BLOCK, counts, found, inverse, n_blocks)
    return inverse


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
    n_counted, total, wrong, weight = call.arrays.to_host(call.summary).tolist()
    return Summary(n_counted, total, int(wrong), weight)


def rows_on_host(call: Call) -> tuple[float, float]:
    """Wait for the device; return how many rows count, and the sum of their losses."""
    n_counted, total = call.arrays.to_host(call.summary).tolist()
    return n_counted, total


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
    _launch(
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
    _add_up(call, partial, made.n_blocks, kernels.N_PARTIAL, call.summary)


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
        schedule = kernels.schedule_of(n_classes, dtype, has_indices, is_smooth)
        factory, options = kernels.rows_loss, (schedule,)
        lengths = n_rows, n_classes
        block, rows_per_block = schedule.block, schedule.block // schedule.group
        if not schedule.is_whole:
            most_blocks = MOST_BLOCKS_OF_TURNS
    options = *options, has_indices, is_smooth, has_gradient
    kernel = kernels.compiled(factory, *kernels.types_of(dtype), *options)
    return Rows(kernel, min(most_blocks, -(-n_rows // rows_per_block)), block, lengths)


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
    _add_up(call, partial, n_blocks, 1, call.summary[TOTAL:])


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
    _add_up(call, partial, n_blocks, 1, call.summary[TOTAL:])


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
        _add_up(call, partial, n_blocks, 2, call.summary[TOTAL:])


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

"""What every call on a CUDA device does: queue kernels, add up, and say what it found.

Everything is queued on the caller's stream, and nothing waits for the device: sums, and
what a mean is divided by, are made there. What a call has found out, `Summary`, comes
to the host in one copy when it is asked for.
"""

from typing import Any, NamedTuple

from skxent.backends._cuda_launch import launch
from skxent.backends._device_arrays import CupyArrays, NumbaArrays, TorchArrays
from skxent.kernels import _cuda as kernels

__all__ = [
    "N_WRONG",
    "TOTAL",
    "Call",
    "DeviceTargets",
    "Summary",
    "add_up",
    "inverse_of_weight",
    "inverses_of",
    "new_call",
    "new_call_of_rows",
    "queue",
    "rows_on_host",
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
FEW_COLUMNS = 8
MOST_ADDED_AT_ONCE = 4096
N_COUNTED, TOTAL, N_WRONG, WEIGHT, N_SUMMARY = range(5)


class Call(NamedTuple):
    """Where the arrays of a call live, and on which stream its work is queued."""

    arrays: TorchArrays | CupyArrays | NumbaArrays
    stream: int  # its address
    summary: Any  # (4,) float64, on the device, or the first two of them


def new_call(arrays: Any) -> Call:
    """Return a call that has found out nothing yet, on the current stream."""
    return Call(arrays, arrays.stream, arrays.zeros((N_SUMMARY,), "float64"))


def new_call_of_rows(arrays: Any) -> Call:
    """Return one that finds out no more than `rows_on_host` asks for, all of it."""
    return Call(arrays, arrays.stream, arrays.empty((kernels.N_PARTIAL,), "float64"))


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


def queue(call: Call, kernel: Any, n_blocks: int, block: int, *args: Any) -> None:
    """Queue a kernel; arrays become addresses, None that of anything."""
    address = call.arrays.address
    anything = address(call.summary)
    addresses = [
        arg if isinstance(arg, int) else anything if arg is None else address(arg)
        for arg in args
    ]
    launch(kernel, n_blocks, block, call.stream, call.arrays.index, addresses)


def add_up(call: Call, values: Any, n: int, n_columns: int, sums_out: Any) -> None:
    """Write the sums (n_columns,) over ``n`` rows of float64 numbers."""
    kernel = kernels.compiled(kernels.sum_columns, SUM_BLOCK)
    if n > MOST_ADDED_AT_ONCE:
        n_blocks = min(MOST_BLOCKS, -(-n // MOST_BLOCKS))
        sums = call.arrays.empty((n_blocks, n_columns), "float64")
        queue(call, kernel, n_blocks, SUM_BLOCK, values, sums, n, n_columns)
        values, n = sums, n_blocks
    queue(call, kernel, 1, SUM_BLOCK, values, sums_out, n, n_columns)


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
    queue(
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
        queue(call, kernel, 1, SUM_BLOCK, counts, found, inverse, n_blocks)
    return inverse


def total_of(call: Call, values: Any) -> None:
    """Find out the sum of float64 numbers, as the weight of the rows."""
    add_up(call, values, values.shape[0], 1, call.summary[WEIGHT:])


def inverse_of_weight(call: Call, real: str) -> Any:
    """Return 1 over the weight of the rows that count, (1,) on the device."""
    return inverses_of(call, call.summary[WEIGHT:], 1, real)


def inverses_of(call: Call, numbers: Any, n: int, real: str) -> Any:
    """Return 1 over each of ``n`` float64 numbers, nan for 0 and for infinity."""
    inverses = call.arrays.empty((n,), real)
    kernel = kernels.compiled(kernels.inverse, kernels.real_of(real), SUM_BLOCK)
    queue(call, kernel, -(-n // SUM_BLOCK), SUM_BLOCK, numbers, inverses, n)
    return inverses


def sums_of_rows(
    call: Call, values: Any, n_rows: int, dtype: str, weights: Any = None
) -> Any:
    """Return the sum of each of ``n_rows`` rows of numbers, float64.

    It is nan where one of ``weights`` (n_rows,), float64, is 0.
    """
    sums = call.arrays.empty((n_rows,), "float64")
    memory, _ = kernels.types_of(dtype)
    n_columns = values.shape[0] // n_rows
    group = _group_of_row(n_columns)
    kernel = kernels.compiled(kernels.sum_rows, memory, group, SUM_BLOCK)
    n_blocks = -(-n_rows // (SUM_BLOCK // group))
    lengths = n_rows, n_columns, int(weights is not None)
    queue(call, kernel, n_blocks, SUM_BLOCK, values, weights, sums, *lengths)
    return sums


def _group_of_row(n_columns: int) -> int:
    """Return how many threads add up a row: all of a block have nothing to do in most.

    Samples of one row each are as many as rows of logits.
    """
    if n_columns <= 1:
        return 1
    if n_columns <= FEW_COLUMNS:
        return FEW_COLUMNS
    return kernels.WARP if n_columns <= 32 * kernels.WARP else SUM_BLOCK


def summary_on_host(call: Call) -> Summary:
    """Wait for the device and return what the call found out."""
    n_counted, total, wrong, weight = call.arrays.to_host(call.summary).tolist()
    return Summary(n_counted, total, int(wrong), weight)


def rows_on_host(call: Call) -> tuple[float, float]:
    """Wait for the device; return how many rows count, and the sum of their losses."""
    n_counted, total = call.arrays.to_host(call.summary).tolist()
    return n_counted, total

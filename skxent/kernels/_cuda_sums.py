"""CUDA kernels of sums over rows: a survey of class indices, and sums of parts.

Conventions are those of :mod:`skxent.kernels._cuda`.

Two stages, in an order that the lengths alone decide, so that a sum has the same bits
in every call: blocks add up a share each, and one block what they have found.
"""

import math

from numba import cuda, float64, int64

from skxent.kernels import NO_INDEX
from skxent.kernels._cuda_groups import WARP, group_sum
from skxent.kernels._cuda_memory import pointer_to, read_one, write_one
from skxent.kernels._jit import rule

__all__ = [
    "N_COUNTS",
    "N_PARTIAL",
    "inverse",
    "sum_columns",
    "sum_counts",
    "sum_rows",
    "survey",
    "write_pair",
    "write_partial",
]

# What a survey finds: how many indices are wrong, and what those weigh that count.
N_COUNTS = 2
# What a block of rows finds: how many of them count, and the sum of their losses.
N_PARTIAL = 2


@rule
def write_pair(first, second, p):
    """Write what a block has found."""
    out = pointer_to(p, float64)
    write_one(first, out, 2 * cuda.blockIdx.x)
    write_one(second, out, 2 * cuda.blockIdx.x + 1)


@cuda.jit(device=True)
def write_partial(total, n_counted, block, shared, partial_out):
    """Write what a block of rows has found, from what its threads have."""
    total = group_sum(total, block, shared)
    n_counted = group_sum(float64(n_counted), block, shared)
    if cuda.threadIdx.x == 0:
        write_pair(n_counted, total, partial_out)


@rule
def inverse_of(x):
    """Return ``1 / x``, nan for 0 and for infinity: nothing may come of inf * 0."""
    return math.nan if x == 0 or math.fabs(x) == math.inf else 1 / x


@cuda.jit(device=True)
def write_counts(wrong, weight, block, shared, counts_out, inverses):
    """Write what a block has counted; one that is alone ``1 / weight`` as well."""
    wrong = group_sum(wrong, block, shared)
    weight = group_sum(weight, block, shared)
    if cuda.threadIdx.x == 0:
        write_pair(wrong, weight, counts_out)
        if cuda.gridDim.x == 1:
            write_one(inverse_of(weight), inverses, 0)


def survey(real, block):
    """Return the kernel that surveys class indices; ``real`` is the type of weights.

    It writes what each row weighs, float64, where that is asked for. A block that is
    alone writes 1 over what the rows weigh, as `sum_counts` does for several.
    """
    n_warps = max(1, block // WARP)

    def kernel(
        target,
        class_weight,
        row_weight,
        counts_out,
        inverse_out,
        shares_out,
        n_rows,
        n_classes,
        ignore_index,
        class_step,
        is_weighted,
        is_per_row,
    ):
        shared = cuda.shared.array(n_warps, float64)
        indices = pointer_to(target, int64)
        of_class, of_row = pointer_to(class_weight, real), pointer_to(row_weight, real)
        shares = pointer_to(shares_out, float64)
        wrong, weight = float64(0), float64(0)
        share = (n_rows + cuda.gridDim.x - 1) // cuda.gridDim.x
        begin = cuda.blockIdx.x * share
        for row in range(begin + cuda.threadIdx.x, min(begin + share, n_rows), block):
            y = read_one(indices, row)
            of_this = 0.0
            if y != ignore_index or y == NO_INDEX:
                if y < 0 or y >= n_classes:
                    wrong += 1.0
                else:
                    of_this = float64(read_one(of_row, row)) if is_weighted else 1.0
                    if of_this != 0.0:
                        of_this *= float64(read_one(of_class, y * class_step))
            weight += of_this
            if is_per_row:
                write_one(of_this, shares, row)
        inverses = pointer_to(inverse_out, real)
        write_counts(wrong, weight, block, shared, counts_out, inverses)

    return kernel


def sum_counts(real, block):
    """Return the kernel of one block that adds up what several have counted.

    And writes 1 over what the rows weigh.
    """
    n_warps = max(1, block // WARP)

    def kernel(counts, sums_out, inverse_out, n):
        shared = cuda.shared.array(n_warps, float64)
        x = pointer_to(counts, float64)
        wrong, weight = float64(0), float64(0)
        for i in range(cuda.threadIdx.x, n, block):
            wrong += read_one(x, i * N_COUNTS)
            weight += read_one(x, i * N_COUNTS + 1)
        inverses = pointer_to(inverse_out, real)
        write_counts(wrong, weight, block, shared, sums_out, inverses)

    return kernel


def sum_columns(block):
    """Return the kernel that adds up the rows of (n_rows, n_columns), float64.

    Row ``b`` of the result is the sum over the share of block ``b``.
    """
    n_warps = max(1, block // WARP)

    def kernel(values, sums_out, n_rows, n_columns):
        shared = cuda.shared.array(n_warps, float64)
        x, out = pointer_to(values, float64), pointer_to(sums_out, float64)
        share = (n_rows + cuda.gridDim.x - 1) // cuda.gridDim.x
        begin = cuda.blockIdx.x * share
        for column in range(n_columns):
            total = float64(0)
            for row in range(
                begin + cuda.threadIdx.x, min(begin + share, n_rows), block
            ):
                total += read_one(x, row * n_columns + column)
            total = group_sum(total, block, shared)
            if cuda.threadIdx.x == 0:
                write_one(total, out, cuda.blockIdx.x * n_columns + column)

    return kernel


def sum_rows(memory, group, block):
    """Return the kernel that adds up each row of (n_rows, n_columns), in float64.

    The sum of a row whose weight is 0 is nan, if rows are weighted. A group of threads
    has a row, a block those of ``block // group``.
    """
    n_warps = max(1, block // WARP)

    def kernel(values, weights, sums_out, n_rows, n_columns, is_weighted):
        shared = cuda.shared.array(n_warps, float64)
        g = cuda.threadIdx.x % group
        row = cuda.blockIdx.x * (block // group) + cuda.threadIdx.x // group
        begin = row * n_columns
        total = float64(0)
        for column in range(g, n_columns if row < n_rows else 0, group):
            total += float64(read_one(pointer_to(values, memory), begin + column))
        total = group_sum(total, group, shared)
        if g == 0 and row < n_rows:
            if is_weighted and read_one(pointer_to(weights, float64), row) == 0:
                total = float64(math.nan)
            write_one(total, pointer_to(sums_out, float64), row)

    return kernel


def inverse(real, block):
    """Return the kernel that writes `inverse_of` of float64 numbers."""

    def kernel(numbers, inverses_out, n):
        i = cuda.blockIdx.x * block + cuda.threadIdx.x
        if i < n:
            result = inverse_of(read_one(pointer_to(numbers, float64), i))
            write_one(result, pointer_to(inverses_out, real), i)

    return kernel

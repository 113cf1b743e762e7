"""CUDA kernels of sums over rows: a survey of class indices, and sums of parts.

Conventions are those of :mod:`skxent.kernels._cuda`.

Two stages, in an order that the lengths alone decide, so that a sum has the same bits
in every call: blocks add up a share each, and one block what they have found.
"""

import math

from numba import cuda, float64, int64

from skxent.kernels._cuda_groups import WARP, group_sum
from skxent.kernels._cuda_memory import pointer_to, read_one, write_one

__all__ = ["N_COUNTS", "inverse", "sum_columns", "survey"]

# What a survey finds: how many indices are wrong, and what those weigh that count.
N_COUNTS = 2


def survey(real, block):
    """Return the kernel that surveys class indices; ``real`` is the type of weights."""
    n_warps = max(1, block // WARP)

    def kernel(
        target,
        class_weight,
        row_weight,
        counts_out,
        n_rows,
        n_classes,
        ignore_index,
        class_step,
        is_weighted,
    ):
        shared = cuda.shared.array(n_warps, float64)
        indices, out = pointer_to(target, int64), pointer_to(counts_out, float64)
        of_class, of_row = pointer_to(class_weight, real), pointer_to(row_weight, real)
        wrong, weight = float64(0), float64(0)
        share = (n_rows + cuda.gridDim.x - 1) // cuda.gridDim.x
        begin = cuda.blockIdx.x * share
        for row in range(begin + cuda.threadIdx.x, min(begin + share, n_rows), block):
            y = read_one(indices, row)
            if y == ignore_index:
                continue
            if y < 0 or y >= n_classes:
                wrong += 1.0
            else:
                of_this = float64(read_one(of_row, row)) if is_weighted else 1.0
                if of_this != 0.0:
                    weight += of_this * float64(read_one(of_class, y * class_step))
        wrong = group_sum(wrong, block, shared)
        weight = group_sum(weight, block, shared)
        if cuda.threadIdx.x == 0:
            write_one(wrong, out, cuda.blockIdx.x * N_COUNTS)
            write_one(weight, out, cuda.blockIdx.x * N_COUNTS + 1)

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


def inverse(real):
    """Return the kernel that writes ``1 / x`` of a float64 number, nan for 0."""

    def kernel(number, inverse_out):
        x = read_one(pointer_to(number, float64), 0)
        result = math.nan if x == 0 else 1 / x
        write_one(result, pointer_to(inverse_out, real), 0)

    return kernel

"""CUDA kernel of the loss of probabilities, of which a row has one that counts.

Conventions are those of :mod:`skxent.kernels._cuda`.

Row ``i`` is column ``i % n_columns`` of plane ``i // n_columns``. A thread reads the
number of the class index of its row, a probability or its logarithm. Probabilities are
limited to ``[low, high]`` in the loss, not in the gradient, which is 0 for all other
classes, and is so before the kernel begins.
"""

import math

from numba import cuda, float64

from skxent.kernels._cuda_groups import WARP, group_sum
from skxent.kernels._cuda_memory import pointer_to, read_one, start_of, write_one
from skxent.kernels._cuda_targets import class_of_row, targets_at
from skxent.kernels._rules import clip, ratio, weighted

__all__ = ["picked_loss"]


def picked_loss(memory, real, block, is_log, has_gradient):
    """Return the kernel of the loss, and of its gradient if it shall."""
    n_warps = max(1, block // WARP)

    def kernel(
        probabilities,
        target,
        on_value,
        row_weight,
        scale,
        limits,
        loss_out,
        partial_out,
        gradient_out,
        n_rows,
        n_classes,
        n_columns,
        ignore_index,
        class_step,
        is_weighted,
        is_per_row,
    ):
        x = pointer_to(probabilities, memory)
        targets = targets_at(
            real,
            target,
            on_value,
            on_value,
            class_step,
            row_weight,
            is_weighted,
            0,
            n_classes,
            ignore_index,
        )
        shared = cuda.shared.array(n_warps, float64)
        zero, one = real(0), real(1)
        row = cuda.blockIdx.x * block + cuda.threadIdx.x
        y, weight = class_of_row(targets, True, row, row < n_rows, one)
        loss = zero
        if weight != 0:
            i = start_of(row, n_rows, n_classes, n_columns) + y * n_columns
            weight *= read_one(targets.on, y * targets.class_step)
            p = read_one(x, i)
            slope = zero - weight * read_one(pointer_to(scale, real), 0)
            if is_log:
                loss = weighted(weight, zero - p)
            else:
                low = read_one(pointer_to(limits, real), 0)
                high = read_one(pointer_to(limits, real), 1)
                loss = weighted(weight, zero - math.log(clip(p, low, high)))
                slope = ratio(slope, p)
            if has_gradient:
                write_one(slope, pointer_to(gradient_out, memory), i)
        if is_per_row and row < n_rows:
            write_one(loss, pointer_to(loss_out, real), row)
        total = group_sum(float64(loss), block, shared)
        if cuda.threadIdx.x == 0:
            write_one(total, pointer_to(partial_out, float64), cuda.blockIdx.x)

    return kernel

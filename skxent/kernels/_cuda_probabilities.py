"""CUDA kernel of rows of probabilities: ``-sum_k t_k log p_k`` and its gradient.

Conventions are those of :mod:`skxent.kernels._cuda`.

Row ``i`` is column ``i % n_columns`` of plane ``i // n_columns``. A group of threads
goes over a row once, number by number.
"""

import math

from numba import cuda, float64

from skxent.kernels._cuda_groups import WARP, group_sum
from skxent.kernels._cuda_memory import pointer_to, read_one, start_of, write_one
from skxent.kernels._cuda_targets import class_of_row, target_of, targets_at
from skxent.kernels._rules import ratio, weighted

__all__ = ["doubtful_rows", "probability_rows_loss"]


def doubtful_rows(memory, real, group, block):
    """Return the kernel that counts the rows that may be no distributions.

    Those with an entry outside ``[0, most]``, or whose sum is more than ``most_off``
    from 1; ``limits`` holds the two.
    """
    n_warps = max(1, block // WARP)

    def kernel(probabilities, limits, counts_out, n_rows, n_classes):
        p, bounds = pointer_to(probabilities, memory), pointer_to(limits, real)
        shared = cuda.shared.array(n_warps, real)
        shared_counts = cuda.shared.array(n_warps, float64)
        zero, one = real(0), real(1)
        most, most_off = read_one(bounds, 0), read_one(bounds, 1)
        g = cuda.threadIdx.x % group
        row = cuda.blockIdx.x * (block // group) + cuda.threadIdx.x // group
        total, wrong = zero, zero
        for k in range(g, n_classes if row < n_rows else 0, group):
            x = read_one(p, row * n_classes + k)
            total += x
            if not (x >= 0 and x <= most):  # nor is nan
                wrong = one
        total = group_sum(total, group, shared)
        wrong = group_sum(wrong, group, shared)
        count = float64(0)
        if g == 0 and row < n_rows:
            if wrong > 0 or not abs(total - one) <= most_off:
                count = float64(1)
        count = group_sum(count, block, shared_counts)
        if cuda.threadIdx.x == 0:
            write_one(count, pointer_to(counts_out, float64), cuda.blockIdx.x)

    return kernel


def probability_rows_loss(memory, real, group, block, has_indices, has_gradient):
    """Return the kernel; the rows of planes need groups of one thread.

    ``memory`` is the numba type of arrays, ``real`` that which is computed with.
    """
    n_warps = max(1, block // WARP)

    def kernel(
        probabilities,
        target,
        on_value,
        off_value,
        row_weight,
        scale,
        loss_out,
        partial_out,
        gradient_out,
        n_rows,
        n_classes,
        n_columns,
        ignore_index,
        class_step,
        is_weighted,
        is_smooth,
        is_per_row,
    ):
        share, q = pointer_to(probabilities, memory), pointer_to(target, memory)
        out = pointer_to(gradient_out, memory)
        targets = targets_at(
            real,
            target,
            on_value,
            off_value,
            class_step,
            row_weight,
            is_weighted,
            is_smooth,
            n_classes,
            ignore_index,
        )
        shared = cuda.shared.array(n_warps, real)
        shared_losses = cuda.shared.array(n_warps, float64)
        zero, one = real(0), real(1)

        g = cuda.threadIdx.x % group
        row = cuda.blockIdx.x * (block // group) + cuda.threadIdx.x // group
        y, weight = class_of_row(targets, has_indices, row, row < n_rows, one)
        start = start_of(row, n_rows, n_classes, n_columns)
        factor = read_one(pointer_to(scale, real), 0) * weight
        loss = zero
        for k in range(g, n_classes if row < n_rows else 0, group):
            i = start + k * n_columns
            if weight != 0:
                t = target_of(
                    targets, has_indices, k, one if has_indices else read_one(q, i)
                )
                if has_indices and k == y:
                    t += read_one(targets.on, k * targets.class_step)
                p = read_one(share, i)
                loss += weighted(t, zero - math.log(p))
                if has_gradient:
                    write_one(ratio(-factor * t, p), out, i)
            elif has_gradient:
                write_one(zero, out, i)
        loss = group_sum(loss, group, shared)
        loss = weight * loss if g == 0 and weight != 0 else zero
        if is_per_row and g == 0 and row < n_rows:
            write_one(loss, pointer_to(loss_out, real), row)
        total = group_sum(float64(loss), block, shared_losses)
        if cuda.threadIdx.x == 0:
            write_one(total, pointer_to(partial_out, float64), cuda.blockIdx.x)

    return kernel

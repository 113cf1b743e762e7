"""CUDA kernel of softmax rows of planes: a thread has a row of any length.

Conventions are those of :mod:`skxent.kernels._cuda`. Neighbouring threads read
neighbouring numbers. A row is read for its largest logit, for its sums and for the
gradient; the caches have it the second time and the third.
"""

import math

from numba import cuda, float64

from skxent.kernels._cuda_groups import WARP
from skxent.kernels._cuda_memory import pointer_to, read_one, start_of, write_one
from skxent.kernels._cuda_sums import write_partial
from skxent.kernels._cuda_targets import (
    below,
    class_of_row,
    is_spread,
    loss_of,
    nothing,
    rest_of,
    shares_of,
    target_of,
    targets_at,
    with_index,
    with_logit,
    with_target,
)
from skxent.kernels._jit import rule
from skxent.kernels._rules import residual, weighted

__all__ = ["planes_loss"]


@rule
def sum_row(z, q, start, step, targets, has_indices, one):
    """Return the sums over a row."""
    m = nothing(one).m
    for k in range(targets.n_classes):
        x = read_one(z, start + k * step)
        m = x if x > m else m
    sums = below(m, one)
    for k in range(targets.n_classes):
        x = read_one(z, start + k * step)
        if is_spread(targets, has_indices):
            probability = one if has_indices else read_one(q, start + k * step)
            t = target_of(targets, has_indices, k, probability)
            sums = with_target(sums, x, t)
        sums = with_logit(sums, x, math.exp(x - m), one)
    return sums


@rule
def write_row(z, q, start, step, targets, has_indices, factor, sums, y, t_y, one, out):
    """Write the gradient of a row."""
    high, low = shares_of(factor * sums.mass, rest_of(sums, one), one)
    for k in range(targets.n_classes):
        e = math.exp(read_one(z, start + k * step) - sums.m)
        t = one - one
        if is_spread(targets, has_indices):
            probability = one if has_indices else read_one(q, start + k * step)
            t = target_of(targets, has_indices, k, probability)
        if has_indices and k == y:
            t = t_y
        slope = residual(high, low, e, factor * t)
        write_one(factor if factor == 0 else slope, out, start + k * step)


def planes_loss(memory, real, block, has_indices, is_smooth, has_gradient):
    """Return the kernel of the loss of rows, and of its gradient if it shall.

    ``memory`` is the numba type of arrays, ``real`` that which is computed with.
    """
    n_warps = max(1, block // WARP)

    def kernel(
        logits,
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
        is_per_row,
    ):
        z, q = pointer_to(logits, memory), pointer_to(target, memory)
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
        shared_losses = cuda.shared.array(n_warps, float64)
        one = real(1)
        total, n_counted = float64(0), one - one
        for first in range(cuda.blockIdx.x * block, n_rows, cuda.gridDim.x * block):
            row = first + cuda.threadIdx.x
            if row < n_rows:
                y, weight = class_of_row(targets, has_indices, row, row < n_rows, one)
                # a mean of no rows has a scale of nan
                factor = weighted(weight, read_one(pointer_to(scale, real), 0))
                start = start_of(row, n_rows, n_classes, n_columns)
                sums = sum_row(z, q, start, n_columns, targets, has_indices, one)
                t_y = one - one
                if has_indices:
                    z_y = read_one(z, start + y * n_columns)
                    sums, t_y = with_index(sums, targets, y, z_y, one)
                loss = loss_of(sums, rest_of(sums, one), weight)
                total += float64(loss)
                n_counted += one if weight != 0 else one - one
                if is_per_row:
                    write_one(loss, pointer_to(loss_out, real), row)
                if has_gradient:
                    write_row(
                        z,
                        q,
                        start,
                        n_columns,
                        targets,
                        has_indices,
                        factor,
                        sums,
                        y,
                        t_y,
                        one,
                        out,
                    )
        write_partial(total, n_counted, block, shared_losses, partial_out)

    return kernel

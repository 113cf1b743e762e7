"""CUDA kernel of the product of the Hessian of a softmax loss with a vector.

Conventions are those of :mod:`skxent.kernels._cuda`.

Row ``i`` is column ``i % n_columns`` of plane ``i // n_columns``. A group of threads
goes over a row three times, number by number: for its largest logit, for its sums, and
for the product. The caches have it the second time and the third.
"""

import math

from numba import cuda

from skxent.kernels._cuda_groups import WARP, group_max, group_sum
from skxent.kernels._cuda_memory import pointer_to, read_one, start_of, write_one
from skxent.kernels._cuda_targets import (
    Sums,
    class_of_row,
    is_spread,
    nothing,
    on_value_of,
    raised,
    rest_of,
    shares_of,
    target_of,
    targets_at,
    with_logit,
)
from skxent.kernels._rules import curvature, residual

__all__ = ["rows_curvature"]


def rows_curvature(memory, real, group, block, has_indices):
    """Return the kernel; the rows of planes need groups of one thread.

    ``memory`` is the numba type of arrays, ``real`` that which is computed with.
    """
    n_warps = max(1, block // WARP)

    def kernel(
        logits,
        target,
        on_value,
        off_value,
        row_weight,
        vector,
        scale,
        product_out,
        n_rows,
        n_classes,
        n_columns,
        ignore_index,
        class_step,
        is_weighted,
        is_smooth,
    ):
        z, v = pointer_to(logits, memory), pointer_to(vector, memory)
        q, out = pointer_to(target, memory), pointer_to(product_out, memory)
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
        zero, one = real(0), real(1)

        g = cuda.threadIdx.x % group
        row = cuda.blockIdx.x * (block // group) + cuda.threadIdx.x // group
        y, weight = class_of_row(targets, has_indices, row, row < n_rows, one)
        start = start_of(row, n_rows, n_classes, n_columns)
        n_seen = 0 if weight == 0 else n_classes

        m = nothing(one).m
        for k in range(g, n_seen, group):
            x = read_one(z, start + k * n_columns)
            m = x if x > m else m
        sums = raised(nothing(one), group_max(m, group, shared))
        sum_ev, mass = zero, zero
        for k in range(g, n_seen, group):
            i = start + k * n_columns
            x = read_one(z, i)
            e = math.exp(x - sums.m)
            sums = with_logit(sums, x, e, one)
            sum_ev += e * read_one(v, i)
            if is_spread(targets, has_indices):
                probability = one if has_indices else read_one(q, i)
                mass += target_of(targets, has_indices, k, probability)
        ones = group_sum(sums.ones, group, shared)
        rest = group_sum(sums.rest, group, shared)
        rest = rest_of(Sums(sums.m, rest, ones, zero, zero), one)
        mass = group_sum(mass, group, shared)
        high, low = shares_of(one, rest, one)
        # a vector may be infinite, and ``low`` is 0 or of either sign
        mean = high * group_sum(sum_ev, group, shared)
        if has_indices:
            mass += on_value_of(targets, y, one)
        factor = read_one(pointer_to(scale, real), 0) * weight * mass
        for k in range(g, n_classes if row < n_rows else 0, group):
            i = start + k * n_columns
            product = zero
            if weight != 0:
                p = residual(high, low, math.exp(read_one(z, i) - sums.m), zero)
                product = curvature(factor, p, read_one(v, i), mean)
            write_one(product, out, i)

    return kernel

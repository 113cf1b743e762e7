"""CUDA kernels of softmax rows: a thread has a row.

Conventions are those of :mod:`skxent.kernels._cuda`.

Rows of few classes that lie side by side are staged: a block copies its rows to shared
memory and the gradient back, 16 bytes at a time. There a row begins at another bank
than its neighbours: the step from row to row is odd, or twice an odd number.

In planes neighbouring threads read neighbouring numbers as it is.
"""

import math

from numba import cuda, float64

from skxent.kernels._cuda_groups import WARP, group_sum
from skxent.kernels._cuda_memory import (
    WIDTH,
    pointer_to,
    quotient,
    read_one,
    read_wide,
    write_one,
    write_wide,
)
from skxent.kernels._cuda_targets import (
    class_of_row,
    is_spread,
    loss_of,
    nothing,
    raised,
    rest_of,
    shares_of,
    target_of,
    targets_at,
    with_index,
    with_logit,
    with_target,
)
from skxent.kernels._jit import rule
from skxent.kernels._rules import residual

__all__ = ["short_rows_loss", "staged_step"]


@rule
def staged_step(n_classes):
    """Return the step between rows in shared memory."""
    return n_classes + 1 if n_classes % 4 == 0 else n_classes


@rule
def stage(p, begin, n, n_classes, thread, block, own, lanes, staged):
    """Copy ``n`` elements from ``begin`` on to shared memory."""
    step = staged_step(n_classes)
    for i in range(thread * lanes, n, block * lanes):
        if i + lanes <= n:
            read_wide(p, begin + i, own, 0)
        else:
            for lane in range(lanes):
                if i + lane < n:
                    own[lane] = read_one(p, begin + i + lane)
        row = quotient(i, n_classes)
        k = i - row * n_classes
        for lane in range(lanes):
            if i + lane < n:
                write_one(own[lane], staged, row * step + k)
            k += 1
            if k == n_classes:
                row, k = row + 1, 0


@rule
def unstage(staged, begin, n, n_classes, thread, block, own, lanes, p):
    """Undo :func:`stage`."""
    step = staged_step(n_classes)
    for i in range(thread * lanes, n, block * lanes):
        row = quotient(i, n_classes)
        k = i - row * n_classes
        for lane in range(lanes):
            if i + lane < n:
                own[lane] = read_one(staged, row * step + k)
            k += 1
            if k == n_classes:
                row, k = row + 1, 0
        if i + lanes <= n:
            write_wide(own, 0, p, begin + i)
        else:
            for lane in range(lanes):
                if i + lane < n:
                    write_one(own[lane], p, begin + i + lane)


@rule
def sum_row(z, q, start, step, targets, has_indices, keeps, one):
    """Return the sums over a row; its exponentials replace the logits if ``keeps``."""
    m = nothing(one).m
    for k in range(targets.n_classes):
        x = read_one(z, start + k * step)
        m = x if x > m else m
    sums = raised(nothing(one), m)
    for k in range(targets.n_classes):
        x = read_one(z, start + k * step)
        if is_spread(targets, has_indices):
            probability = one if has_indices else read_one(q, start + k * step)
            t = target_of(targets, has_indices, k, probability)
            sums = with_target(sums, x, t)
        e = math.exp(x - m)
        sums = with_logit(sums, x, e, one)
        if keeps:
            write_one(e, z, start + k * step)
    return sums


@rule
def write_row(
    z, q, start, step, targets, has_indices, kept, factor, sums, y, t_y, one, out
):
    """Write the gradient of a row; ``kept`` if exponentials stand for its logits."""
    high, low = shares_of(factor * sums.mass, rest_of(sums, one), one)
    for k in range(targets.n_classes):
        e = read_one(z, start + k * step)
        if not kept:
            e = math.exp(e - sums.m)
        t = one - one
        if is_spread(targets, has_indices):
            probability = one if has_indices else read_one(q, start + k * step)
            t = target_of(targets, has_indices, k, probability)
        if has_indices and k == y:
            t = t_y
        slope = residual(high, low, e, factor * t)
        write_one(factor if factor == 0 else slope, out, start + k * step)


def short_rows_loss(memory, real, block, is_staged, has_indices, has_gradient):
    """Return the kernel of the loss of rows, and of its gradient if it shall.

    ``memory`` is the numba type of arrays, ``real`` that which is computed with. Where
    rows are staged, shared memory has to have room for ``staged_step`` numbers for each
    row of the block, twice if targets are probabilities.
    """
    lanes = WIDTH * 8 // memory.bitwidth
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
        is_smooth,
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
        staged = cuda.shared.array(0, real)
        own = cuda.local.array(lanes, real)
        one = real(1)

        thread = cuda.threadIdx.x
        first = cuda.blockIdx.x * block
        row = first + thread
        n = min(block, n_rows - first) * n_classes
        begin = first * n_classes
        size = block * staged_step(n_classes)
        if is_staged:
            stage(z, begin, n, n_classes, thread, block, own, lanes, staged)
            if not has_indices:
                stage(q, begin, n, n_classes, thread, block, own, lanes, staged[size:])
            cuda.syncthreads()
        y, weight = class_of_row(targets, has_indices, row, n_rows, one)
        factor = read_one(pointer_to(scale, real), 0) * weight
        loss = one - one
        if row < n_rows:
            if is_staged:
                start = thread * staged_step(n_classes)
                z_y = read_one(staged, start + y)
                sums = sum_row(
                    staged, staged[size:], start, 1, targets, has_indices, True, one
                )
            else:
                start = row // n_columns * n_columns * n_classes + row % n_columns
                z_y = read_one(z, start + y * n_columns)
                sums = sum_row(z, q, start, n_columns, targets, has_indices, False, one)
            t_y = one - one
            if has_indices:
                sums, t_y = with_index(sums, targets, y, z_y)
            loss = loss_of(sums, rest_of(sums, one), weight)
            if is_per_row:
                write_one(loss, pointer_to(loss_out, real), row)
            if has_gradient:
                if is_staged:
                    write_row(
                        staged,
                        staged[size:],
                        start,
                        1,
                        targets,
                        has_indices,
                        True,
                        factor,
                        sums,
                        y,
                        t_y,
                        one,
                        staged,
                    )
                else:
                    write_row(
                        z,
                        q,
                        start,
                        n_columns,
                        targets,
                        has_indices,
                        False,
                        factor,
                        sums,
                        y,
                        t_y,
                        one,
                        out,
                    )
        total = group_sum(float64(loss), block, shared_losses)
        if thread == 0:
            write_one(total, pointer_to(partial_out, float64), cuda.blockIdx.x)
        if is_staged and has_gradient:
            cuda.syncthreads()
            unstage(staged, begin, n, n_classes, thread, block, own, lanes, out)

    return kernel

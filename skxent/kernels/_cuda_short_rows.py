"""CUDA kernels of softmax rows: a thread has a row, all of it in registers.

Conventions are those of :mod:`skxent.kernels._cuda`. The number of classes is known
when a kernel is compiled.

Rows that lie side by side are staged: a warp copies 32 of them to shared memory and the
gradient back, 16 bytes at a time. The step from row to row is odd there, so that rows
begin at different banks. In planes neighbouring threads read neighbouring numbers as it
is.

A class that has no target takes one product; that of the index is written once more.
"""

import math
from typing import Any, NamedTuple

from numba import cuda, float64, int32

from skxent.kernels._cuda_groups import WARP
from skxent.kernels._cuda_memory import (
    WIDTH,
    pointer_to,
    quotient,
    read_one,
    read_wide,
    start_of,
    write_one,
    write_wide,
)
from skxent.kernels._cuda_sums import write_partial
from skxent.kernels._cuda_targets import (
    below,
    class_of_index,
    class_of_row,
    index_of_row,
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

__all__ = ["short_rows_loss"]

MOST_BITS_OF_SHORT = 40 * 32


@rule
def staged_step(n_classes):
    """Return the step between rows in shared memory."""
    return n_classes + 1 - n_classes % 2


@rule
def staged_place(i, n_classes):
    """Return where element ``i`` of the rows is in shared memory."""
    return i if n_classes % 2 else i + quotient(i, n_classes)


@rule
def run_of(n_classes, lanes):
    """Return how many neighbours of 16 bytes are neighbours in shared memory, too."""
    run = 1
    while run < lanes and n_classes % (2 * run) == 0:
        run *= 2
    return lanes if n_classes % 2 else run


class Staging(NamedTuple):
    """How a thread copies its share of the rows of a warp."""

    lane: Any
    lanes: Any  # numbers of 16 bytes
    run: Any
    n_own: Any  # numbers of the thread
    at: Any  # where the warp's rows begin in shared memory


@rule
def stage(p, begin, n_rows, n_classes, way, own, staged):
    """Copy rows that begin at element ``begin`` to shared memory."""
    lane, lanes, run, n_own, at = way
    size = WARP * n_classes
    if n_rows == WARP:
        first = begin + lane * lanes
        for v in range(0, n_own, lanes):
            if v + lanes <= n_classes or v * WARP + lane * lanes < size:
                read_wide(p, first + v * WARP, own, v)
        for v in range(0, n_own, run):
            i = v // lanes * lanes * WARP + lane * lanes + v % lanes
            if v // lanes * lanes + lanes <= n_classes or i < size:
                place = at + staged_place(i, n_classes)
                for k in range(run):
                    write_one(own[v + k], staged, place + k)
    else:
        for i in range(lane, n_rows * n_classes, WARP):
            x = read_one(p, begin + i)
            write_one(x, staged, at + staged_place(i, n_classes))


@rule
def unstage(staged, n_rows, n_classes, way, own, p, begin):
    """Undo :func:`stage`."""
    lane, lanes, run, n_own, at = way
    size = WARP * n_classes
    if n_rows == WARP:
        first = begin + lane * lanes
        for v in range(0, n_own, run):
            i = v // lanes * lanes * WARP + lane * lanes + v % lanes
            if v // lanes * lanes + lanes <= n_classes or i < size:
                place = at + staged_place(i, n_classes)
                for k in range(run):
                    own[v + k] = read_one(staged, place + k)
        for v in range(0, n_own, lanes):
            if v + lanes <= n_classes or v * WARP + lane * lanes < size:
                write_wide(own, v, p, first + v * WARP)
    else:
        for i in range(lane, n_rows * n_classes, WARP):
            x = read_one(staged, at + staged_place(i, n_classes))
            write_one(x, p, begin + i)


@rule
def read_row(p, start, step, n_classes, counts, own):
    """Read a row, zeros for one that does not count."""
    for k in range(n_classes):
        own[k] = read_one(p, start + k * step)
    if not counts:
        for k in range(n_classes):
            own[k] = 0


@rule
def sum_row(own, n_classes, targets, has_indices, q, start, step, one):
    """Return the sums over a row, whose logits become exponentials."""
    m = nothing(one).m
    for k in range(n_classes):
        m = own[k] if own[k] > m else m
    sums = below(m, one)
    for k in range(n_classes):
        if is_spread(targets, has_indices):
            probability = one if has_indices else read_one(q, start + k * step)
            t = target_of(targets, has_indices, k, probability)
            sums = with_target(sums, own[k], t)
        own[k], x = math.exp(own[k] - m), own[k]
        sums = with_logit(sums, x, own[k], one)
    return sums


@rule
def write_row(
    own, n_classes, targets, has_indices, q, start, step, factor, high, low, one, out
):
    """Write the gradient of a row of exponentials, without what an index adds."""
    for k in range(n_classes):
        slope = high * own[k]
        if is_spread(targets, has_indices):
            probability = one if has_indices else read_one(q, start + k * step)
            t = target_of(targets, has_indices, k, probability)
            slope = residual(high, low, own[k], weighted(factor, t))
        write_one(slope, out, start + k * step)


def short_rows_loss(
    memory, real, n_classes, block, is_staged, has_indices, is_smooth, has_gradient
):
    """Return the kernel of the loss of rows, and of its gradient if it shall.

    ``memory`` is the numba type of arrays, ``real`` that which is computed with.
    """
    lanes = WIDTH * 8 // memory.bitwidth
    n_warps = max(1, block // WARP)
    n_own = -(-n_classes // lanes) * lanes
    run = run_of(n_classes, lanes)
    row_step = staged_step(n_classes)
    is_short = n_classes * real.bitwidth <= MOST_BITS_OF_SHORT
    size = WARP * row_step  # of what a warp stages
    n_staged = n_warps * size if is_staged else 1
    n_staged_q = 1 if has_indices else n_staged

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
        n_columns,
        ignore_index,
        class_step,
        is_weighted,
        is_per_row,
    ):
        z, out = pointer_to(logits, memory), pointer_to(gradient_out, memory)
        q = pointer_to(target, memory)
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
        staged = cuda.shared.array(n_staged, real)
        staged_q = cuda.shared.array(n_staged_q, real)
        parts = cuda.local.array(n_own, real)
        own = cuda.local.array(n_classes, real)
        zero, one = real(0), real(1)

        lane = int32(cuda.threadIdx.x % WARP)
        warp = cuda.blockIdx.x * n_warps + cuda.threadIdx.x // WARP
        at = cuda.threadIdx.x // WARP * size
        way = Staging(lane, lanes, run, n_own, at)
        factor_of_all = read_one(pointer_to(scale, real), 0)
        total, n_counted = float64(0), zero
        first = warp * WARP
        while first < n_rows:
            row, begin = first + lane, first * n_classes
            n_left = int32(min(WARP, n_rows - first))
            is_there = lane < n_left
            # asked for before the row, so that the one is not waited for and then the
            # other; of long rows it takes a third more registers
            if is_short:
                index = index_of_row(targets, has_indices, row, n_rows)
            else:
                y, weight = class_of_row(targets, has_indices, row, is_there, one)
            if is_staged:
                stage(z, begin, n_left, n_classes, way, parts, staged)
                if not has_indices:
                    stage(q, begin, n_left, n_classes, way, parts, staged_q)
                cuda.syncwarp()
                rows, row_q, row_out = staged, staged_q, staged
                start, step = at + lane * row_step, 1
            else:
                rows, row_q, row_out = z, q, out
                there = min(row, n_rows - 1)  # where something can be read
                start, step = start_of(there, n_rows, n_classes, n_columns), n_columns
            if is_short:
                y, weight = class_of_index(
                    targets, has_indices, index, row, is_there, one
                )
            # a mean of no rows has a scale of nan
            factor = weighted(weight, factor_of_all)
            counts = weight != 0
            z_y = zero
            read_row(rows, start, step, n_classes, counts, own)
            if has_indices and counts:
                z_y = read_one(rows, start + y * step)
            sums = sum_row(
                own, n_classes, targets, has_indices, row_q, start, step, one
            )
            t_y = zero
            if has_indices:
                sums, t_y = with_index(sums, targets, y, z_y, one)
            rest = rest_of(sums, one)
            if is_there:
                loss = loss_of(sums, rest, weight)
                total += float64(loss)
                n_counted += one if counts else zero
                if is_per_row:
                    write_one(loss, pointer_to(loss_out, real), row)
            if has_gradient and (is_staged or is_there):
                high, low = shares_of(weighted(factor, sums.mass), rest, one)
                write_row(
                    own,
                    n_classes,
                    targets,
                    has_indices,
                    row_q,
                    start,
                    step,
                    factor,
                    high,
                    low,
                    one,
                    row_out,
                )
                if has_indices:
                    # an ignored row has the index 0, which may weigh inf
                    t_y = weighted(factor, t_y)
                    slope = residual(high, low, math.exp(z_y - sums.m), t_y)
                    write_one(slope, row_out, start + y * step)
            if has_gradient and is_staged:
                cuda.syncwarp()
                unstage(staged, n_left, n_classes, way, parts, out, begin)
            cuda.syncwarp()  # before the next rows are staged over these
            first += cuda.gridDim.x * n_warps * WARP
        write_partial(total, n_counted, block, shared_losses, partial_out)

    return kernel

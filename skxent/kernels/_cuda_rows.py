"""CUDA kernels of softmax rows: a group of threads has a row.

Conventions are those of :mod:`skxent.kernels._cuda`.

A thread has every ``group``-th 16 bytes, a part, of the row: ``n_parts`` of them at a
time. Where these are the whole row, it stays in registers, which is read once and
written once. A longer one is read in turns: the sums follow the largest logit so far,
and the gradient goes back from the end of the row, of which the last turn is in
registers and some before it in the cache.

Rows need not begin at a multiple of 16 bytes. The parts do: numbers before the first
and behind the last part of a row are extra ones, which some threads have, one each.

A class that has no target takes one product. That of the index is written once more, by
the thread that wrote it.
"""

import math
from typing import Any, NamedTuple

from numba import cuda, float64, int32

from skxent.kernels._cuda_groups import (
    WARP,
    group_max,
    sum_of_neighbours,
)
from skxent.kernels._cuda_memory import (
    WIDTH,
    pointer_to,
    read_one,
    read_wide,
    stream_wide,
    write_one,
    write_wide,
)
from skxent.kernels._cuda_sums import write_pair, write_partial
from skxent.kernels._cuda_targets import (
    Sums,
    below,
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
from skxent.kernels._rules import residual, weighted

__all__ = ["Schedule", "rows_loss"]


class Schedule(NamedTuple):
    """How threads share rows; ``group`` is the block or fits in a warp."""

    group: int
    n_parts: int
    block: int
    is_whole: bool  # whether these parts are the whole row
    is_aligned: bool  # whether every row begins at a multiple of 16 bytes
    # blocks that a multiprocessor shall have room for, 0 where nothing asks for it
    n_resident: int = 0


class Place(NamedTuple):
    """Where a thread finds its share of a row, or of a turn."""

    begin: Any  # of the row
    first: Any  # element of the thread's first part
    left: Any  # elements from there to where the parts of all threads end
    extra: Any  # element before or behind the parts, -1 for none


@rule
def place_of(begin, n_classes, g, lanes, is_aligned):
    """Return the place of thread ``g`` of the group."""
    if is_aligned:
        return Place(begin, begin + g * lanes, int32(n_classes - g * lanes), -1)
    lead = -begin & (lanes - 1)
    size = (n_classes - lead) & -lanes
    extra = -1
    if g < lead:
        extra = begin + g
    if g >= lanes and lead + size + g - lanes < n_classes:
        extra = begin + lead + size + g - lanes
    return Place(begin, begin + lead + g * lanes, int32(size - g * lanes), extra)


@rule
def owner_of(begin, n_classes, y, lanes, group, is_aligned):
    """Return which thread of the group has class ``y``."""
    lead = 0 if is_aligned else -begin & (lanes - 1)
    size = (n_classes - lead) & -lanes
    k = y - lead
    if k < 0:
        return y
    return lanes + k - size if k >= size else k // lanes & (group - 1)


@rule
def turned(place, turn, size):
    """Return the place of a turn of ``size`` elements."""
    if turn == 0:
        return place
    skipped = turn * size
    left = int32(place.left - skipped)
    return Place(place.begin, place.first + skipped, left, -1)


@rule
def exists(place, v, lanes, step, n_own):
    """Return whether there is a number ``v`` of the thread's own."""
    return place.extra >= 0 if v == n_own else place.left > v // lanes * step


@rule
def class_at(place, v, lanes, step, n_own):
    """Return which class number ``v`` of the thread's own is."""
    if v == n_own:
        return place.extra - place.begin
    return place.first - place.begin + (v // lanes * step + v % lanes)


@rule
def read_own(p, place, lanes, step, n_own, n_all, fill, own):
    """Read the numbers that exist, ``fill`` for others."""
    for v in range(n_all):
        own[v] = fill
    for v in range(0, n_own, lanes):
        if exists(place, v, lanes, step, n_own):
            read_wide(p, place.first + v // lanes * step, own, v)
    if n_all > n_own and place.extra >= 0:
        own[n_own] = read_one(p, place.extra)


@rule
def write_own(own, place, lanes, step, n_own, n_all, is_streamed, p):
    """Write the numbers that exist."""
    for v in range(0, n_own, lanes):
        if exists(place, v, lanes, step, n_own):
            if is_streamed:
                stream_wide(own, v, p, place.first + v // lanes * step)
            else:
                write_wide(own, v, p, place.first + v // lanes * step)
    if n_all > n_own and place.extra >= 0:
        write_one(own[n_own], p, place.extra)


@rule
def largest(own, n, m):
    """Return the largest of ``n`` numbers and ``m``."""
    for k in range(n):
        m = own[k] if own[k] > m else m
    return m


@cuda.jit(device=True)
def joined(sums, has_linear, group, shared, n_warps):
    """Return the sums over the group, whose threads know the same largest logit.

    ``shared`` has room for four numbers of each warp; a barrier has to lie between two
    calls.
    """
    n = min(group, WARP)
    rest, ones = sum_of_neighbours(sums.rest, n), sum_of_neighbours(sums.ones, n)
    linear, mass = sums.linear, sums.mass
    if has_linear:
        linear, mass = sum_of_neighbours(linear, n), sum_of_neighbours(mass, n)
    if group > WARP:
        lane, warp = cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
        if lane == 0:
            shared[warp] = rest
            shared[n_warps + warp] = ones
            if has_linear:
                shared[2 * n_warps + warp] = linear
                shared[3 * n_warps + warp] = mass
        cuda.syncthreads()
        warp = lane % n_warps
        rest = sum_of_neighbours(shared[warp], n_warps)
        ones = sum_of_neighbours(shared[n_warps + warp], n_warps)
        if has_linear:
            linear = sum_of_neighbours(shared[2 * n_warps + warp], n_warps)
            mass = sum_of_neighbours(shared[3 * n_warps + warp], n_warps)
    return Sums(sums.m, rest, ones, linear, mass)


def rows_loss(memory, real, schedule, has_indices, is_smooth, has_gradient):
    """Return the kernel of the loss of rows, and of its gradient if it shall.

    ``memory`` is the numba type of arrays, ``real`` that which is computed with.
    """
    group, n_parts, block, is_whole, is_aligned, _ = schedule
    lanes = WIDTH * 8 // memory.bitwidth
    n_warps = max(1, block // WARP)
    n_shared = 4 * n_warps
    n_groups = block // group
    n_own = n_parts * lanes
    n_all = n_own if is_aligned else n_own + 1
    step = group * lanes
    turn_size = n_parts * step
    n_q = 1 if has_indices else n_all
    # the cache shall keep what is read a second time instead
    is_streamed = not is_whole

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
        shared_max = cuda.shared.array(n_warps, real)
        shared_sums = cuda.shared.array(n_shared, real)
        shared_losses = cuda.shared.array(n_warps, float64)
        found = cuda.shared.array(2, float64)
        own = cuda.local.array(n_all, real)
        own_q = cuda.local.array(n_q, real)
        zero, one, lowest = real(0), real(1), real(-math.inf)
        n_turns = 1 if is_whole else (n_classes + turn_size - 1) // turn_size

        g = cuda.threadIdx.x % group
        # what the first thread of a group adds up; a row of a block needs the registers
        total, n_counted = float64(0), zero
        if group == block and g == 0:
            found[0] = found[1] = 0
        first = cuda.blockIdx.x * n_groups
        while first < n_rows:
            row = first + cuda.threadIdx.x // group
            y, weight = class_of_row(targets, has_indices, row, row < n_rows, one)
            begin = row * n_classes
            place = place_of(begin, n_classes, g, lanes, is_aligned)
            # nothing is read of a row that does not count, or behind the last
            counts = weight != 0
            seen = place if counts else Place(begin, begin, int32(0), -1)
            fill = lowest if counts else zero
            z_y = zero  # asked for before the row, so that nobody waits for it
            if has_indices and counts:
                z_y = read_one(z, begin + y)

            sums = nothing(one)
            for turn in range(n_turns):
                here = turned(seen, turn, turn_size)
                read_own(z, here, lanes, step, n_own, n_all, fill, own)
                if not has_indices:
                    read_own(q, here, lanes, step, n_own, n_all, zero, own_q)
                m = largest(own, n_all, sums.m)
                if is_whole:
                    sums = below(group_max(m, group, shared_max), one)
                else:
                    sums = raised(sums, m)
                for v in range(n_all):
                    if is_spread(targets, has_indices):
                        if exists(here, v, lanes, step, n_own):
                            k = class_at(here, v, lanes, step, n_own)
                            t = target_of(targets, has_indices, k, own_q[v % n_q])
                            sums = with_target(sums, own[v], t)
                    e = math.exp(own[v] - sums.m)
                    sums = with_logit(sums, own[v], e, one)
                    if is_whole:
                        own[v] = e
            if not is_whole:
                sums = raised(sums, group_max(sums.m, group, shared_max))
            has_linear = is_spread(targets, has_indices)
            sums = joined(sums, has_linear, group, shared_sums, n_warps)
            t_y = zero
            if has_indices and counts:
                sums, t_y = with_index(sums, targets, y, z_y, one)
            rest = rest_of(sums, one)
            if g == 0 and row < n_rows:
                loss = loss_of(sums, rest, weight)
                if group == block:
                    found[0] += float64(one if counts else zero)
                    found[1] += float64(loss)
                else:
                    total += float64(loss)
                    n_counted += one if counts else zero
                if is_per_row:
                    write_one(loss, pointer_to(loss_out, real), row)

            if has_gradient and row < n_rows:
                # a mean of no rows has a scale of nan
                factor = weighted(weight, read_one(pointer_to(scale, real), 0))
                high, low = shares_of(factor * sums.mass, rest, one)
                for turn in range(n_turns - 1, -1, -1):
                    here = turned(seen, turn, turn_size)
                    if turn < n_turns - 1:
                        read_own(z, here, lanes, step, n_own, n_all, fill, own)
                        if not has_indices:
                            read_own(q, here, lanes, step, n_own, n_all, zero, own_q)
                    for v in range(n_all):
                        e = own[v] if is_whole else math.exp(own[v] - sums.m)
                        slope = high * e
                        if is_spread(targets, has_indices):
                            t = zero
                            if exists(here, v, lanes, step, n_own):
                                k = class_at(here, v, lanes, step, n_own)
                                t = target_of(targets, has_indices, k, own_q[v % n_q])
                            slope = residual(high, low, e, factor * t)
                        own[v] = slope
                    there = turned(place, turn, turn_size)
                    write_own(own, there, lanes, step, n_own, n_all, is_streamed, out)
                if has_indices and counts:
                    if g == owner_of(begin, n_classes, y, lanes, group, is_aligned):
                        e = math.exp(z_y - sums.m)
                        slope = residual(high, low, e, factor * t_y)
                        write_one(slope, out, begin + y)
            first += cuda.gridDim.x * n_groups
        if group < block:
            write_partial(total, n_counted, block, shared_losses, partial_out)
        elif g == 0:
            write_pair(found[0], found[1], partial_out)

    return kernel

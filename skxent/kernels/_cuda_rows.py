"""CUDA kernels of softmax rows: a group of threads has a row.

Conventions are those of :mod:`skxent.kernels._cuda`.

A thread has every ``group``-th 16 bytes, a part, of the row: ``n_parts`` of them at a
time. Where these are the whole row, it stays in registers, which is read once and
written once. A longer one is read in turns: the sums follow the largest logit so far,
and the gradient goes back from the end of the row, which the cache still has.

Rows need not begin at a multiple of 16 bytes. The parts do: numbers before the first
and behind the last part of a row are extra ones, which some threads have, one each.
"""

import math
from typing import Any, NamedTuple

from numba import cuda, float64

from skxent.kernels._cuda_groups import WARP, group_max, group_sum
from skxent.kernels._cuda_memory import (
    WIDTH,
    pointer_to,
    read_one,
    read_wide,
    write_one,
    write_wide,
)
from skxent.kernels._cuda_targets import (
    Sums,
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

__all__ = ["Schedule", "rows_loss"]


class Schedule(NamedTuple):
    """How threads share rows; ``group`` is the block or fits in a warp."""

    group: int
    n_parts: int
    block: int
    is_whole: bool  # whether these parts are the whole row


class Place(NamedTuple):
    """Where a thread finds its share of a row."""

    begin: Any  # of the row
    first: Any  # element of the thread's first part
    last: Any  # where the parts of all threads end
    extra: Any  # element before or behind the parts, -1 for none


@rule
def place_of(begin, n_classes, g, lanes):
    """Return the place of thread ``g`` of the group."""
    end = begin + n_classes
    first = min(begin + (-begin) % lanes, end)
    last = max(first, end - end % lanes)
    extra, behind = begin + g, first
    if g >= lanes:
        extra, behind = last + g - lanes, min(end, last + lanes)
    return Place(begin, first + g * lanes, last, extra if extra < behind else -1)


@rule
def element(place, v, turn, lanes, step, n_own):
    """Return which element number ``v`` of a turn is, if it exists."""
    if v == n_own:
        return place.extra
    return place.first + (turn * (n_own // lanes) + v // lanes) * step + v % lanes


@rule
def exists(place, v, turn, lanes, step, n_own):
    """Return whether a row has number ``v`` of a turn."""
    if v == n_own:
        return turn == 0 and place.extra >= 0
    return element(place, v // lanes * lanes, turn, lanes, step, n_own) < place.last


@rule
def read_turn(p, place, turn, lanes, step, n_own, fill, own):
    """Read the numbers of a turn, ``fill`` for those that do not exist."""
    for v in range(0, n_own, lanes):
        if exists(place, v, turn, lanes, step, n_own):
            read_wide(p, element(place, v, turn, lanes, step, n_own), own, v)
        else:
            for lane in range(lanes):
                own[v + lane] = fill
    own[n_own] = fill
    if exists(place, n_own, turn, lanes, step, n_own):
        own[n_own] = read_one(p, place.extra)


@rule
def write_turn(own, place, turn, lanes, step, n_own, p):
    """Write the numbers of a turn that exist."""
    for v in range(0, n_own, lanes):
        if exists(place, v, turn, lanes, step, n_own):
            write_wide(own, v, p, element(place, v, turn, lanes, step, n_own))
    if exists(place, n_own, turn, lanes, step, n_own):
        write_one(own[n_own], p, place.extra)


@rule
def largest(own, n, m):
    """Return the largest of ``n`` numbers and ``m``."""
    for k in range(n):
        m = own[k] if own[k] > m else m
    return m


@cuda.jit(device=True)
def joined(sums, has_linear, group, shared, one):
    """Return the sums over the group."""
    sums = raised(sums, group_max(sums.m, group, shared))
    rest = group_sum(sums.rest, group, shared)
    ones = group_sum(sums.ones, group, shared)
    if not has_linear:
        return Sums(sums.m, rest, ones, sums.linear, sums.mass)
    linear = group_sum(sums.linear, group, shared)
    return Sums(sums.m, rest, ones, linear, group_sum(sums.mass, group, shared))


def rows_loss(memory, real, schedule, has_indices, has_gradient):
    """Return the kernel of the loss of rows, and of its gradient if it shall.

    ``memory`` is the numba type of arrays, ``real`` that which is computed with.
    """
    group, n_parts, block, is_whole = schedule
    lanes = WIDTH * 8 // memory.bitwidth
    n_warps = max(1, block // WARP)
    n_own = n_parts * lanes
    step = group * lanes
    turn_size = n_parts * step
    n_all = n_own + 1
    n_q = 1 if has_indices else n_all

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
        is_smooth,
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
        shared = cuda.shared.array(n_warps, real)
        shared_losses = cuda.shared.array(n_warps, float64)
        own = cuda.local.array(n_all, real)
        own_q = cuda.local.array(n_q, real)
        zero, one, lowest = real(0), real(1), real(-math.inf)

        g = cuda.threadIdx.x % group
        row = cuda.blockIdx.x * (block // group) + cuda.threadIdx.x // group
        y, weight = class_of_row(targets, has_indices, row, n_rows, one)
        place = place_of(row * n_classes, n_classes, g, lanes)
        # nothing is read of a row that does not count, or behind the last
        seen = Place(place.begin, place.first, 0, -1) if weight == 0 else place
        n_turns = 1 if is_whole else (n_classes + turn_size - 1) // turn_size
        z_y = zero  # asked for before the row, so that nobody waits for it
        if has_indices and weight != 0:
            z_y = read_one(z, place.begin + y)

        sums = nothing(one)
        for turn in range(n_turns):
            read_turn(z, seen, turn, lanes, step, n_own, lowest, own)
            if not has_indices:
                read_turn(q, seen, turn, lanes, step, n_own, zero, own_q)
            m = largest(own, n_all, sums.m)
            if is_whole:
                m = group_max(m, group, shared)
            sums = raised(sums, m)
            for v in range(n_all):
                if is_spread(targets, has_indices):
                    if exists(seen, v, turn, lanes, step, n_own):
                        k = element(seen, v, turn, lanes, step, n_own) - seen.begin
                        t = target_of(targets, has_indices, k, own_q[v % n_q])
                        sums = with_target(sums, own[v], t)
                e = math.exp(own[v] - sums.m)
                sums = with_logit(sums, own[v], e, one)
                own[v] = e
        sums = joined(sums, is_spread(targets, has_indices), group, shared, one)
        t_y = zero
        if has_indices and weight != 0:
            sums, t_y = with_index(sums, targets, y, z_y)
        rest = rest_of(sums, one)
        loss = loss_of(sums, rest, weight) if g == 0 else zero
        if is_per_row and g == 0 and row < n_rows:
            write_one(loss, pointer_to(loss_out, real), row)
        total = float64(loss)
        if group < block:
            total = group_sum(total, block, shared_losses)
        if cuda.threadIdx.x == 0:
            write_one(total, pointer_to(partial_out, float64), cuda.blockIdx.x)

        if has_gradient and row < n_rows:
            factor = read_one(pointer_to(scale, real), 0) * weight
            high, low = shares_of(factor * sums.mass, rest, one)
            for turn in range(n_turns - 1, -1, -1):
                if not is_whole:
                    read_turn(z, seen, turn, lanes, step, n_own, lowest, own)
                    if not has_indices:
                        read_turn(q, seen, turn, lanes, step, n_own, zero, own_q)
                for v in range(n_all):
                    k = element(place, v, turn, lanes, step, n_own) - place.begin
                    e = own[v] if is_whole else math.exp(own[v] - sums.m)
                    t = zero
                    if is_spread(targets, has_indices):
                        if exists(seen, v, turn, lanes, step, n_own):
                            t = target_of(targets, has_indices, k, own_q[v % n_q])
                    if has_indices and k == y:
                        t = t_y
                    slope = residual(high, low, e, factor * t)
                    own[v] = weight if weight == 0 else slope
                write_turn(own, place, turn, lanes, step, n_own, out)

    return kernel

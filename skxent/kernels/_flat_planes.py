"""Softmax rows of few classes as they lie in planes, such as the pixels of images.

As :mod:`skxent.kernels._flat_rows`, for class indices, with such smoothing alone as is
added up for a block. Lines of memory that belong to the same rows are a plane apart, so
each is on a page of its own, and often in the same set of the caches. So a whole chunk
of rows is gone through plane by plane, a long stretch of memory at a time; its
exponentials wait in the second cache. The gradient is written in the same way. Past the
caches, in lines of a plane, that took up to 30 % longer.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`.
"""

import math

import numpy as np

from skxent.kernels._batches import MOST_OFF, batch_around, rows_per_batch
from skxent.kernels._block_smoothing import no_counts
from skxent.kernels._flat_gradients import find_shares, write_at_indices
from skxent.kernels._flat_indices import (
    add_plain_rows,
    are_classes,
    may_be_alike,
    may_suit,
    take_plain_rows,
    take_smoothing,
)
from skxent.kernels._flat_rows import (
    add_groups,
    add_up_rows,
    open_flat_batch,
    take_indices,
)
from skxent.kernels._groups import a_near_logit, lines_of_group
from skxent.kernels._jit import inner, inner_with_memory
from skxent.kernels._rows import pointers_of
from skxent.kernels._rules import residual
from skxent.kernels._simd import (
    advance,
    first,
    keep,
    lanes,
    largest,
    load,
    maximum,
    narrowed,
    pointer,
    prefetch,
    prefetch_to_write,
    slots,
    spread,
    store,
    widened,
)
from skxent.kernels._vector import exp_shifted, is_far, shift_of

LINES_AHEAD = 128  # that memory is asked for in advance, more than a stretch may have


@inner
def find_groups(starts, n_classes, n_columns, begin, end, n):
    """Find where each group begins; -1 for one that is of two planes."""
    for i in range(begin, end, n):
        o = i // n_columns
        j = i - o * n_columns
        is_whole = j + n <= n_columns
        starts[(i - begin) // n] = o * n_classes * n_columns + j if is_whole else -1


@inner
def are_whole(starts, n_groups):
    """Return whether all groups have been exponentiated."""
    whole = True
    for g in range(n_groups):
        whole &= starts[g] >= 0
    return whole


@inner
def step_ahead(k, planes, lines, n_classes, n_columns, n_groups, n):
    """Return how far a line is from one of plane ``k``: some planes and lines later.

    Behind the last plane comes what the next chunk reads first.
    """
    if k + planes >= n_classes:
        planes -= n_classes
        lines += n_groups
    return planes * n_columns + lines * n


@inner
def steps_ahead(k, n_classes, n_columns, n_groups, n):
    """Return how far the line is that is read some lines later.

    For groups of plane ``k`` before a certain one, for the others, and which that is.
    """
    planes, lines = divmod(LINES_AHEAD, n_groups)
    step = step_ahead(k, planes, lines, n_classes, n_columns, n_groups, n)
    lines -= n_groups
    last_step = step_ahead(k, planes + 1, lines, n_classes, n_columns, n_groups, n)
    return step, last_step, -lines


@inner
def end_of_run(starts, g, n_groups, n):
    """Return where the groups end that lie side by side from ``g`` on."""
    g += 1
    while g < n_groups and starts[g] == starts[g - 1] + n:
        g += 1
    return g


@inner
def exponentiate_run(p, tiles, n_classes, n_columns, n_groups, offset, lowest, top):
    """Write exponentials of groups side by side; return the largest logit by lane."""
    n = lanes(p)
    for k in range(n_classes):
        step, last_step, last = steps_ahead(k, n_classes, n_columns, n_groups, n)
        plane, tile = advance(p, k * n_columns), advance(tiles, k * n)
        for g in range(n_groups):
            prefetch(plane, g * n + (step if g < last else last_step))
            z = load(plane, g * n)
            top = maximum(z, top)
            store(exp_shifted(z, offset, lowest), tile, g * n_classes * n)
    return top


@inner
def exponentiate_planes(p, tiles, n_classes, n_columns, starts, n_groups, guess):
    """Write exponentials to tiles; return the largest logit, nan passed over."""
    n = lanes(p)
    offset, lowest = shift_of(spread(guess, p))
    top = spread(-math.inf, p)
    g = 0
    while g < n_groups:
        end = end_of_run(starts, g, n_groups, n)
        if starts[g] >= 0:
            run, tile = advance(p, starts[g]), advance(tiles, g * n_classes * n)
            top = exponentiate_run(
                run, tile, n_classes, n_columns, end - g, offset, lowest, top
            )
        g = end
    return largest(top)


@inner
def exponentiate_near(p, tiles, n_classes, n_columns, starts, n_groups, guess):
    """Do so for a guess that suits, and return it; leave no group if there is none."""
    for _ in range(2):
        top = exponentiate_planes(
            p, tiles, n_classes, n_columns, starts, n_groups, guess
        )
        if abs(top - guess) < MOST_OFF:
            return guess
        if first(is_far(spread(top, p))):
            break
        guess = top
    leave(starts, n_groups)
    return guess


@inner
def leave(starts, n_groups):
    """Mark groups that have to go elsewhere."""
    for g in range(n_groups):
        starts[g] = -1


@inner
def write_planes(
    tiles, shares, lows, slopes, smooth, n_classes, n_columns, starts, n_groups, out
):
    """Write the gradient of groups, but at their indices."""
    n = lanes(out)
    for k in range(n_classes):
        step, last_step, last = steps_ahead(k, n_classes, n_columns, n_groups, n)
        for g in range(n_groups):
            if starts[g] >= 0:
                at = starts[g] + k * n_columns
                prefetch_to_write(out, at + (step if g < last else last_step))
                e, share = load(tiles, (g * n_classes + k) * n), load(shares, g * n)
                if smooth:
                    low, t = load(lows, g * n), load(slopes, g * n)
                    store(residual(share, low, e, t), out, at)
                else:
                    store(e * share, out, at)


@inner_with_memory
def add_flat_planes(rows, target, begin, end, sums, lost):
    """Return the sums over lanes with the losses of rows ``begin:end``, whole groups.

    Write what is asked for.
    """
    n_columns = rows.logits.shape[2]
    at = pointers_of(rows, target, n_columns, slots(1))
    p, n_classes = at.logits, at.n_classes
    n = lanes(p)
    n_groups = (end - begin) // n
    starts_array = np.empty(n_groups, np.int64)
    smooth = at.options[1]
    n_factors = 4 if smooth else 2
    memory = np.empty(n_groups * n * (n_classes + n_factors), rows.logits.dtype)
    starts, tiles = pointer(starts_array), pointer(memory)
    shares = advance(tiles, n_groups * n * n_classes)
    at_ys = advance(shares, n_groups * n)
    lows, slopes = advance(at_ys, n_groups * n), advance(at_ys, 2 * n_groups * n)
    find_groups(starts, n_classes, n_columns, begin, end, n)
    nearby, _ = lines_of_group(p, n_classes, n_columns, begin)
    guess = a_near_logit(nearby)
    guess = exponentiate_near(p, tiles, n_classes, n_columns, starts, n_groups, guess)
    step = rows_per_batch(n_classes, n)
    suits, could_be_alike = may_suit(at), may_be_alike(at)
    like = spread(0.0, p)
    off = narrowed(widened(like) + at.off_value[0], like)
    for i in range(begin, end, step):
        width = min(step, end - i)
        done = i - begin
        groups = advance(starts, done // n)
        batch = batch_around(advance(tiles, done * n_classes), at.on_value)
        open_flat_batch(batch)
        alike = could_be_alike and are_classes(at, i, width)
        plain = suits and are_whole(groups, width // n)
        plain = plain and take_plain_rows(batch, at, i, width, alike)
        if plain and smooth:
            counts = no_counts(p)
            plain = take_smoothing(batch, at, i, width, alike, guess, counts)
        if plain:
            sums, lost = add_plain_rows(batch, at, i, width, alike, sums, lost)
        else:
            if smooth:
                leave(groups, width // n)
            else:
                take_indices(batch, at, i, width)
                add_up_rows(batch, at, p, i, width, groups)
            sums, lost = add_groups(
                batch, at, rows, target, i, width, groups, sums, lost
            )
        if at.n_gradients:
            find_shares(batch, at, width, plain and alike)
            for r in range(0, width, n):
                store(load(batch.share, r), shares, done + r)
                store(load(batch.at_y, r), at_ys, done + r)
                if smooth:
                    store(load(batch.share_low, r), lows, done + r)
                    store(load(batch.slope, r) * off, slopes, done + r)
    if at.n_gradients:
        out = at.gradient_out
        write_planes(
            tiles,
            shares,
            lows,
            slopes,
            smooth,
            n_classes,
            n_columns,
            starts,
            n_groups,
            out,
        )
        for g in range(n_groups):
            if starts[g] >= 0:
                group = advance(out, starts[g])
                at_y = load(at_ys, g * n)
                write_at_indices(at_y, at, begin + g * n, 1, n_columns, group)
    keep(starts_array)
    keep(memory)
    return sums, lost

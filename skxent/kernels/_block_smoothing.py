"""What smoothing adds to a block of rows, if all classes have the same ``off``.

``sum_k off (z_y - z_k)`` of all rows is ``off (K sum z_y - sum z)``, and the sum of all
logits is found on the way, while they are exponentiated, where it takes three additions
a vector; to add up each row takes as long as its exponentials do. Where the loss of
each row is asked for, or rows weigh differently, that is no help.

So that the sum has the same bits however the logits lie, it is one of integers: a logit
is ``n log 2 + r``, see :mod:`skxent.kernels._vector`, and ``r`` is rounded to a
multiple of 2**-23 (2**-52 for float64). That is off by at most half as much, by chance
up or down, and a loss is at least ``off log K`` for each class: it hardly changes the
last bit of a row's loss, and no sum of many.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`. *Counts* are ``(whole, rests, least)``: sums of the bits
of the numbers that ``n`` and ``r`` are rounded in, and the least logit.
"""

import math

from skxent.kernels._batches import is_index_heavy, place_of
from skxent.kernels._groups import lines_of_group, place_in_tile
from skxent.kernels._jit import by_dtype, inner, rule
from skxent.kernels._simd import (
    advance,
    all_lanes,
    bits,
    floats,
    fma,
    gather,
    lanes,
    load,
    load_beside,
    load_part,
    minimum,
    numbers,
    select,
    shortened,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._vector import (
    LOG_2,
    LOG_2_LOW,
    accumulate,
    reduced,
    shift_of,
    total_in_parts,
    two_difference,
    two_sum,
)

ROUND_REST = 1.5  # ``r`` is added to it: less than 1/2, it stays between 1 and 2


@inner
def is_added_at_once(options, on, n_weights, n_losses):
    """Return whether smoothing may be added up for a block."""
    uniform, smooth, smoothing, _ = options
    is_one = uniform and not (n_weights or n_losses)
    return smooth and is_one and is_index_heavy(on, smoothing)


@rule
def no_counts(like):
    """Return the counts of no logit."""
    nothing = bits(spread(0.0, like))
    return nothing, nothing, spread(math.inf, like)


@rule
def counted(z, t, r, counts):
    """Return counts with those of a vector of logits, reduced to ``t`` and ``r``."""
    whole, rests, least = counts
    return whole + bits(t), rests + bits(r + ROUND_REST), minimum(z, least)


@inner
def count_lines(p, step, count, ignored, offset, counts):
    """Count vectors, ``step`` apart, with 0 in place of what is ignored."""
    whole, rests, least = counts
    for k in range(count):
        z = load(p, k * step)
        t, r = reduced(select(ignored, 0.0, z), offset)
        whole, rests, least = counted(
            select(ignored, math.inf, z), t, r, (whole, rests, least)
        )
    return whole, rests, least


@inner
def count_row(p, n_classes, offset, counts):
    """Count a row, with zeros behind it to the end of a vector."""
    n = lanes(p)
    for k in range(0, n_classes, n):
        z = load_part(p, k, min(n, n_classes - k), 0.0)
        t, r = reduced(z, offset)
        counts = counted(z, t, r, counts)
    return counts


def _split_32(like, i):
    return widened(floats(i >> 16)) * 2.0**16, widened(floats(i & 0xFFFF))


def _split_64(like, i):
    return floats(i >> 32) * 2.0**32, floats(i & 0xFFFF_FFFF)


# Integers as float64 numbers in two parts, which are exact when added over the lanes.
split = by_dtype(_split_32, _split_64)


def _unit_32(like):
    return 2.0**-23


def _unit_64(like):
    return 2.0**-52


unit_of = by_dtype(_unit_32, _unit_64)


@inner
def sum_of_logits(like, whole, rests):
    """Return the sum of logits in two parts, given the sums of ``n`` and of ``r``."""
    high, low = split(like, whole)
    n = total(high) + total(low)
    high, low = split(like, rests)
    r, r_low = two_sum(total(high), total(low))
    product = n * LOG_2
    rounded, error = two_sum(product, r * unit_of(like))
    low = fma(n, LOG_2, -product) + n * LOG_2_LOW
    return rounded, error + (low + r_low * unit_of(like))


@inner
def add_smoothing_of_block(batch, at, i, width, alike, guess, counts):
    """Write what smoothing adds to the losses of a block, in two parts.

    ``counts`` are those of rows side by side, none of planes. Return whether the logits
    are near enough for that.
    """
    n, n_classes = lanes(batch.tile), at.n_classes
    like = spread(guess, batch.tile)
    offset, lowest = shift_of(like)
    left_out, n_left_out = no_counts(like), 0
    at_y = widened(spread(0.0, like))
    lost = at_y
    for r in range(0, width, n):
        p, step = lines_of_group(at.logits, n_classes, at.n_columns, i + r)
        ignored = numbers(like) < 0
        if not alike:
            ignored = load_beside(batch.weight, r, like) == 0.0
        y = place_of(load_beside(at.index, i + r, like), n_classes)
        if at.n_columns == 1:
            z_y = gather(p, place_in_tile(shortened(y, like), n_classes, 1, like))
            if not alike:
                for j in range(n):
                    if batch.weight[r + j] == 0.0:
                        row = advance(p, j * n_classes)
                        left_out = count_row(row, n_classes, offset, left_out)
                        n_left_out += (n_classes + n - 1) // n
        else:
            z_y = gather(p, numbers(y) + y * step)
            counts = count_lines(p, step, n_classes, ignored, offset, counts)
        at_y, lost = accumulate(select(ignored, 0.0, z_y), at_y, lost)
    whole, rests, least = counts
    if not all_lanes(least > lowest):
        return False
    count = width // n * n_classes - n_left_out
    whole = whole - left_out[0] - bits(offset) * count
    rests = rests - left_out[1] - bits(like * 0.0 + ROUND_REST) * count
    all_z, all_low = sum_of_logits(like, whole, rests)
    one, one_low = total_in_parts(like, at_y, lost)
    many = one * n_classes
    many_low = fma(one, n_classes * 1.0, -many) + one_low * n_classes
    rounded, error = two_difference(many, all_z)
    low = error + (many_low - all_low)
    nothing = widened(like * 0.0)
    is_first = numbers(like) == 0
    off = at.off_value[0]
    store(select(is_first, nothing + off * rounded, 0.0), batch.of_block, 0)
    store(select(is_first, nothing + off * low, 0.0), batch.of_block, n)
    return True

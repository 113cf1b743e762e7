"""Rows of probabilities checked in one pass, before a loss reads them.

Conventions are those of :mod:`skxent.kernels._cpu`, with rows (n, K). Rows of few
classes are tiles, as in :mod:`skxent.kernels._short_rows`; longer ones are gone through
one at a time.

Range
    As integers, the bits of non-negative floats are in the order of the floats, and
    those of negative ones are negative. ``bits | (most - bits)`` has its sign set for
    whatever lies outside ``[0, most]``, nan included, and for -0.0.
Sum
    Sums are float64. That of a row that sums to 1 misses it by less than ``K`` times
    half the float64 precision.
"""

import math

from numba import prange

from skxent.kernels._batches import MOST_CLASSES, TILE_SIZE
from skxent.kernels._groups import AHEAD, read, read_group
from skxent.kernels._jit import inner, twins
from skxent.kernels._simd import (
    advance,
    any_lane,
    bits,
    lanes,
    largest,
    load,
    magnitude,
    maximum,
    pointer,
    prefetch,
    scratch,
    spread,
    total,
    widened,
)


@inner
def check_tiles(p, n_classes, begin, end, most):
    """Return the largest distance of the sum of a row from 1, for few classes."""
    n = lanes(p)
    tile = scratch(p, TILE_SIZE)
    limit = bits(spread(most, p))
    outside = limit
    worst = widened(spread(0.0, p))
    for i in range(begin, end, n):
        width = min(n, end - i)
        read_group(p, n_classes, 1, i, width, tile)
        later = advance(p, i * n_classes + AHEAD * n)
        row_sum = widened(spread(0.0, p))
        for k in range(n_classes):
            prefetch(later, k * n)
            x = load(tile, k * n)
            outside = outside | bits(x) | (limit - bits(x))
            row_sum = row_sum + widened(x)
        worst = maximum(magnitude(row_sum - 1.0), worst)
    return math.inf if any_lane(outside < 0) else largest(worst)


@inner
def check_long_rows(p, n_classes, begin, end, most):
    """Return the largest distance of the sum of a row from 1, for many classes."""
    n = lanes(p)
    limit = bits(spread(most, p))
    outside = limit
    worst = 0.0
    for i in range(begin, end):
        row = advance(p, i * n_classes)
        sums = widened(spread(0.0, p))
        for k in range(0, n_classes, n):
            prefetch(row, k + AHEAD * n)
            x = read(row, k, min(n, n_classes - k))
            outside = outside | bits(x) | (limit - bits(x))
            sums = sums + widened(x)
        worst = max(worst, abs(total(sums) - 1.0))
    return math.inf if any_lane(outside < 0) else worst


@inner
def worst_row_sum(rows, begin, end, most):
    """Return the largest distance of the sum of a row from 1 in rows ``begin:end``.

    Infinite if there is a value outside ``[0, most]``; ``most`` is one of the numbers
    of the dtype of the rows.
    """
    p, n_classes = pointer(rows), rows.shape[1]
    if n_classes <= MOST_CLASSES:
        return check_tiles(p, n_classes, begin, end, most)
    return check_long_rows(p, n_classes, begin, end, most)


@twins
def check_rows(first_chunk, last_chunk, rows, most, rows_per_chunk, worst_out):
    """Write the largest distance of the sum of a row from 1 for each chunk."""
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, rows.shape[0])
        worst_out[chunk] = worst_row_sum(rows, begin, end, most)

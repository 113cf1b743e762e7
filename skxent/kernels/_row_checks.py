"""Rows of probabilities checked in one pass, before a loss reads them.

Conventions are those of :mod:`skxent.kernels._cpu`, with rows (n, K).

Both questions are asked of integers, which LLVM vectorises and no order of additions
can change. Two short loops over a chunk that stays in the cache take less time than one
for rows of 10 classes. Measured on one core in float32: 0.6 ns for an element of these
rows, 0.27 for one of 1000 classes.

Range
    As integers, the bits of non-negative floats are in the order of the floats, and
    those of negative ones are negative. ``bits | (most - bits)`` has its sign set for
    whatever lies outside ``[0, most]``, nan included, and for -0.0.
Sum
    The bits of ``offset + p`` are those of ``offset`` plus a fixed-point number: ``p``
    in units of the last place, one if ``offset`` is. A power of 2 above ``K / 2048``
    leaves room for the sum of a row, which then misses ``sum_k p_k`` by less than
    ``K * offset * 2**-53``.
"""

import numpy as np
from numba import float64, int64, prange

from skxent.kernels._jit import inner, rule, twins


@rule
def bits_of(x):
    """Return the bits of a float64 as an integer."""
    return np.float64(x).view(np.int64)


@inner
def any_outside(values, most):
    """Return whether a value is outside ``[0, most]``."""
    most_bits = bits_of(most)
    gathered = int64(0)
    for i in range(values.size):
        bits = bits_of(float64(values[i]))
        gathered |= bits | (most_bits - bits)
    return gathered < 0


@inner
def worst_distance(values, n_classes, offset):
    """Return the largest distance of the sum of a row from 1."""
    one = bits_of(offset + 1.0) - bits_of(offset)
    # what the bits of a row add up to wraps around, and comes back with this
    of_right_sum = n_classes * bits_of(offset) + one
    worst = int64(0)
    for i in range(values.size // n_classes):
        row = values[i * n_classes : (i + 1) * n_classes]
        excess = -of_right_sum
        for k in range(row.size):
            excess += bits_of(float64(row[k]) + offset)
        worst = max(worst, abs(excess))
    return worst / one


@twins
def check_rows(rows, most, offset, rows_per_chunk, worst_out):
    """Write the largest distance of the sum of a row from 1 for each chunk.

    Infinite for a chunk with a value outside ``[0, most]``.
    """
    n_classes = rows.shape[1]
    values = rows.reshape(rows.size)
    for chunk in prange(worst_out.size):
        begin = chunk * rows_per_chunk * n_classes
        end = min(begin + rows_per_chunk * n_classes, values.size)
        part = values[begin:end]
        if any_outside(part, most):
            worst_out[chunk] = np.inf
        else:
            worst_out[chunk] = worst_distance(part, n_classes, offset)

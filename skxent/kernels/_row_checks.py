"""Rows of probabilities checked in one pass, before a loss reads them.

Conventions are those of :mod:`skxent.kernels._cpu`, with rows (n, K).

Both questions are asked of integers, which LLVM vectorises and no order of additions
can change. Measured on one core, rows of 10 and of 1000 classes in float64: 0.9 and
0.22 ns for an element.

Range
    As integers, the bits of non-negative floats are in the order of the floats, and
    those of negative ones are negative. ``bits | (most - bits)`` has its sign set for
    whatever lies outside ``[0, most]``, nan included, and for -0.0.
Sum
    The bits of ``offset + p`` are those of ``offset`` plus a fixed-point number: ``p``
    in units of the last place, one if ``offset`` is. A power of 2 above ``K / 2048``
    leaves room for the sum of a row, which misses ``sum_k p_k`` by less than
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
def worst_of_chunk(values, n_classes, most, offset):
    """Return the largest distance of the sum of a row from 1, in the rows of a chunk.

    Infinite if a value is outside ``[0, most]``.
    """
    most_bits, zero = bits_of(most), bits_of(offset)
    one = bits_of(offset + 1.0) - zero
    outside = int64(0)
    worst = int64(0)
    for i in range(values.size // n_classes):
        row = values[i * n_classes : (i + 1) * n_classes]
        excess = -one
        for k in range(row.size):
            p = float64(row[k])
            outside |= bits_of(p) | (most_bits - bits_of(p))
            excess += bits_of(p + offset) - zero
        worst = max(worst, abs(excess))
    return np.inf if outside < 0 else worst / one


@twins
def check_rows(rows, most, offset, rows_per_chunk, worst_out):
    """Write the largest distance of the sum of a row from 1 for each chunk."""
    n_classes = rows.shape[1]
    values = rows.reshape(rows.size)
    for chunk in prange(worst_out.size):
        begin = chunk * rows_per_chunk * n_classes
        end = min(begin + rows_per_chunk * n_classes, values.size)
        worst_out[chunk] = worst_of_chunk(values[begin:end], n_classes, most, offset)

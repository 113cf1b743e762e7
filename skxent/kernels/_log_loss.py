"""The log loss of rows of probabilities, checked in the same pass, and of any integers.

A chunk is checked as in :mod:`skxent.kernels._row_checks` and read again, for its
losses, while it is in the cache. Labels are looked up in a table where they are needed:
no class indices are written to memory.

Conventions
-----------
- ``rows`` (n, K), C-contiguous, float32 or float64; ``labels`` (n,) integers.
- ``columns`` int64: the column of label ``least + j`` is ``columns[j]``, or -1 if
  there is none; labels outside the table have none. (0,) where it is ``j`` itself. A
  row without a column makes the loss nan.
- ``row_weight`` (n,) float64, or (0,) for ones.
"""

import math

from numba import int64, prange

from skxent.kernels._gathered_rows import clipped_surprise
from skxent.kernels._groups import MOST_LANES, read_weights
from skxent.kernels._jit import inner, twins
from skxent.kernels._row_checks import worst_row_sum
from skxent.kernels._rules import weighted
from skxent.kernels._simd import (
    advance,
    gather,
    lanes,
    load_beside,
    numbers,
    pointer,
    scratch,
    select,
    spread,
    total,
    widened,
)
from skxent.kernels._vector import joined, two_sum


@inner
def read_labels(q, i, width, some, like):
    """Return the labels of rows as int64; ``some`` is scratch for them."""
    n = lanes(like)
    if width == n:
        for r in range(n):
            some[r] = int64(q[i + r])
    else:
        for r in range(n):
            some[r] = int64(q[i + min(r, width - 1)])
    return load_beside(some, 0, like)


@inner
def read_columns(labels, i, width, least, columns, some, like):
    """Return the column of each row, a number outside where there is none."""
    j = read_labels(pointer(labels), i, width, some, like) - least
    if not columns.size:
        return j
    outside = (j < 0) | (j >= columns.size)
    return select(outside, -1, gather(pointer(columns), select(outside, 0, j)))


@inner
def log_loss_chunk(rows, labels, least, columns, row_weight, low, high, begin, end):
    """Return the sum of the losses of rows ``begin:end``, clipped."""
    n_classes = rows.shape[1]
    p, weights = pointer(rows), pointer(row_weight)
    some = scratch(pointer(columns), MOST_LANES)
    n = lanes(p)
    like = spread(0.0, p)
    sums = widened(like)
    lost = sums
    lane = numbers(sums)
    first = lane * n_classes
    for i in range(begin, end, n):
        width = min(n, end - i)
        column = read_columns(labels, i, width, least, columns, some, like)
        outside = (column < 0) | (column >= n_classes)
        if width < n:
            first = select(lane < width, first, 0)
        place = first + select(outside, 0, column)
        share = widened(gather(advance(p, i * n_classes), place))
        loss = clipped_surprise(share, low, high)
        if row_weight.size or width < n:
            weight = read_weights(weights, row_weight.size, i, width, like)
            loss = weighted(weight, loss)
        loss = select(outside, math.nan, loss)
        sums, error = two_sum(sums, loss)
        lost = lost + error
    return total(joined(sums, lost))


@twins
def log_losses(
    first_chunk,
    last_chunk,
    rows,
    labels,
    least,
    columns,
    row_weight,
    most,
    low,
    high,
    rows_per_chunk,
    worst_out,
    partial_out,
):
    """Write the sums of the losses per chunk, and what ``check_rows`` writes."""
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, rows.shape[0])
        worst_out[chunk] = worst_row_sum(rows, begin, end, most)
        partial_out[chunk] = log_loss_chunk(
            rows, labels, least, columns, row_weight, low, high, begin, end
        )

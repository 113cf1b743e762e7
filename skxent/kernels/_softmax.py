"""Softmax of rows, where no loss is asked for.

It knows neither targets nor weights, so it compiles in a tenth of the time that the
kernels of the losses take, and a first fit does not wait for those.

Conventions
-----------
``logits`` and ``proba_out`` (n, K), C-contiguous float32 or float64, may be the same
array. Rows of few classes are groups in a tile, as in :mod:`._tile_rows`; longer ones
are gone through along the row, as in :mod:`._long_rows`. A row is divided by its sum,
which is taken in float64. A row whose maximum is infinite or nan has no softmax, it is
nan.
"""

import math

from numba import prange

from skxent.kernels._batches import MOST_CLASSES, TILE_SIZE
from skxent.kernels._groups import AHEAD, read, read_group, write, write_group
from skxent.kernels._jit import inner, twins
from skxent.kernels._long_rows import largest_logit
from skxent.kernels._simd import (
    advance,
    any_lane,
    first,
    lanes,
    load,
    load_part,
    narrowed,
    pointer,
    scratch,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._tile_rows import bring_near, exponentiate, largest_logits
from skxent.kernels._vector import accumulate, exp_shifted, is_far, joined, shift_of


@inner
def softmax_of_group(tile, n_classes, later):
    """Turn the logits of a tile into probabilities; ask for lines from ``later`` on."""
    n = lanes(tile)
    m = largest_logits(tile, n_classes)
    if any_lane(is_far(m)):
        m = bring_near(tile, n_classes, m)
    exponentiate(tile, n_classes, m, later, n)
    d = widened(m * 0.0)  # nan where there is no softmax
    lost = d
    for k in range(n_classes):
        d, lost = accumulate(load(tile, k * n), d, lost)
    d = narrowed(joined(d, lost), m)
    for k in range(n_classes):
        store(load(tile, k * n) / d, tile, k * n)


@inner
def softmax_of_row(z, n_classes, out):
    """Write the probabilities of a row."""
    n = lanes(z)
    m = largest_logit(z, n_classes)
    base = m * 0.0
    if first(is_far(m)):
        base, m = m, m - m
    offset, lowest = shift_of(m)
    d = widened(m * 0.0)  # nan where there is no softmax
    lost = d
    for k in range(0, n_classes, n):
        width = min(n, n_classes - k)
        e = exp_shifted(load_part(z, k, width, -math.inf) - base, offset, lowest)
        write(e, out, k, width)
        d, lost = accumulate(e, d, lost)
    d = narrowed(spread(total(joined(d, lost)), d), m)
    for k in range(0, n_classes, n):
        width = min(n, n_classes - k)
        write(read(out, k, width) / d, out, k, width)


@twins
def softmax_rows(first_chunk, last_chunk, logits, rows_per_chunk, proba_out):
    """Write the probabilities of the rows of each chunk."""
    n_rows, n_classes = logits.shape
    for chunk in prange(first_chunk, last_chunk):
        z, out = pointer(logits), pointer(proba_out)
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        if n_classes <= MOST_CLASSES:
            n = lanes(z)
            tile = scratch(z, TILE_SIZE)
            for i in range(begin, end, n):
                width = min(n, end - i)
                read_group(z, n_classes, 1, i, width, tile)
                softmax_of_group(tile, n_classes, advance(z, i * n_classes + AHEAD * n))
                write_group(tile, n_classes, 1, i, width, out)
        else:
            for i in range(begin, end):
                place = i * n_classes
                softmax_of_row(advance(z, place), n_classes, advance(out, place))

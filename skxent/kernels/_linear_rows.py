"""Softmax rows of a linear model: logits, losses and gradient of a block of data.

The products of data with the coefficients of few classes are as fast as memory, if the
data is read once. So a *block* of rows, which stays in a cache, is multiplied with the
coefficients, its logits become residuals (:mod:`._residuals`), and these are multiplied
with the block once more. Both products ask for the next block: the second one alone
leaves memory idle during the first (200000 x 50, 5 classes: 14.5 ms, 12.5 with both;
X.sum() takes 11.4). Logits are tiles of groups of rows, as in :mod:`._tile_rows`.

Both products are those of :mod:`._products`, with rows as the lines: logits are dots of
rows and coefficients, the gradient adds up multiples of rows. Where the numbers of a
column lie side by side instead, some blocks at a time are first turned into rows, in
memory that stays in the second cache: the same arithmetic, so the same bits.

Conventions
-----------
n rows, p features, ``R`` classes beside the first, whose logit is 0; K = R + 1.

- ``data``, one-dimensional, holds n rows of p numbers, ``stride`` elements apart, or p
  columns of n numbers if ``in_columns``: ``turned_rows`` of them, whole blocks, are
  turned into rows at a time.
- ``coef`` (R, p'), of the dtype of the data: p' is p or more, whole vectors, the rest
  zeros. ``intercept`` (R,).
- ``tiles`` (n_chunks, block_rows * K) is memory for logits; ``block_rows`` are whole
  groups.
- ``partial_out`` (n_chunks, n_segments), ``gradient_out`` (n_chunks, R, p') and
  ``intercept_out`` (n_chunks, R), float64, receive the sums of each chunk, whose
  segments one launch or several go through. Entries of the gradient from p on are
  without meaning.

Targets, weights and chunks are as in :mod:`skxent.kernels._cpu`. Products are taken in
the dtype of the data, and so are sums over a block; blocks are added up in float64.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from skxent.kernels._jit import inlined, inner, twins
from skxent.kernels._products import FOUR, TWO, add_dots, add_multiples
from skxent.kernels._residuals import Targets, turn_into_residuals
from skxent.kernels._row_sums import PARTS_SIZE
from skxent.kernels._simd import (
    advance,
    keep,
    lanes,
    load,
    load_part,
    pointer,
    prefetch,
    scratch,
    spread,
    store,
    to_next_line,
    total,
    widened,
)
from skxent.kernels._simd_type import LINE
from skxent.kernels._targets import options_of
from skxent.kernels._transpose import transpose_back, widest_block
from skxent.kernels._vector import joined

# What stays in the first cache: coefficients beside four lines, and lines beside four
# vectors of each.
REACH = 20 << 10  # bytes
LINES = 64


class Data(NamedTuple):
    """Rows or columns that lie ``stride`` elements apart, and memory to turn some."""

    p: Any
    stride: Any
    in_columns: Any
    n_features: Any
    turned: Any
    turned_rows: Any
    width: Any  # of one of those


class Lines(NamedTuple):
    """The rows of a block, and where to ask for those to come, rows or columns."""

    p: Any
    stride: Any
    count: Any
    size: Any
    next_p: Any
    next_stride: Any
    next_in_columns: Any


class Matrix(NamedTuple):
    """A matrix of few rows, one for each class, as :mod:`._products` takes it."""

    p: Any
    of_class: Any
    of_vector: Any


@inner
def entries(n, matrix, k, i):
    """Return where the entries of class ``k`` begin, from ``i`` on."""
    place = i // n * matrix.of_vector + i % n
    return advance(matrix.p, k * matrix.of_class + place)


@inner
def classes_at_once(n_classes):
    """Return how many classes, up to four, are a tile, so that tiles are alike."""
    tiles = (n_classes + FOUR - 1) // FOUR
    return (n_classes + tiles - 1) // tiles


@inner
def turn_into_rows(data, begin, n_rows):
    """Write rows ``begin`` and after, whose numbers lie in columns, as whole groups."""
    n = lanes(data.p)
    whole = n_rows // n * n
    tile = scratch(data.p, PARTS_SIZE)
    j = 0
    while j < data.n_features:
        count = widest_block(data.n_features - j, data.p)
        columns = advance(data.p, j * data.stride + begin)
        rows = advance(data.turned, j)
        for i in range(0, whole, n):
            x, out = advance(columns, i), advance(rows, i * data.width)
            for c in range(count):
                prefetch(x, (count + c) * data.stride)
            transpose_back(x, data.stride, out, data.width, count)
        if whole < n_rows:
            for c in range(count):
                place = c * data.stride + whole
                store(load_part(columns, place, n_rows - whole, 0.0), tile, c * n)
            out = advance(rows, whole * data.width)
            transpose_back(tile, n, out, data.width, count)
        j += count


@inner
def block_of(data, begin, i, end, n_rows):
    """Return the rows from ``i`` on, of ``begin:end``."""
    if data.in_columns:
        place = (i - begin) % data.turned_rows
        if place == 0:
            turn_into_rows(data, i, min(data.turned_rows, end - i))
        x, stride = advance(data.turned, place * data.width), data.width
        next_p = advance(data.p, i + data.turned_rows)
    else:
        x, stride = advance(data.p, i * data.stride), data.stride
        next_p = advance(x, n_rows * stride)
    n_features = data.n_features
    return Lines(x, stride, n_rows, n_features, next_p, data.stride, data.in_columns)


@inner
def next_beside(x, line, begin):
    """Return where to ask for numbers beside four rows, from ``begin`` on.

    And the steps from row to row and from vector to vector. If they lie in columns,
    each four rows of a group ask for other columns, four of each vector.
    """
    n = lanes(x.p)
    if x.next_in_columns:
        place = line // n * n + (begin + line % n) * x.next_stride
        return advance(x.next_p, place), x.next_stride, n * x.next_stride
    if line // FOUR % 2 == 0:
        place = line * x.next_stride + begin
        return advance(x.next_p, place), x.next_stride, n
    return x.p, 0, 0


@inner
def multiply_rows(x, a, n_classes, out):
    """Add the products of each row with each class: ``out += A X^T``.

    It asks for half of the next rows, or for all that lie in columns.
    """
    n = lanes(x.p)
    step = classes_at_once(n_classes)
    reach = max(1, REACH // n_classes // LINE) * n
    for begin in range(0, x.size, reach):
        for line in range(0, x.count, FOUR):
            next_p, of_row, of_vector = next_beside(x, line, begin)
            for k in range(0, n_classes, step):
                add_dots(
                    advance(x.p, line * x.stride + begin),
                    x.stride,
                    min(FOUR, x.count - line) - 1,
                    min(reach, x.size - begin),
                    entries(n, a, k, begin),
                    a.of_class,
                    a.of_vector,
                    min(step, n_classes - k),
                    next_p,
                    of_row if k == 0 else 0,
                    of_vector if k == 0 else 0,
                    entries(n, out, k, line),
                    out.of_class,
                )


@inner
def add_up_rows(x, a, n_classes, out):
    """Add up the rows, weighted for each class: ``out += A X``.

    It asks for all of the next rows unless they lie in columns.
    """
    n = lanes(x.p)
    ahead = 0 if x.next_in_columns else x.count * x.stride
    step = classes_at_once(n_classes)
    for first in range(0, x.count, LINES):
        begin = 0
        while begin < x.size:
            rest = x.size - begin
            width = FOUR * n if rest >= FOUR * n else min(TWO * n, rest)
            for k in range(0, n_classes, step):
                add_multiples(
                    advance(x.p, first * x.stride + begin),
                    x.stride,
                    min(LINES, x.count - first),
                    width,
                    entries(n, a, k, first),
                    a.of_class,
                    a.of_vector,
                    min(step, n_classes - k),
                    ahead if k == 0 else 0,
                    entries(n, out, k, begin),
                    out.of_class,
                    out.of_vector,
                )
            begin += width


@inner
def start_logits(tile, intercept, n_rows, n_classes):
    """Write the logits that the intercepts give, 0 for the first class."""
    n = lanes(tile)
    for r in range(0, n_rows, n):
        group = advance(tile, r * n_classes)
        store(spread(0.0, tile), group, 0)
        for k in range(1, n_classes):
            store(spread(intercept[k - 1], tile), group, k * n)


@inner
def add_residuals(tile, n_rows, n_classes, out):
    """Add the residuals of a block to the gradient of the intercepts."""
    n = lanes(tile)
    for k in range(1, n_classes):
        of_class = widened(spread(0.0, tile))
        for r in range(0, n_rows, n):
            of_class = of_class + widened(load(tile, r * n_classes + k * n))
        out[k - 1] += total(of_class)


@inlined
def linear_rows_chunk(
    data,
    coef,
    intercept,
    n_others,
    target,
    targets,
    block_rows,
    begin,
    end,
    tile,
    slopes,
    intercept_out,
):
    """Return the sum of the losses of rows ``begin:end``; add to both gradients."""
    n, n_classes = lanes(data.p), n_others + 1
    of_others = Matrix(advance(tile, n), n, n_classes * n)
    sums = widened(spread(0.0, data.p))
    lost = sums
    for i in range(begin, end, block_rows):
        n_rows = min(block_rows, end - i)
        x = block_of(data, begin, i, end, n_rows)
        start_logits(tile, intercept, n_rows, n_classes)
        multiply_rows(x, coef, n_others, of_others)
        sums, lost = turn_into_residuals(
            tile, target, targets, i, n_rows, n_classes, sums, lost
        )
        add_up_rows(x, of_others, n_others, slopes)
        add_residuals(tile, n_rows, n_classes, intercept_out)
    return total(joined(sums, lost))


@twins
def linear_rows_loss(
    first_segment,
    last_segment,
    data,
    stride,
    in_columns,
    n_rows,
    n_features,
    coef,
    intercept,
    target,
    on_value,
    off_value,
    row_weight,
    ignore_index,
    block_rows,
    turned_rows,
    rows_per_chunk,
    n_chunks,
    rows_per_segment,
    tiles,
    partial_out,
    gradient_out,
    intercept_out,
):
    """Write the sums of losses of segments of each chunk; add to its gradients."""
    n_others, width = coef.shape
    size = n_others * width
    options = options_of(on_value, off_value, ignore_index)
    for chunk in prange(n_chunks):
        p = pointer(data)
        n = lanes(p)
        turned = np.empty(turned_rows * width + n if in_columns else 0, data.dtype)
        rows = pointer(turned)
        targets = Targets(
            pointer(on_value),
            pointer(off_value),
            pointer(row_weight),
            row_weight.size,
            options,
        )
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        for segment in range(first_segment, last_segment):
            first = begin + segment * rows_per_segment
            partial_out[chunk, segment] = linear_rows_chunk(
                Data(
                    p,
                    stride,
                    in_columns,
                    n_features,
                    advance(rows, to_next_line(rows)),
                    turned_rows,
                    width,
                ),
                Matrix(pointer(coef), width, n),
                pointer(intercept),
                n_others,
                target,
                targets,
                block_rows,
                first,
                min(first + rows_per_segment, end),
                advance(pointer(tiles), chunk * tiles.shape[1]),
                Matrix(advance(pointer(gradient_out), chunk * size), width, n),
                advance(pointer(intercept_out), chunk * n_others),
            )
        keep(turned)

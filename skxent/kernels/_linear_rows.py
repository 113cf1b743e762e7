"""Softmax rows of a linear model: logits, losses and gradient of a block of data.

The products of data with the coefficients of few classes are as fast as memory, if the
data is read once. So a *block* of rows, which stays in a cache, is multiplied with the
coefficients, its logits become residuals (:mod:`._residuals`), and these are multiplied
with the block once more. Both products ask for the next block: the second one alone
leaves memory idle during the first (200000 x 50, 5 classes: 14.5 ms, 12.5 with both;
X.sum() takes 11.4). Logits are tiles of groups of rows, as in :mod:`._tile_rows`.

Both products are those of :mod:`._products`, with the lines of the data:

==================  =================================  ==============================
memory order        logits                             gradient
==================  =================================  ==============================
rows side by side   dots of rows and coefficients      multiples of rows
columns             multiples of columns               dots of columns and residuals
==================  =================================  ==============================

Conventions
-----------
n rows, p features, ``R`` classes beside the first, whose logit is 0; K = R + 1.

- ``data``, one-dimensional, holds the lines, ``stride`` elements apart: n rows of p
  numbers, or p columns of n numbers if ``in_columns``.
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

from numba import prange

from skxent.kernels._jit import inlined, inner, twins
from skxent.kernels._products import FOUR, TWO, add_dots, add_multiples
from skxent.kernels._residuals import Targets, turn_into_residuals
from skxent.kernels._simd import (
    advance,
    lanes,
    load,
    pointer,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._simd_type import LINE
from skxent.kernels._targets import options_of
from skxent.kernels._vector import joined

# What stays in the first cache: coefficients beside four lines, and lines beside four
# vectors of each.
REACH = 20 << 10  # bytes
LINES = 64


class Data(NamedTuple):
    """Rows or columns that lie ``stride`` elements apart."""

    p: Any
    stride: Any
    in_columns: Any
    n_features: Any


class Lines(NamedTuple):
    """The lines of a block, and how far the next block is."""

    p: Any
    stride: Any
    count: Any
    size: Any
    ahead: Any


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
def block_of(data, i, n_rows):
    """Return the lines of the rows from ``i`` on."""
    if data.in_columns:
        x = advance(data.p, i)
        return Lines(x, data.stride, data.n_features, n_rows, n_rows)
    x = advance(data.p, i * data.stride)
    return Lines(x, data.stride, n_rows, data.n_features, n_rows * data.stride)


@inner
def multiply_lines(x, a, n_classes, halves, out):
    """Add the products of each line with each class: ``out += A X^T``.

    Every tile asks for lines ahead; where ``halves``, every other one.
    """
    n = lanes(x.p)
    step = classes_at_once(n_classes)
    reach = max(1, REACH // n_classes // LINE) * n
    for begin in range(0, x.size, reach):
        for line in range(0, x.count, FOUR):
            asks = not halves or line // FOUR % 2 == 0
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
                    x.ahead if k == 0 and asks else 0,
                    entries(n, out, k, line),
                    out.of_class,
                )


@inner
def add_up_lines(x, a, n_classes, halves, out):
    """Add up the lines, weighted for each class: ``out += A X``.

    ``halves`` is as in ``multiply_lines``.
    """
    n = lanes(x.p)
    step = classes_at_once(n_classes)
    for first in range(0, x.count, LINES):
        begin = 0
        while begin < x.size:
            rest = x.size - begin
            width = FOUR * n if rest >= FOUR * n else min(TWO * n, rest)
            asks = not halves or begin // (FOUR * n) % 2 == 0
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
                    x.ahead if k == 0 and asks else 0,
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
    # memory is asked for in half of the steps before the residuals, in all after them
    in_columns, in_rows = data.in_columns, not data.in_columns
    of_others = Matrix(advance(tile, n), n, n_classes * n)
    sums = widened(spread(0.0, data.p))
    lost = sums
    for i in range(begin, end, block_rows):
        n_rows = min(block_rows, end - i)
        x = block_of(data, i, n_rows)
        start_logits(tile, intercept, n_rows, n_classes)
        if in_columns:
            add_up_lines(x, coef, n_others, in_columns, of_others)
        else:
            multiply_lines(x, coef, n_others, in_rows, of_others)
        sums, lost = turn_into_residuals(
            tile, target, targets, i, n_rows, n_classes, sums, lost
        )
        if in_columns:
            multiply_lines(x, of_others, n_others, in_rows, slopes)
        else:
            add_up_lines(x, of_others, n_others, in_columns, slopes)
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
                Data(p, stride, in_columns, n_features),
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

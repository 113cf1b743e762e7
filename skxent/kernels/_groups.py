"""Groups of rows: as many as a vector has lanes, read into tiles and written back.

A tile is ``K`` vectors, vector ``k`` holding entry ``k`` of each row of the group.

Rows whose classes lie side by side are transposed in registers, in square blocks, the
last one overlapping the one before it. Classes in planes are vectors as they are. The
last rows, and a group that ends a plane, are copied number by number.

Arrays are pointers to planes ``(outer, n_classes, n_columns)``; ``n_columns`` is 1
where the classes of a row lie side by side. Row ``i`` is column ``i % n_columns`` of
plane ``i // n_columns``. A group holds rows ``i`` to ``i + width``; the lanes from
``width`` on repeat the last row, with weight 0.
"""

from skxent.kernels._jit import inner
from skxent.kernels._simd import (
    advance,
    any_lane,
    first,
    gather,
    lanes,
    largest,
    load,
    load_beside,
    load_part,
    load_part_beside,
    numbers,
    scatter,
    select,
    shortened,
    spread,
    store,
    store_part,
    widened,
)
from skxent.kernels._targets import class_and_weight
from skxent.kernels._transpose import transpose, transpose_back, widest_block
from skxent.kernels._vector import is_far

MOST_LANES = 16
AHEAD = 128  # cache lines that memory is asked for in advance
NEAR_AHEAD = 4  # and in planes, where each has its own
STREAMED_LINES = 1 << 19  # results that leave the last cache no room, 32 MiB


@inner
def read_group(p, n_classes, n_columns, i, width, tile):
    """Read rows ``i`` to ``i + width`` into the tile."""
    n = lanes(p)
    o, j = 0, 0
    if n_columns != 1:
        o = i // n_columns
        j = i - o * n_columns
    if width == n and n_columns == 1:
        rows = advance(p, i * n_classes)
        columns = min(4, widest_block(n_classes, p))
        first = 0
        while first < n_classes:
            first = min(first, n_classes - columns)
            transpose(
                advance(rows, first), n_classes, advance(tile, first * n), columns
            )
            first += columns
    elif width == n and j + n <= n_columns:
        plane = advance(p, o * n_classes * n_columns + j)
        for k in range(n_classes):
            store(load(plane, k * n_columns), tile, k * n)
    else:
        for r in range(n):
            row = i + min(r, width - 1)
            o = row // n_columns
            plane = advance(p, o * n_classes * n_columns + row - o * n_columns)
            for k in range(n_classes):
                tile[k * n + r] = plane[k * n_columns]


@inner
def write_group(tile, n_classes, n_columns, i, width, p):
    """Write the tile as rows ``i`` to ``i + width``."""
    n = lanes(p)
    o, j = 0, 0
    if n_columns != 1:
        o = i // n_columns
        j = i - o * n_columns
    if width == n and n_columns == 1:
        rows = advance(p, i * n_classes)
        columns = widest_block(n_classes, p)
        first = 0
        while first < n_classes:
            first = min(first, n_classes - columns)
            some, out = advance(tile, first * n), advance(rows, first)
            transpose_back(some, n, out, n_classes, columns)
            first += columns
    elif width == n and j + n <= n_columns:
        plane = advance(p, o * n_classes * n_columns + j)
        for k in range(n_classes):
            store(load(tile, k * n), plane, k * n_columns)
    else:
        for r in range(width):
            row = i + r
            o = row // n_columns
            plane = advance(p, o * n_classes * n_columns + row - o * n_columns)
            for k in range(n_classes):
                plane[k * n_columns] = tile[k * n + r]


@inner
def a_near_logit(p):
    """Return the largest of some logits, 0 if that is too large for ``shift_of``."""
    some = load(p, 0)
    guess = spread(largest(some), some)
    return first(select(is_far(guess) | (guess != guess), 0.0, guess))


@inner
def lines_of_group(p, n_classes, n_columns, i):
    """Return where the memory of a group begins, and the step between its lines.

    As many lines as there are classes, one for each vector of the tile.
    """
    if n_columns == 1:
        return advance(p, i * n_classes), lanes(p)
    o = i // n_columns
    return advance(p, o * n_classes * n_columns + i - o * n_columns), n_columns


@inner
def place_in_tile(y, n_classes, n_columns, like):
    """Return where the entries of the classes ``y`` of a group are."""
    if n_columns == 1:
        return numbers(like) * n_classes + y
    return y * lanes(like) + numbers(like)


@inner
def leave_out(tile, at):
    """Return the exponentials of the class indices, and put zeros in their place."""
    e_y = gather(tile, at)
    scatter(e_y * 0.0, tile, at)
    return e_y


@inner
def read_weights(row_weight, n_weights, i, width, like):
    """Return the weight of each row, float64."""
    if n_weights:
        return load_part_beside(row_weight, i, width, 0.0, like)
    ones = widened(spread(1.0, like))
    return select(numbers(like) < width, ones, 0.0)


@inner
def read_wide(p, i, width, like):
    """Return numbers of 8 bytes, 0 behind the last row."""
    if width == lanes(like):
        return load_beside(p, i, like)
    return load_part_beside(p, i, width, 0, like)


@inner
def read_wide_classes(target, n_classes, ignore_index, weight, i, width, like):
    """Return a class of each row that can be read, int64, and the weight of the row."""
    y = read_wide(target, i, width, like)
    if any_lane((y < 0) | (y >= n_classes) | (y == ignore_index)):
        y, weight = class_and_weight(y, weight, n_classes, ignore_index)
    return y, weight


@inner
def read_classes(target, n_classes, ignore_index, weight, i, width, like):
    """Do as ``read_wide_classes``, with integers of the size of the floats beside."""
    y, weight = read_wide_classes(
        target, n_classes, ignore_index, weight, i, width, like
    )
    return shortened(y, like), weight


@inner
def read_indices(target, i, width, like):
    """Return the class index of each row, whatever it is."""
    return shortened(load_part_beside(target, i, width, 0, like), like)


@inner
def read(p, i, width):
    """Return the elements from ``i`` on, 0 behind the last one."""
    return load(p, i) if width == lanes(p) else load_part(p, i, width, 0.0)


@inner
def is_streamed(p, size):
    """Return whether ``size`` elements are written past the caches."""
    return size >= STREAMED_LINES * lanes(p)


@inner
def write(v, p, i, width):
    """Write the first lanes of a vector."""
    if width == lanes(p):
        store(v, p, i)
    else:
        store_part(v, p, i, width)

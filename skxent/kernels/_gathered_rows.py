"""Rows of probabilities with class indices and no smoothing: one number of each counts.

It is gathered, for as many rows at a time as a vector has lanes; the others are not
read, and the rows may be as long as they like, side by side or in planes. They may be
logarithms of probabilities as well, with the gradient for those.

Conventions are those of :mod:`skxent.kernels._probability_rows`. Logarithms and slopes
are float64: there is one for a row.
"""

from skxent.kernels._groups import (
    AHEAD,
    MOST_LANES,
    NEAR_AHEAD,
    read_weights,
    read_wide_classes,
    write,
)
from skxent.kernels._jit import inner
from skxent.kernels._rules import clip, ratio, weighted
from skxent.kernels._simd import (
    advance,
    any_lane,
    gather,
    lanes,
    load_part_beside,
    narrowed,
    numbers,
    pointer,
    prefetch,
    prefetch_to_write,
    scratch,
    select,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._vector import joined, log, two_sum

FAR_ROWS = 64  # rows whose number is asked for in advance, if they are lines apart


@inner
def clipped_surprise(p, low, high):
    """Return ``-log p`` with ``p`` limited to ``[low, high]``; exactly 0 for 1."""
    return 0.0 - log(clip(p, low, high))


@inner
def places_of(y, n_classes, n_columns, i, width, some):
    """Return which elements the classes of the rows are; ``some`` is scratch."""
    lane = numbers(y)
    if n_columns == 1 and width == lanes(y):
        return lane * n_classes + (y + i * n_classes)
    if width < lanes(y):
        lane = select(lane < width, lane, width - 1)
    if n_columns == 1:
        return (lane + i) * n_classes + y
    o = i // n_columns
    if i - o * n_columns + width <= n_columns:
        return y * n_columns + lane + (o * (n_classes - 1) * n_columns + i)
    for r in range(lanes(y)):
        row = i + min(r, width - 1)
        some[r] = row // n_columns * (n_classes - 1) * n_columns + row
    return y * n_columns + load_part_beside(some, 0, lanes(y), 0, y)


@inner
def ask_for(p, q, n_classes, n_columns, i, n_rows):
    """Ask for the memory that rows after those from ``i`` on will be read from."""
    n = lanes(p)
    if n_columns == 1 and n_classes <= n:
        for k in range(n_classes):
            prefetch(p, i * n_classes + (AHEAD + k) * n)
    elif n_columns == 1:
        for row in range(i + FAR_ROWS, min(i + FAR_ROWS + n, n_rows)):
            prefetch(p, row * n_classes + q[row])


@inner
def fill_rows(value, n_classes, n_columns, i, width, out):
    """Write an entry of ``value``, which are 0 or nan, to all classes of each row."""
    n = lanes(out)
    some = scratch(out, MOST_LANES)
    o = i // n_columns
    is_whole = width == n and (n_columns == 1 or i - o * n_columns + n <= n_columns)
    if not is_whole or (n_columns == 1 and any_lane(value != 0.0)):
        store(value, some, 0)
        for r in range(width):
            row = i + r
            first = row // n_columns * (n_classes - 1) * n_columns + row
            for k in range(n_classes):
                out[first + k * n_columns] = some[r]
    elif n_columns == 1:
        for k in range(i * n_classes, (i + n) * n_classes, n):
            prefetch_to_write(out, k + AHEAD * n)
            store(value, out, k)
    else:
        plane = advance(out, o * (n_classes - 1) * n_columns + i)
        for k in range(n_classes):
            prefetch_to_write(plane, k * n_columns + NEAR_AHEAD * n)
            store(value, plane, k * n_columns)


@inner
def slopes_of(factor, mass, share, weight, is_log):
    """Return the gradient of each row for its class, and for the others."""
    if is_log:
        others = spread(0.0, weight)
        return others + select(weight == 0.0, 0.0, factor * mass), others
    # 0 times the factor
    others = select(weight == 0.0, 0.0, factor - factor)
    return others + select(weight == 0.0, 0.0, ratio(factor * mass, share)), others


@inner
def write_slopes(slope, others, places, shape, i, width, out):
    """Write the gradient of the rows: at their places, and elsewhere."""
    n_classes, n_columns = shape
    others = narrowed(others, out)
    fill_rows(others, n_classes, n_columns, i, width, out)
    slopes, some = scratch(out, MOST_LANES), scratch(places, MOST_LANES)
    store(narrowed(slope, others), slopes, 0)
    store(places, some, 0)
    for r in range(width):
        out[some[r]] = slopes[r]


@inner
def gathered_rows_chunk(
    probabilities,
    target,
    on_value,
    row_weight,
    uniform,
    ignore_index,
    is_log,
    low,
    high,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for.

    ``is_log`` says that the numbers are logarithms, which nothing limits.
    """
    n_classes, n_columns = probabilities.shape[1], probabilities.shape[2]
    p, q, on = pointer(probabilities), pointer(target), pointer(on_value)
    weights, losses = pointer(row_weight), pointer(loss_out)
    gradient = pointer(gradient_out)
    some = scratch(q, MOST_LANES)
    n = lanes(p)
    like = spread(0.0, p)
    sums = widened(like)
    lost = sums
    mass = sums + on[0]
    for i in range(begin, end, n):
        width = min(n, end - i)
        ask_for(p, q, n_classes, n_columns, i, target.size)
        weight = read_weights(weights, row_weight.size, i, width, like)
        y, weight = read_wide_classes(
            q, n_classes, ignore_index, weight, i, width, like
        )
        places = places_of(y, n_classes, n_columns, i, width, some)
        share = widened(gather(p, places))
        if not uniform:
            mass = gather(on, y)
        surprise = 0.0 - share if is_log else clipped_surprise(share, low, high)
        loss = weighted(weight, weighted(mass, surprise))
        sums, error = two_sum(sums, loss)
        lost = lost + error
        if loss_out.size:
            write(narrowed(loss, like), losses, i, width)
        if gradient_out.size:
            slope, others = slopes_of(-scale * weight, mass, share, weight, is_log)
            shape = n_classes, n_columns
            # what is gathered may lie where the gradient is written
            write_slopes(slope, others, places, shape, i, width, gradient)
    return total(joined(sums, lost))

"""Rows of probabilities: the loss ``-sum_k t_k log p_k`` and its gradient.

Conventions are those of :mod:`skxent.kernels._cpu`, with probabilities, target
probabilities and gradients in planes ``(outer, K, inner)``; ``inner`` is 1 where the
classes of a row lie side by side.

Class indices without smoothing need one number of each row, which is gathered; the
others are not read. Otherwise rows of few classes are tiles, as those of
:mod:`skxent.kernels._short_rows`, and rows of many are those of
:mod:`skxent.kernels._long_probabilities`.

The logarithm of a gathered number is float64. Those of all classes are made in the
dtype of the probabilities, four products are added in it, then float64 sums.
"""

import math

from skxent.kernels._groups import (
    AHEAD,
    MOST_LANES,
    NEAR_AHEAD,
    lines_of_group,
    read_group,
    read_weights,
    write,
    write_group,
)
from skxent.kernels._jit import inner
from skxent.kernels._long_probabilities import (
    clipped_surprise,
    long_probabilities_grad_chunk,
    long_probabilities_loss_chunk,
)
from skxent.kernels._rules import blend, ratio, weighted
from skxent.kernels._short_rows import FOUR, MOST_CLASSES, TILE_SIZE
from skxent.kernels._simd import (
    advance,
    any_lane,
    gather,
    lanes,
    load,
    load_part_beside,
    narrowed,
    numbers,
    pointer,
    prefetch,
    prefetch_to_write,
    scratch,
    select,
    shortened,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._vector import accumulate, joined, two_sum

FAR_ROWS = 64  # rows whose number is asked for in advance, if they are lines apart


# -- class indices ---------------------------------------------------------------------


@inner
def read_classes(q, n_classes, i, width, like):
    """Return the class of each row, int64, and whether there is none: 0 is one."""
    y = load_part_beside(q, i, width, 0, like)
    outside = (y < 0) | (y >= n_classes)
    return select(outside, 0, y), outside


@inner
def places_of(y, n_classes, n_columns, i, width, some):
    """Return which elements the classes of the rows are; ``some`` is scratch."""
    lane = numbers(y)
    if width < lanes(y):
        lane = select(lane < width, lane, width - 1)
    if n_columns == 1:
        return (lane + i) * n_classes + y
    o = i // n_columns
    j = i - o * n_columns
    if j + width <= n_columns:
        return y * n_columns + lane + (o * n_classes * n_columns + j)
    for r in range(lanes(y)):
        row = i + min(r, width - 1)
        o = row // n_columns
        some[r] = o * (n_classes - 1) * n_columns + row
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
def index_loss_chunk(
    probabilities,
    target,
    on_value,
    row_weight,
    uniform,
    low,
    high,
    begin,
    end,
    loss_out,
):
    """Return the sum of the losses of rows ``begin:end`` with class indices."""
    n_classes, n_columns = probabilities.shape[1], probabilities.shape[2]
    p, q, on = pointer(probabilities), pointer(target), pointer(on_value)
    weights, losses = pointer(row_weight), pointer(loss_out)
    some = scratch(q, MOST_LANES)
    n = lanes(p)
    like = spread(0.0, p)
    sums = widened(like)
    lost = sums
    mass = sums + on[0]
    for i in range(begin, end, n):
        width = min(n, end - i)
        ask_for(p, q, n_classes, n_columns, i, target.size)
        y, outside = read_classes(q, n_classes, i, width, like)
        share = gather(p, places_of(y, n_classes, n_columns, i, width, some))
        if not uniform:
            mass = gather(on, y)
        loss = weighted(mass, clipped_surprise(widened(share), low, high))
        loss = select(outside, math.nan, loss)
        weight = read_weights(weights, row_weight.size, i, width, like)
        loss = weighted(weight, loss)
        sums, error = two_sum(sums, loss)
        lost = lost + error
        if loss_out.size:
            write(narrowed(loss, like), losses, i, width)
    return total(joined(sums, lost))


@inner
def clear_rows(fill, n_classes, n_columns, i, width, out, some):
    """Write the entries of ``fill``, which are 0 or nan, to all classes of the rows."""
    n = lanes(out)
    o = 0
    j = 0
    if n_columns != 1:
        o = i // n_columns
        j = i - o * n_columns
    if any_lane(fill != 0.0) or width < n or (n_columns != 1 and j + n > n_columns):
        store(fill, some, 0)
        for r in range(width):
            row = i + r
            o = row // n_columns
            entry = advance(out, o * (n_classes - 1) * n_columns + row)
            if n_columns == 1:
                entry = advance(out, row * n_classes)
            for k in range(n_classes):
                entry[k * n_columns] = some[r]
    elif n_columns == 1:
        for k in range(n_classes):
            prefetch_to_write(out, i * n_classes + (AHEAD + k) * n)
            store(fill, out, i * n_classes + k * n)
    else:
        plane = advance(out, o * n_classes * n_columns + j)
        for k in range(n_classes):
            prefetch_to_write(plane, k * n_columns + NEAR_AHEAD * n)
            store(fill, plane, k * n_columns)


@inner
def index_grad_chunk(
    probabilities,
    target,
    on_value,
    row_weight,
    uniform,
    scale,
    begin,
    end,
    gradient_out,
):
    """Write ``-t / p`` of rows ``begin:end`` with class indices."""
    n_classes, n_columns = probabilities.shape[1], probabilities.shape[2]
    p, q, on = pointer(probabilities), pointer(target), pointer(on_value)
    weights, out = pointer(row_weight), pointer(gradient_out)
    some, slopes = scratch(q, MOST_LANES), scratch(p, MOST_LANES)
    n = lanes(p)
    like = spread(0.0, p)
    mass = widened(like) + on[0]
    for i in range(begin, end, n):
        width = min(n, end - i)
        ask_for(p, q, n_classes, n_columns, i, target.size)
        y, outside = read_classes(q, n_classes, i, width, like)
        places = places_of(y, n_classes, n_columns, i, width, some)
        share = widened(gather(p, places))
        if not uniform:
            mass = gather(on, y)
        weight = read_weights(weights, row_weight.size, i, width, like)
        factor = -scale * weight
        # the other classes get 0 times the factor
        fill = select(outside, math.nan, factor - factor)
        fill = select(weight == 0.0, 0.0, fill)
        slope = fill + select(weight == 0.0, 0.0, ratio(factor * mass, share))
        # the probabilities may lie where the gradient is written
        clear_rows(
            narrowed(fill, like), n_classes, n_columns, i, width, out, slopes
        )
        store(narrowed(slope, like), slopes, 0)
        store(places, some, 0)
        for r in range(width):
            out[some[r]] = slopes[r]


# -- all classes -----------------------------------------------------------------------


@inner
def smoothing_losses(tile, n_classes, off, low, high, later, step):
    """Return the losses with the targets ``off_value`` of the rows of a tile.

    Meanwhile ask for lines of memory from ``later`` on.
    """
    n = lanes(tile)
    loss = widened(spread(0.0, tile))
    lost = loss
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            prefetch(later, k * step)
            surprise = clipped_surprise(load(tile, k * n), low, high)
            four = four + weighted(spread(off[k], tile), surprise)
        loss, lost = accumulate(four, loss, lost)
    return joined(loss, lost)


@inner
def target_losses(tile, target_tile, n_classes, on, off, low, high, later, step):
    """Return the losses with target probabilities of the rows of a tile."""
    n = lanes(tile)
    loss = widened(spread(0.0, tile))
    lost = loss
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            prefetch(later, k * step)
            t = blend(on[k], load(target_tile, k * n), off[k])
            surprise = clipped_surprise(load(tile, k * n), low, high)
            four = four + weighted(t, surprise)
        loss, lost = accumulate(four, loss, lost)
    return joined(loss, lost)


@inner
def tiles_loss_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    low,
    high,
    begin,
    end,
    loss_out,
):
    """Return the sum of the losses of rows ``begin:end`` of few classes."""
    n_classes, n_columns = probabilities.shape[1], probabilities.shape[2]
    p, q = pointer(probabilities), pointer(target)
    on, off = pointer(on_value), pointer(off_value)
    weights, losses = pointer(row_weight), pointer(loss_out)
    tile, target_tile = scratch(p, TILE_SIZE), scratch(p, TILE_SIZE)
    n = lanes(p)
    like = spread(0.0, p)
    sums = widened(like)
    lost = sums
    for i in range(begin, end, n):
        width = min(n, end - i)
        read_group(p, n_classes, n_columns, i, width, tile)
        here, step = lines_of_group(p, n_classes, n_columns, i)
        later = advance(here, AHEAD * n if n_columns == 1 else NEAR_AHEAD * n)
        if target.ndim == 1:
            y, outside = read_classes(q, n_classes, i, width, like)
            share = widened(gather(tile, y * n + numbers(y)))
            loss = weighted(gather(on, y), clipped_surprise(share, low, high))
            loss = loss + smoothing_losses(tile, n_classes, off, low, high, later, step)
            loss = select(outside, math.nan, loss)
        else:
            read_group(q, n_classes, n_columns, i, width, target_tile)
            loss = target_losses(
                tile, target_tile, n_classes, on, off, low, high, later, step
            )
        weight = read_weights(weights, row_weight.size, i, width, like)
        loss = weighted(weight, loss)
        sums, error = two_sum(sums, loss)
        lost = lost + error
        if loss_out.size:
            write(narrowed(loss, like), losses, i, width)
    return total(joined(sums, lost))


@inner
def turn_into_index_slopes(tile, n_classes, off, y, t_y, factor, out, step):
    """Turn the probabilities of a tile into the gradient for class indices ``y``."""
    n = lanes(tile)
    for k in range(n_classes):
        prefetch_to_write(out, k * step)
        t = select(y == k, t_y, factor * off[k])
        store(ratio(t, load(tile, k * n)), tile, k * n)


@inner
def turn_into_target_slopes(tile, target_tile, n_classes, on, off, factor, out, step):
    """Turn the probabilities of a tile into the gradient for target probabilities."""
    n = lanes(tile)
    for k in range(n_classes):
        prefetch_to_write(out, k * step)
        t = factor * blend(on[k], load(target_tile, k * n), off[k])
        store(ratio(t, load(tile, k * n)), tile, k * n)


@inner
def clear_ignored(tile, n_classes, weight):
    """Write 0 for the rows of weight 0."""
    n = lanes(tile)
    for k in range(n_classes):
        store(select(weight == 0.0, 0.0, load(tile, k * n)), tile, k * n)


@inner
def tiles_grad_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    scale,
    begin,
    end,
    gradient_out,
):
    """Write ``-t / p`` of rows ``begin:end`` of few classes."""
    n_classes, n_columns = probabilities.shape[1], probabilities.shape[2]
    p, q = pointer(probabilities), pointer(target)
    on, off = pointer(on_value), pointer(off_value)
    weights, gradient = pointer(row_weight), pointer(gradient_out)
    tile, target_tile = scratch(p, TILE_SIZE), scratch(p, TILE_SIZE)
    n = lanes(p)
    like = spread(0.0, p)
    for i in range(begin, end, n):
        width = min(n, end - i)
        read_group(p, n_classes, n_columns, i, width, tile)
        out, step = lines_of_group(gradient, n_classes, n_columns, i)
        out = advance(out, AHEAD * n if n_columns == 1 else NEAR_AHEAD * n)
        weight = read_weights(weights, row_weight.size, i, width, like)
        factor = -scale * weight
        slope = narrowed(factor, like)
        if target.ndim == 1:
            y, outside = read_classes(q, n_classes, i, width, like)
            factor = select(outside, math.nan, factor)
            slope = narrowed(factor, like)
            t_y = narrowed(factor * (gather(on, y) + gather(off, y)), like)
            y = shortened(y, like)
            turn_into_index_slopes(tile, n_classes, off, y, t_y, slope, out, step)
        else:
            read_group(q, n_classes, n_columns, i, width, target_tile)
            turn_into_target_slopes(
                tile, target_tile, n_classes, on, off, slope, out, step
            )
        if any_lane(weight == 0.0):
            clear_ignored(tile, n_classes, weight)
        write_group(tile, n_classes, n_columns, i, width, gradient)


# -- either ----------------------------------------------------------------------------


@inner
def probability_loss_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    options,
    low,
    high,
    begin,
    end,
    loss_out,
):
    """Return the sum of the losses of rows ``begin:end``; write them if asked for."""
    uniform, smooth, _ = options
    if target.ndim == 1 and not smooth:
        return index_loss_chunk(
            probabilities,
            target,
            on_value,
            row_weight,
            uniform,
            low,
            high,
            begin,
            end,
            loss_out,
        )
    if probabilities.shape[1] <= MOST_CLASSES:
        return tiles_loss_chunk(
            probabilities,
            target,
            on_value,
            off_value,
            row_weight,
            low,
            high,
            begin,
            end,
            loss_out,
        )
    return long_probabilities_loss_chunk(
        probabilities,
        target,
        on_value,
        off_value,
        row_weight,
        uniform,
        low,
        high,
        begin,
        end,
        loss_out,
    )


@inner
def probability_grad_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    options,
    scale,
    begin,
    end,
    gradient_out,
):
    """Write ``-t / p`` of rows ``begin:end``."""
    uniform, smooth, _ = options
    if target.ndim == 1 and not smooth:
        index_grad_chunk(
            probabilities,
            target,
            on_value,
            row_weight,
            uniform,
            scale,
            begin,
            end,
            gradient_out,
        )
    elif probabilities.shape[1] <= MOST_CLASSES:
        tiles_grad_chunk(
            probabilities,
            target,
            on_value,
            off_value,
            row_weight,
            scale,
            begin,
            end,
            gradient_out,
        )
    else:
        long_probabilities_grad_chunk(
            probabilities,
            target,
            on_value,
            off_value,
            row_weight,
            uniform,
            scale,
            begin,
            end,
            gradient_out,
        )

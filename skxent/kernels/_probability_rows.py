"""Rows of probabilities: the loss ``-sum_k t_k log p_k`` and its gradient ``-t / p``.

Conventions are those of :mod:`skxent.kernels._cpu`, with probabilities, target
probabilities and gradients in planes ``(outer, K, inner)``; ``inner`` is 1 where the
classes of a row lie side by side. Probabilities are limited to ``[low, high]`` in the
loss, not in the gradient.

Class indices without smoothing are those of :mod:`skxent.kernels._gathered_rows`, rows
of many classes those of :mod:`skxent.kernels._long_probabilities`. The others are
tiles, as in :mod:`skxent.kernels._tile_rows`; their logarithms are made in the dtype
of the probabilities, four products are added in it, then float64 sums.
"""

from skxent.kernels._batches import MOST_CLASSES, TILE_SIZE
from skxent.kernels._gathered_rows import (
    clipped_surprise,
    gathered_rows_chunk,
)
from skxent.kernels._groups import (
    AHEAD,
    NEAR_AHEAD,
    lines_of_group,
    read_classes,
    read_group,
    read_weights,
    write,
    write_group,
)
from skxent.kernels._jit import inner
from skxent.kernels._long_probabilities import long_probabilities_chunk
from skxent.kernels._rules import blend, ratio, weighted
from skxent.kernels._simd import (
    advance,
    lanes,
    load,
    narrowed,
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
from skxent.kernels._tile_rows import FOUR
from skxent.kernels._vector import accumulate, joined, two_sum


@inner
def put_indices(y, n_classes, target_tile):
    """Write class indices as the tile that target probabilities would be."""
    n = lanes(target_tile)
    for k in range(n_classes):
        store(select(y == k, spread(1.0, target_tile), 0.0), target_tile, k * n)


@inner
def sum_tile(tile, target_tile, n_classes, on, off, low, high, ahead, step):
    """Return the losses of the rows of a tile, whose targets become ``t``.

    Meanwhile ask for lines of memory from ``ahead`` on.
    """
    n = lanes(tile)
    loss = widened(spread(0.0, tile))
    lost = loss
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            prefetch(ahead, k * step)
            t = blend(on[k], load(target_tile, k * n), off[k])
            store(t, target_tile, k * n)
            surprise = clipped_surprise(load(tile, k * n), low, high)
            four = four + weighted(t, surprise)
        loss, lost = accumulate(four, loss, lost)
    return joined(loss, lost)


@inner
def turn_into_slopes(tile, target_tile, n_classes, factor, ahead, step):
    """Turn the probabilities of a tile into the gradient; its targets are ``t``."""
    n = lanes(tile)
    ignored = factor == 0.0
    for k in range(n_classes):
        prefetch_to_write(ahead, k * step)
        slope = ratio(factor * load(target_tile, k * n), load(tile, k * n))
        store(select(ignored, 0.0, slope), tile, k * n)


@inner
def tiles_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    ignore_index,
    low,
    high,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    n_classes, n_columns = probabilities.shape[1], probabilities.shape[2]
    p, q = pointer(probabilities), pointer(target)
    on, off = pointer(on_value), pointer(off_value)
    weights, losses = pointer(row_weight), pointer(loss_out)
    gradient = pointer(gradient_out)
    tile, target_tile = scratch(p, TILE_SIZE), scratch(p, TILE_SIZE)
    n = lanes(p)
    like = spread(0.0, p)
    sums = widened(like)
    lost = sums
    lines = AHEAD * n if n_columns == 1 else NEAR_AHEAD * n
    for i in range(begin, end, n):
        width = min(n, end - i)
        read_group(p, n_classes, n_columns, i, width, tile)
        weight = read_weights(weights, row_weight.size, i, width, like)
        if target.ndim == 1:
            y, weight = read_classes(q, n_classes, ignore_index, weight, i, width, like)
            put_indices(y, n_classes, target_tile)
        else:
            read_group(q, n_classes, n_columns, i, width, target_tile)
        factor = select(weight == 0.0, 0.0, -scale * weight)
        here, step = lines_of_group(p, n_classes, n_columns, i)
        here = advance(here, lines)
        loss = sum_tile(tile, target_tile, n_classes, on, off, low, high, here, step)
        loss = weighted(weight, loss)
        sums, error = two_sum(sums, loss)
        lost = lost + error
        if loss_out.size:
            write(narrowed(loss, like), losses, i, width)
        if gradient_out.size:
            slope = narrowed(factor, like)
            here, step = lines_of_group(gradient, n_classes, n_columns, i)
            here = advance(here, lines)
            turn_into_slopes(tile, target_tile, n_classes, slope, here, step)
            write_group(tile, n_classes, n_columns, i, width, gradient)
    return total(joined(sums, lost))


@inner
def probability_rows_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    options,
    low,
    high,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    uniform, smooth, _, ignore_index = options
    if target.ndim == 1 and not smooth:
        return gathered_rows_chunk(
            probabilities,
            target,
            on_value,
            row_weight,
            uniform,
            ignore_index,
            False,
            low,
            high,
            scale,
            begin,
            end,
            loss_out,
            gradient_out,
        )
    if probabilities.shape[1] <= MOST_CLASSES:
        return tiles_chunk(
            probabilities,
            target,
            on_value,
            off_value,
            row_weight,
            ignore_index,
            low,
            high,
            scale,
            begin,
            end,
            loss_out,
            gradient_out,
        )
    return long_probabilities_chunk(
        probabilities,
        target,
        on_value,
        off_value,
        row_weight,
        uniform,
        ignore_index,
        low,
        high,
        scale,
        begin,
        end,
        loss_out,
        gradient_out,
    )

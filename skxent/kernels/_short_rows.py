"""Softmax rows of few classes: as many rows at a time as a vector has lanes.

A loop over ten classes is too short for vectors of 16. A *group* of rows is transposed
into a tile (``_groups.py``) of ``K`` vectors, vector ``k`` holding entry ``k`` of each
row: no lane is idle, whatever the number of classes, and no sum crosses lanes. The tile
stays in the first cache, so the largest logits, the exponentials and the gradient are
three passes over it and one over memory, whose next lines are asked for meanwhile.

A few groups make a *batch*, whose tiles fit the first cache. Each step is taken for all
groups of the batch before the next: their arithmetic overlaps, where the steps of one
group wait for each other (1.5 ns an element for 10 classes, 0.9 in batches).

Conventions are those of :mod:`skxent.kernels._cpu`, with logits, probabilities and
results in planes ``(outer, K, inner)``. Vectors with a number for each row: ``weight``,
0 for an ignored row; ``m``, the largest logit; ``ones``, how many logits are as large;
``e_m``, their exponential; ``rest``, the sum of all others; ``mass``, ``sum_k t_k``;
``linear``, ``sum_k t_k (m - z_k)``. Exponentials have the scale of ``exp_shifted``.

Sums over classes are taken over four of them in the logits' dtype, then in float64.
"""

import math
from typing import Any, NamedTuple

from skxent.kernels._groups import (
    AHEAD,
    MOST_LANES,
    NEAR_AHEAD,
    lines_of_group,
    read_classes,
    read_group,
    read_indices,
    read_weights,
    write,
    write_group,
)
from skxent.kernels._jit import inlined, inner
from skxent.kernels._rules import blend, curvature, residual
from skxent.kernels._simd import (
    advance,
    any_lane,
    fma,
    gather,
    lanes,
    load,
    load_beside,
    maximum,
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
from skxent.kernels._two_classes import two_classes_chunk
from skxent.kernels._vector import (
    accumulate,
    exp_shifted,
    is_far,
    is_finite,
    joined,
    log1p,
    shift_of,
    two_sum,
)

# Two tiles of so many classes, logits and targets, take two thirds of the first cache.
MOST_CLASSES = 256
TILE_SIZE = MOST_CLASSES * MOST_LANES
FOUR = 4
MOST_GROUPS = 8
ROWS = MOST_GROUPS * MOST_LANES


@inner
def largest_logits(tile, n_classes):
    """Return the largest logit of each row; nan is passed over."""
    n = lanes(tile)
    m = spread(-math.inf, tile)
    for k in range(n_classes):
        m = maximum(load(tile, k * n), m)
    return m


@inner
def bring_near(tile, n_classes, m):
    """Subtract the largest logit of rows where it is far from 0; return what is left.

    Exact for logits whose exponential is not 0: they are within a factor of 2 of it.
    """
    n = lanes(tile)
    away = select(is_far(m) & is_finite(m), m, 0.0)
    for k in range(n_classes):
        store(load(tile, k * n) - away, tile, k * n)
    return m - away


@inner
def exponentiate(tile, n_classes, m, later, step):
    """Turn logits into exponentials; return ``rest`` in two parts, ``ones``, ``e_m``.

    Meanwhile ask for lines of memory from ``later`` on.
    """
    n = lanes(tile)
    offset, lowest = shift_of(m)
    ones = spread(0.0, tile)
    rest = widened(ones)
    lost = rest
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            prefetch(later, k * step)
            z = load(tile, k * n)
            e = exp_shifted(z, offset, lowest)
            store(e, tile, k * n)
            at_max = z == m
            ones = select(at_max, ones + 1.0, ones)
            four = select(at_max, four, four + e)
        rest, lost = accumulate(four, rest, lost)
    rest, lost = two_sum(rest, lost)
    # nan unless the largest logit is a number
    rest = rest + widened(m * 0.0)
    return rest, lost, ones, exp_shifted(m, offset, lowest)


@inner
def smoothing_terms(tile, n_classes, off_value, m):
    """Return ``linear`` of the smoothing alone."""
    n = lanes(tile)
    linear = widened(spread(0.0, tile))
    lost = linear
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            if off_value[k] != 0:
                four = four + (m - load(tile, k * n)) * off_value[k]
        linear, lost = accumulate(four, linear, lost)
    return joined(linear, lost)


@inner
def probability_terms(tile, target_tile, n_classes, on_value, off_value, m):
    """Return ``linear`` and ``mass``, in two parts, of probabilities, now ``t``."""
    n = lanes(tile)
    mass = widened(spread(0.0, tile))
    linear = mass
    lost = mass
    mass_lost = mass
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        mass_of_four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            t = blend(on_value[k], load(target_tile, k * n), off_value[k])
            store(t, target_tile, k * n)
            mass_of_four = mass_of_four + t
            four = four + select(t == 0.0, 0.0, t * (m - load(tile, k * n)))
        mass, mass_lost = accumulate(mass_of_four, mass, mass_lost)
        linear, lost = accumulate(four, linear, lost)
    mass, mass_low = two_sum(mass, mass_lost)
    return joined(linear, lost), mass, mass_low


@inner
def share_of(factor, mass, mass_low, rest, rest_low, ones, e_m):
    """Return ``factor * mass / d`` in two parts of the logits' dtype.

    Rounded to one part it would be off by as much in each entry of the gradient, and
    that twice or more where ``a p`` is a multiple of its difference from ``t``.
    """
    many, one = widened(ones), widened(e_m)
    largest = many * one
    d, d_low = two_sum(largest, rest)
    d_low = d_low + (fma(many, one, -largest) + rest_low)
    share = factor * mass
    share_low = fma(factor, mass, -share) + factor * mass_low
    d_high, high = narrowed(d, e_m), narrowed(share, e_m)
    d_low = narrowed((d - widened(d_high)) + d_low, e_m)
    low = narrowed((share - widened(high)) + share_low, e_m)
    inverse = 1.0 / d_high
    quotient = high * inverse
    remainder = fma(-quotient, d_high, high) + (low - quotient * d_low)
    return quotient, remainder * inverse


@inner
def index_gradient(
    tile, n_classes, off_value, smooth, y, t_y, factor, high, low, out, step
):
    """Turn exponentials into the gradient for class indices ``y``."""
    n = lanes(tile)
    for k in range(n_classes):
        prefetch_to_write(out, k * step)
        t = factor * off_value[k] if smooth else spread(0.0, tile)
        t = select(y == k, t_y, t)
        slope = residual(high, low, load(tile, k * n), t)
        store(select(factor == 0.0, 0.0, slope), tile, k * n)


@inner
def probability_gradient(tile, target_tile, n_classes, factor, high, low, out, step):
    """Turn exponentials into the gradient for probabilities, given as ``t``."""
    n = lanes(tile)
    for k in range(n_classes):
        prefetch_to_write(out, k * step)
        t = factor * load(target_tile, k * n)
        slope = residual(high, low, load(tile, k * n), t)
        store(select(factor == 0.0, 0.0, slope), tile, k * n)


class Batch(NamedTuple):
    """Memory for a batch of groups, and for the vectors of each."""

    tile: Any
    target_tile: Any
    m: Any
    ones: Any
    e_m: Any
    rest: Any
    rest_low: Any
    weight: Any
    mass: Any
    mass_low: Any
    linear: Any
    at_target: Any


@inlined
def batch_like(p, wide):
    """Return the memory of a batch, of the caller's stack; ``wide`` is float64."""
    return Batch(
        scratch(p, TILE_SIZE),
        scratch(p, TILE_SIZE),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
    )


@inner
def read_batch(batch, p, row_weight, n_weights, n_classes, n_columns, i, end):
    """Read logits and weights of the rows from ``i`` on; find the largest logits."""
    n = lanes(p)
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        tile = advance(batch.tile, r * n_classes)
        read_group(p, n_classes, n_columns, i + r, width, tile)
        m = largest_logits(tile, n_classes)
        if any_lane(is_far(m)):
            m = bring_near(tile, n_classes, m)
        store(m, batch.m, r)
        weight = read_weights(row_weight, n_weights, i + r, width, m)
        store(weight, batch.weight, r)


@inner
def exponentiate_batch(batch, p, n_classes, n_columns, i, end):
    """Turn the logits of a batch into exponentials."""
    n = lanes(p)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        here, step = lines_of_group(p, n_classes, n_columns, i + r)
        later = advance(here, AHEAD * n if n_columns == 1 else NEAR_AHEAD * n)
        m = load(batch.m, r)
        rest, rest_low, ones, e_m = exponentiate(tile, n_classes, m, later, step)
        store(rest, batch.rest, r)
        store(rest_low, batch.rest_low, r)
        store(ones, batch.ones, r)
        store(e_m, batch.e_m, r)


@inner
def read_index_targets(batch, q, on, off, options, n_classes, i, end):
    """Find ``linear``, ``mass`` and ``t_y`` of class indices, and the rows' weights."""
    uniform, smooth, smoothing, ignore_index = options
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        m = load(batch.m, r)
        width = min(n, end - i - r)
        weight = load_beside(batch.weight, r, m)
        y, weight = read_classes(q, n_classes, ignore_index, weight, i + r, width, m)
        store(weight, batch.weight, r)
        mass = widened(spread(0.0, m)) + on[0]
        t_y = mass + off[0]
        if not uniform:
            mass = gather(on, y)
            t_y = mass + gather(off, y)
        below = widened(m - gather(tile, y * n + numbers(m)))
        linear = select(mass == 0.0, 0.0, mass * below)
        if smooth:
            linear = linear + smoothing_terms(tile, n_classes, off, m)
        mass, mass_low = two_sum(mass, smoothing)
        store(linear, batch.linear, r)
        store(mass, batch.mass, r)
        store(mass_low, batch.mass_low, r)
        store(t_y, batch.at_target, r)


@inner
def read_probability_targets(batch, q, on, off, n_classes, n_columns, i, end):
    """Find ``linear`` and ``mass`` of probabilities, whose tiles become ``t``."""
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        target_tile = advance(batch.target_tile, r * n_classes)
        read_group(q, n_classes, n_columns, i + r, min(n, end - i - r), target_tile)
        m = load(batch.m, r)
        terms = probability_terms(tile, target_tile, n_classes, on, off, m)
        linear, mass, mass_low = terms
        store(linear, batch.linear, r)
        store(mass, batch.mass, r)
        store(mass_low, batch.mass_low, r)


@inner
def add_losses(batch, sums, lost, i, end, loss_out, n_losses):
    """Return the sums over lanes with the losses of the batch; write each if asked."""
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        e_m = load(batch.e_m, r)
        rest = load_beside(batch.rest, r, e_m)
        linear = load_beside(batch.linear, r, e_m)
        mass = load_beside(batch.mass, r, e_m)
        weight = load_beside(batch.weight, r, e_m)
        others = (load(batch.ones, r) - 1.0) + narrowed(rest, e_m) / e_m
        loss = weight * (linear + mass * widened(log1p(others)))
        loss = select(weight == 0.0, 0.0, loss)
        sums, error = two_sum(sums, loss)
        lost = lost + error
        if n_losses:
            write(narrowed(loss, e_m), loss_out, i + r, min(n, end - i - r))
    return sums, lost


@inner
def turn_into_gradient(
    batch, target, q, off, smooth, scale, n_classes, n_columns, i, end, gradient
):
    """Turn the exponentials of a batch into the gradient."""
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        e_m, ones = load(batch.e_m, r), load(batch.ones, r)
        weight = load_beside(batch.weight, r, e_m)
        factor = select(weight == 0.0, 0.0, scale * weight)
        mass = load_beside(batch.mass, r, e_m)
        mass_low = load_beside(batch.mass_low, r, e_m)
        rest = load_beside(batch.rest, r, e_m)
        rest_low = load_beside(batch.rest_low, r, e_m)
        high, low = share_of(factor, mass, mass_low, rest, rest_low, ones, e_m)
        slope = narrowed(factor, e_m)
        out, step = lines_of_group(gradient, n_classes, n_columns, i + r)
        if n_classes == 1:
            # a p and t are the same number, which rounding must not tell
            store(high * 0.0, tile, 0)
        elif target.ndim == 1:
            y = read_indices(q, i + r, min(n, end - i - r), e_m)
            t_y = narrowed(factor * load_beside(batch.at_target, r, e_m), e_m)
            index_gradient(
                tile, n_classes, off, smooth, y, t_y, slope, high, low, out, step
            )
        else:
            target_tile = advance(batch.target_tile, r * n_classes)
            probability_gradient(
                tile, target_tile, n_classes, slope, high, low, out, step
            )


@inner
def rows_per_batch(n_classes, n):
    """Return how many rows have tiles that fit, whole groups."""
    return n * max(1, min(MOST_GROUPS, MOST_CLASSES // n_classes))


@inner
def write_batch(batch, n_classes, n_columns, i, end, p):
    """Write the tiles of a batch as rows from ``i`` on."""
    n = lanes(p)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        write_group(tile, n_classes, n_columns, i + r, min(n, end - i - r), p)


@inner
def short_rows_chunk(
    logits,
    target,
    on_value,
    off_value,
    row_weight,
    options,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    n_classes, n_columns = logits.shape[1], logits.shape[2]
    if n_classes == 2:
        return two_classes_chunk(
            logits,
            target,
            on_value,
            off_value,
            row_weight,
            options,
            scale,
            begin,
            end,
            loss_out,
            gradient_out,
        )
    p, q = pointer(logits), pointer(target)
    on, off = pointer(on_value), pointer(off_value)
    weights, losses = pointer(row_weight), pointer(loss_out)
    gradient = pointer(gradient_out)
    batch = batch_like(p, on)
    sums = widened(spread(0.0, p))
    lost = sums
    step = rows_per_batch(n_classes, lanes(p))
    for i in range(begin, end, step):
        last = min(i + step, end)
        read_batch(batch, p, weights, row_weight.size, n_classes, n_columns, i, last)
        if target.ndim == 1:
            read_index_targets(batch, q, on, off, options, n_classes, i, last)
        else:
            read_probability_targets(batch, q, on, off, n_classes, n_columns, i, last)
        exponentiate_batch(batch, p, n_classes, n_columns, i, last)
        sums, lost = add_losses(batch, sums, lost, i, last, losses, loss_out.size)
        if gradient_out.size:
            turn_into_gradient(
                batch,
                target,
                q,
                off,
                options[1],
                scale,
                n_classes,
                n_columns,
                i,
                last,
                gradient,
            )
            write_batch(batch, n_classes, n_columns, i, last, gradient)
    return total(joined(sums, lost))


@inner
def curvature_product(tile, vector_tile, n_classes, factor, ignored, high, low):
    """Turn exponentials into ``factor * p * (v - <p, v>)``."""
    n = lanes(tile)
    mean_v = widened(high * 0.0)
    lost = mean_v
    for begin in range(0, n_classes, FOUR):
        four = high * 0.0
        for k in range(begin, min(begin + FOUR, n_classes)):
            p = residual(high, low, load(tile, k * n), 0.0)
            store(p, tile, k * n)
            four = four + p * load(vector_tile, k * n)
        mean_v, lost = accumulate(four, mean_v, lost)
    mean = narrowed(joined(mean_v, lost), high)
    for k in range(n_classes):
        product = curvature(factor, load(tile, k * n), load(vector_tile, k * n), mean)
        store(select(ignored, 0.0, product), tile, k * n)


@inner
def turn_into_curvature(batch, v, mass, scale, n_classes, n_columns, i, end):
    """Turn the exponentials of a batch into products with the Hessian."""
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        tile = advance(batch.tile, r * n_classes)
        vector_tile = advance(batch.target_tile, r * n_classes)
        read_group(v, n_classes, n_columns, i + r, width, vector_tile)
        e_m, ones = load(batch.e_m, r), load(batch.ones, r)
        weight = load_beside(batch.weight, r, e_m)
        factor = scale * weight * read_weights(mass, 1, i + r, width, e_m)
        rest = load_beside(batch.rest, r, e_m)
        rest_low = load_beside(batch.rest_low, r, e_m)
        one = widened(spread(1.0, e_m))
        high, low = share_of(one, one, one * 0.0, rest, rest_low, ones, e_m)
        slope = narrowed(factor, e_m)
        ignored = weight == 0.0
        curvature_product(tile, vector_tile, n_classes, slope, ignored, high, low)


@inner
def short_rows_curvature_chunk(
    logits, mass, row_weight, vector, scale, begin, end, product_out
):
    """Write the product of the Hessian with ``vector`` for rows ``begin:end``."""
    n_classes, n_columns = logits.shape[1], logits.shape[2]
    p, v, a = pointer(logits), pointer(vector), pointer(mass)
    weights, out = pointer(row_weight), pointer(product_out)
    batch = batch_like(p, a)
    step = rows_per_batch(n_classes, lanes(p))
    for i in range(begin, end, step):
        last = min(i + step, end)
        read_batch(batch, p, weights, row_weight.size, n_classes, n_columns, i, last)
        exponentiate_batch(batch, p, n_classes, n_columns, i, last)
        turn_into_curvature(batch, v, a, scale, n_classes, n_columns, i, last)
        write_batch(batch, n_classes, n_columns, i, last, out)

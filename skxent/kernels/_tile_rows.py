"""Softmax rows of few classes: as many rows at a time as a vector has lanes.

A loop over ten classes is too short for vectors of 16. A *group* of rows is transposed
into a tile (``_groups.py``) of ``K`` vectors, vector ``k`` holding entry ``k`` of each
row: no lane is idle, whatever the number of classes, and no sum crosses lanes. The tile
stays in the first cache, so the largest logits, the exponentials and the gradient are
three passes over it and one over memory, whose next lines are asked for meanwhile.

A few groups make a *batch*, whose tiles fit the first cache. Each step is taken for all
groups of the batch before the next: their arithmetic overlaps, where the steps of one
group wait for each other (1.5 ns an element for 10 classes, 0.9 in batches).

Rows side by side come here only where ``_flat_rows.py`` does not suit, and are added up
in its order. Where its terms would nearly cancel, they are measured from the largest
logit instead, and sums over classes are taken over four of them in the logits' dtype,
then in float64.

Conventions are those of :mod:`skxent.kernels._cpu`, with logits, probabilities and
results in planes ``(outer, K, inner)``; names are those of
:mod:`skxent.kernels._batches`.
"""

import math

from skxent.kernels._batches import (
    TILE_SIZE,
    add_losses,
    add_smoothing,
    batch_like,
    factor_of,
    is_index_heavy,
    is_likely,
    is_measured,
    keeps_parts,
    low_of_class,
    mass_of_class,
    place_of,
    rows_per_batch,
    share_of_indices,
    shares_of_rows,
    sum_of,
    sum_with_largest,
)
from skxent.kernels._groups import (
    AHEAD,
    NEAR_AHEAD,
    leave_out,
    lines_of_group,
    read_classes,
    read_group,
    read_indices,
    read_weights,
    write_group,
)
from skxent.kernels._jit import inner
from skxent.kernels._row_sums import PARTS_SIZE, parts_of_columns, sums_of_columns
from skxent.kernels._rules import residual
from skxent.kernels._simd import (
    advance,
    all_lanes,
    any_lane,
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
    widened,
)
from skxent.kernels._tile_targets import (
    blend_tile,
    smoothing_from_index,
    smoothing_from_largest,
    sum_apart,
    sum_of_tile,
    terms_from_largest,
    terms_from_level,
    undefined,
)
from skxent.kernels._vector import (
    exp_shifted,
    is_far,
    is_finite,
    level_of,
    shift_of,
)

FOUR = 4
FAR_BELOW = 30.0  # the largest logit: there an index is no longer likely


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
    """Turn logits into exponentials; meanwhile ask for lines from ``later`` on."""
    n = lanes(tile)
    offset, lowest = shift_of(m)
    for k in range(n_classes):
        prefetch(later, k * step)
        store(exp_shifted(load(tile, k * n), offset, lowest), tile, k * n)
    return exp_shifted(m, offset, lowest)


@inner
def exponentiate_copy(tile, logits, n_classes, m, later, step):
    """Do as ``exponentiate``, but keep the logits."""
    n = lanes(tile)
    offset, lowest = shift_of(m)
    for k in range(n_classes):
        prefetch(later, k * step)
        z = load(tile, k * n)
        store(z, logits, k * n)
        store(exp_shifted(z, offset, lowest), tile, k * n)
    return exp_shifted(m, offset, lowest)


@inner
def index_gradient(tile, n_classes, y, at_y, factor, share, out, step):
    """Turn exponentials into the gradient for class indices ``y``."""
    n = lanes(tile)
    for k in range(n_classes):
        prefetch_to_write(out, k * step)
        slope = select(y == k, at_y, share * load(tile, k * n))
        store(select(factor == 0.0, 0.0, slope), tile, k * n)


@inner
def smoothed_gradient(
    tile, n_classes, off_value, y, e_y, t_y, factor, high, low, out, step
):
    """Turn exponentials into the gradient for class indices ``y`` with smoothing."""
    n = lanes(tile)
    at_y = residual(high, low, e_y, t_y)
    for k in range(n_classes):
        prefetch_to_write(out, k * step)
        slope = residual(high, low, load(tile, k * n), factor * off_value[k])
        slope = select(y == k, at_y, slope)
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


@inner
def read_batch(batch, p, row_weight, n_weights, n_classes, n_columns, i, end):
    """Read logits and weights of the rows from ``i`` on; find the largest logits."""
    n = lanes(p)
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        tile = advance(batch.tile, r * n_classes)
        read_group(p, n_classes, n_columns, i + r, width, tile)
    open_batch(batch, row_weight, n_weights, n_classes, i, end)


@inner
def open_batch(batch, row_weight, n_weights, n_classes, i, end):
    """Find the largest logits, and the weights, of the rows from ``i`` on."""
    n = lanes(batch.tile)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        m = largest_logits(tile, n_classes)
        if any_lane(is_far(m)):
            m = bring_near(tile, n_classes, m)
        store(m, batch.m, r)
        width = min(n, end - i - r)
        weight = read_weights(row_weight, n_weights, i + r, width, m)
        store(weight, batch.weight, r)


@inner
def lines_after(p, n_classes, n_columns, i):
    """Return where the memory to be asked for begins, and the step between lines."""
    here, step = lines_of_group(p, n_classes, n_columns, i)
    ahead = AHEAD if n_columns == 1 else NEAR_AHEAD
    return advance(here, ahead * lanes(p)), step


@inner
def add_up_probabilities(batch, p, q, on, off, n_classes, n_columns, i, end):
    """Turn a batch into exponentials and ``t``; find ``d``, ``mass`` and the loss.

    The loss is ``linear`` alone where it keeps its digits so.
    """
    n = lanes(p)
    logits = scratch(p, TILE_SIZE)
    parts = scratch(p, PARTS_SIZE)
    wide_parts = scratch(on, PARTS_SIZE), scratch(on, PARTS_SIZE)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        t = advance(batch.target_tile, r * n_classes)
        read_group(q, n_classes, n_columns, i + r, min(n, end - i - r), t)
        is_positive = blend_tile(t, n_classes, on, off)
        later, step = lines_after(p, n_classes, n_columns, i + r)
        m = load(batch.m, r)
        e_m = exponentiate_copy(tile, logits, n_classes, m, later, step)
        d, d_low = parts_of_columns(tile, n_classes, wide_parts[0], wide_parts[1])
        level, above = level_of(m, d)
        (mass, mass_low), linear = terms_from_level(
            logits, t, n_classes, level, parts, wide_parts
        )
        # a logit that is nan is in `d` alone, where its class has no target mass
        loss = linear + mass * above + (undefined(m) + d * 0.0)
        is_level = is_measured(loss, mass) & is_positive
        others = m * 0.0
        if not all_lanes(is_level):
            rest, rest_low, ones = sum_apart(tile, logits, n_classes, m)
            high, low = sum_with_largest(rest, rest_low, ones, e_m)
            d, d_low = select(is_level, d, high), select(is_level, d_low, low)
            others = (ones - 1.0) + narrowed(rest, e_m) / e_m
            others = narrowed(select(is_level, 0.0, widened(others)), m)
            high, low, linear = terms_from_largest(logits, t, n_classes, m)
            mass = select(is_level, mass, high)
            mass_low = select(is_level, mass_low, low)
            loss = select(is_level, loss, linear)
        store(d, batch.d, r)
        store(d_low, batch.d_low, r)
        store(mass, batch.mass, r)
        store(mass_low, batch.mass_low, r)
        store(loss, batch.linear, r)
        store(others, batch.others, r)


@inner
def exponentiate_around_target(batch, p, q, wide, smooth, n_classes, n_columns, i, end):
    """Turn the logits of a batch into exponentials but those of class indices.

    The loss is ``log(1 + rest / e_y)`` there; where the index is far less likely than
    others, or smoothing outweighs it, it is measured from the largest logit.
    """
    n = lanes(p)
    wide_parts = scratch(wide, PARTS_SIZE), scratch(wide, PARTS_SIZE)
    nothing = widened(spread(0.0, p))
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        later, step = lines_after(p, n_classes, n_columns, i + r)
        m, z_y = load(batch.m, r), load(batch.z_y, r)
        e_m = exponentiate(tile, n_classes, m, later, step)
        y = read_indices(q, i + r, min(n, end - i - r), m)
        e_y = leave_out(tile, place_of(y, n_classes) * n + numbers(m))
        if keeps_parts(smooth, p):
            rest, rest_low = parts_of_columns(
                tile, n_classes, wide_parts[0], wide_parts[1]
            )
        else:
            rest, rest_low = sums_of_columns(tile, n_classes), nothing
        rest = rest + undefined(m)
        is_near = is_likely(rest, e_y)
        if smooth:
            is_near = is_near & (load_beside(batch.is_near, r, m) > 0.0)
            if not all_lanes(is_near):
                # a p and t may nearly cancel
                high, low = sum_of_tile(tile, n_classes)
                rest = select(is_near, rest, high + undefined(m))
                rest_low = select(is_near, rest_low, low)
        d, d_low = sum_of(e_y, rest, widened(e_y))
        d_low = d_low + rest_low
        is_max = is_near
        if smooth:
            is_max = is_near | (z_y == m)
        others = select(is_max, rest, (d - widened(e_m)) + d_low)
        linear = load_beside(batch.linear, r, m)
        mass = load_beside(batch.mass, r, m)
        below = select(is_max | (mass == 0.0), 0.0, mass * widened(m - z_y))
        if smooth:
            from_m = load_beside(batch.linear_from_m, r, m)
            linear = select(is_near, linear, from_m)
        store(linear + below, batch.linear, r)
        store(narrowed(others, m) / select(is_max, e_y, e_m), batch.others, r)
        store(d, batch.d, r)
        store(d_low, batch.d_low, r)
        store(narrowed(rest, m), batch.rest, r)
        store(e_y, batch.e_y, r)


@inner
def read_index_targets(batch, q, on, off, low, n_low, options, n_classes, i, end):
    """Find what class indices say, and what smoothing adds to the loss."""
    uniform, smooth, smoothing, ignore_index = options
    n = lanes(batch.m)
    parts = scratch(batch.m, PARTS_SIZE)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        m = load(batch.m, r)
        width = min(n, end - i - r)
        weight = load_beside(batch.weight, r, m)
        y, weight = read_classes(q, n_classes, ignore_index, weight, i + r, width, m)
        store(weight, batch.weight, r)
        mass = mass_of_class(on, uniform, y, m)
        store(mass, batch.mass, r)
        store(low_of_class(low, n_low, uniform, y, m), batch.mass_low, r)
        z_y = gather(tile, y * n + numbers(m))
        store(z_y, batch.z_y, r)
        linear = widened(spread(0.0, m))
        if smooth:
            linear = smoothing_from_index(tile, n_classes, off, uniform, z_y, parts)
            t_y = mass + mass_of_class(off, uniform, y, m)
            store(t_y, batch.at_target, r)
            is_near = is_index_heavy(mass, smoothing)
            yes = widened(spread(1.0, m))
            store(select(is_near, yes, 0.0), batch.is_near, r)
            if not all_lanes(is_near & (widened(m - z_y) < FAR_BELOW)):
                from_m = smoothing_from_largest(tile, n_classes, off, m)
                store(from_m, batch.linear_from_m, r)
        store(linear, batch.linear, r)


@inner
def add_smoothing_to_batch(batch, smoothing, i, end):
    """Add the mass that smoothing brings."""
    for r in range(0, end - i, lanes(batch.m)):
        add_smoothing(batch, r, smoothing)


@inner
def turn_into_gradient(
    batch, target, q, off, smooth, scale, n_classes, n_columns, i, end, gradient
):
    """Turn the exponentials of a batch into the gradient."""
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        like = load(batch.m, r)
        out, step = lines_of_group(gradient, n_classes, n_columns, i + r)
        factor = factor_of(batch, r, scale, like)
        slope = narrowed(factor, like)
        if target.ndim == 1 and not smooth and n_classes > 1:
            y = read_indices(q, i + r, min(n, end - i - r), like)
            share, at_y = share_of_indices(batch, r, scale)
            index_gradient(tile, n_classes, y, at_y, slope, share, out, step)
            continue
        high, low = shares_of_rows(batch, r, factor, like)
        if n_classes == 1:
            # a p and t are the same number, which rounding must not tell
            store(select(slope == 0.0, 0.0, high * 0.0), tile, 0)
        elif target.ndim > 1:
            t = advance(batch.target_tile, r * n_classes)
            probability_gradient(tile, t, n_classes, slope, high, low, out, step)
        else:
            y = read_indices(q, i + r, min(n, end - i - r), like)
            e_y = load(batch.e_y, r)
            t_y = narrowed(factor * load_beside(batch.at_target, r, like), like)
            smoothed_gradient(
                tile, n_classes, off, y, e_y, t_y, slope, high, low, out, step
            )


@inner
def write_batch(batch, n_classes, n_columns, i, end, p):
    """Write the tiles of a batch as rows from ``i`` on."""
    n = lanes(p)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        write_group(tile, n_classes, n_columns, i + r, min(n, end - i - r), p)


@inner
def add_tile_rows(rows, target, begin, end, sums, lost):
    """Return the sums over lanes with the losses of rows ``begin:end``.

    Write what is asked for.
    """
    n_classes, n_columns = rows.logits.shape[1], rows.logits.shape[2]
    p, q = pointer(rows.logits), pointer(target)
    on, off = pointer(rows.on_value), pointer(rows.off_value)
    weights, losses = pointer(rows.row_weight), pointer(rows.loss_out)
    gradient = pointer(rows.gradient_out)
    batch = batch_like(p, on)
    step = rows_per_batch(n_classes, lanes(p))
    for i in range(begin, end, step):
        last = min(i + step, end)
        read_batch(
            batch, p, weights, rows.row_weight.size, n_classes, n_columns, i, last
        )
        if target.ndim == 1:
            read_index_targets(
                batch,
                q,
                on,
                off,
                pointer(rows.on_low),
                rows.on_low.size,
                rows.options,
                n_classes,
                i,
                last,
            )
            exponentiate_around_target(
                batch, p, q, on, rows.options[1], n_classes, n_columns, i, last
            )
            add_smoothing_to_batch(batch, rows.options[2], i, last)
        else:
            add_up_probabilities(batch, p, q, on, off, n_classes, n_columns, i, last)
        sums, lost = add_losses(batch, sums, lost, i, last, losses, rows.loss_out.size)
        if rows.gradient_out.size:
            turn_into_gradient(
                batch,
                target,
                q,
                off,
                rows.options[1],
                rows.scale,
                n_classes,
                n_columns,
                i,
                last,
                gradient,
            )
            write_batch(batch, n_classes, n_columns, i, last, gradient)
    return sums, lost

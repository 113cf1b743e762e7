"""Softmax rows of few classes: as many rows at a time as a vector has lanes.

A loop over ten classes is too short for vectors of 16. A *group* of rows is transposed
into a tile (``_groups.py``) of ``K`` vectors, vector ``k`` holding entry ``k`` of each
row: no lane is idle, whatever the number of classes, and no sum crosses lanes. The tile
stays in the first cache, so the largest logits, the exponentials and the gradient are
three passes over it and one over memory, whose next lines are asked for meanwhile.

A few groups make a *batch*, whose tiles fit the first cache. Each step is taken for all
groups of the batch before the next: their arithmetic overlaps, where the steps of one
group wait for each other (1.5 ns an element for 10 classes, 0.9 in batches).

Class indices without smoothing come here only where ``_flat_rows.py`` does not suit;
they are added up in its order. Other sums over classes are taken over four of them in
the logits' dtype, then in float64.

Conventions are those of :mod:`skxent.kernels._cpu`, with logits, probabilities and
results in planes ``(outer, K, inner)``; names are those of
:mod:`skxent.kernels._batches`, and ``ones``, how many logits are as large as the
largest.
"""

import math

from skxent.kernels._batches import (
    add_losses,
    batch_like,
    factor_of,
    is_likely,
    leave_out,
    mass_of_class,
    place_of,
    rows_per_batch,
    share_of,
    share_of_indices,
    shares_of_rows,
    sum_of,
    sum_with_largest,
)
from skxent.kernels._groups import (
    AHEAD,
    NEAR_AHEAD,
    lines_of_group,
    read_classes,
    read_group,
    read_indices,
    read_weights,
    write_group,
)
from skxent.kernels._jit import inner
from skxent.kernels._row_sums import PARTS_SIZE, sums_of_columns
from skxent.kernels._rules import blend, curvature, residual
from skxent.kernels._simd import (
    advance,
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
from skxent.kernels._vector import (
    accumulate,
    exp_shifted,
    is_far,
    is_finite,
    joined,
    shift_of,
    two_sum,
)

FOUR = 4


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
def exponentiate_and_add(tile, n_classes, m, later, step):
    """Do as ``exponentiate``; return the sum of the others in two parts, ``ones``, too.

    ``ones`` is how many logits are as large as the largest.
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
    return rest + undefined(m), lost, ones, exp_shifted(m, offset, lowest)


@inner
def sum_of_tile(tile, n_classes):
    """Return the sum of each row in two parts."""
    n = lanes(tile)
    rest = widened(spread(0.0, tile))
    lost = rest
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            four = four + load(tile, k * n)
        rest, lost = accumulate(four, rest, lost)
    return two_sum(rest, lost)


@inner
def undefined(m):
    """Return 0, and nan where the largest logit is no number: there is no softmax."""
    return widened(m * 0.0)


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
def exponentiate_batch(batch, p, n_classes, n_columns, i, end):
    """Turn the logits of a batch into exponentials; find ``d`` and ``others``."""
    n = lanes(p)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        later, step = lines_after(p, n_classes, n_columns, i + r)
        m = load(batch.m, r)
        sums = exponentiate_and_add(tile, n_classes, m, later, step)
        rest, rest_low, ones, e_m = sums
        d, d_low = sum_with_largest(rest, rest_low, ones, e_m)
        store(d, batch.d, r)
        store(d_low, batch.d_low, r)
        store((ones - 1.0) + narrowed(rest, e_m) / e_m, batch.others, r)


@inner
def exponentiate_around_target(batch, p, q, smooth, n_classes, n_columns, i, end):
    """Do as ``exponentiate_batch`` but for class indices, which are left out.

    The loss is ``log(1 + rest / e_y)`` there; where the index is far less likely than
    others, or takes part in smoothing, it is measured from the largest logit.
    """
    n = lanes(p)
    parts = scratch(p, PARTS_SIZE)
    nothing = widened(spread(0.0, p))
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        later, step = lines_after(p, n_classes, n_columns, i + r)
        m, z_y = load(batch.m, r), load(batch.z_y, r)
        e_m = exponentiate(tile, n_classes, m, later, step)
        y = read_indices(q, i + r, min(n, end - i - r), m)
        e_y = leave_out(tile, place_of(y, n_classes) * n + numbers(m))
        if smooth:
            # a p and t may nearly cancel: as in `exponentiate_and_add`
            rest, rest_low = sum_of_tile(tile, n_classes)
        else:
            rest, rest_low = sums_of_columns(tile, n_classes, parts), nothing
        rest = rest + undefined(m)
        d, d_low = sum_of(e_y, rest, widened(e_y))
        d_low = d_low + rest_low
        is_near = z_y == m if smooth else is_likely(rest, e_y)
        others = select(is_near, rest, (d - widened(e_m)) + d_low)
        linear = load_beside(batch.linear, r, m)
        mass = load_beside(batch.mass, r, m)
        below = select(is_near | (mass == 0.0), 0.0, mass * widened(m - z_y))
        store(linear + below, batch.linear, r)
        store(narrowed(others, m) / select(is_near, e_y, e_m), batch.others, r)
        store(d, batch.d, r)
        store(d_low, batch.d_low, r)
        store(narrowed(rest, m), batch.rest, r)
        store(e_y, batch.e_y, r)


@inner
def read_index_targets(batch, q, on, off, options, n_classes, i, end):
    """Find what class indices say, and ``linear`` of the smoothing alone."""
    uniform, smooth, _, ignore_index = options
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        m = load(batch.m, r)
        width = min(n, end - i - r)
        weight = load_beside(batch.weight, r, m)
        y, weight = read_classes(q, n_classes, ignore_index, weight, i + r, width, m)
        store(weight, batch.weight, r)
        mass = mass_of_class(on, uniform, y, m)
        store(mass, batch.mass, r)
        store(gather(tile, y * n + numbers(m)), batch.z_y, r)
        linear = widened(spread(0.0, m))
        if smooth:
            linear = smoothing_terms(tile, n_classes, off, m)
            t_y = mass + mass_of_class(off, uniform, y, m)
            store(t_y, batch.at_target, r)
        store(linear, batch.linear, r)


@inner
def add_smoothing(batch, smoothing, i, end):
    """Add the mass that smoothing brings."""
    for r in range(0, end - i, lanes(batch.m)):
        mass = load_beside(batch.mass, r, load(batch.m, r))
        mass, mass_low = two_sum(mass, smoothing)
        store(mass, batch.mass, r)
        store(mass_low, batch.mass_low, r)


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
            store(high * 0.0, tile, 0)
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
            read_index_targets(batch, q, on, off, rows.options, n_classes, i, last)
            exponentiate_around_target(
                batch, p, q, rows.options[1], n_classes, n_columns, i, last
            )
            add_smoothing(batch, rows.options[2], i, last)
        else:
            read_probability_targets(batch, q, on, off, n_classes, n_columns, i, last)
            exponentiate_batch(batch, p, n_classes, n_columns, i, last)
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
        m = load(batch.m, r)
        weight = load_beside(batch.weight, r, m)
        factor = scale * weight * read_weights(mass, 1, i + r, width, m)
        d, d_low = load_beside(batch.d, r, m), load_beside(batch.d_low, r, m)
        one = widened(spread(1.0, m))
        high, low = share_of(one, one, one * 0.0, d, d_low, m)
        slope = narrowed(factor, m)
        ignored = weight == 0.0
        curvature_product(tile, vector_tile, n_classes, slope, ignored, high, low)


@inner
def tile_rows_curvature_chunk(
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

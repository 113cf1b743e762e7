"""Logits of a block of rows become residuals in their place, and losses.

A block is tiles of groups of rows, K vectors each, as in :mod:`._tile_rows`. Here there
is no array of logits that has to come out with the bits of another schedule: class
indices, with smoothing or without, take two passes over the groups, in which vectors of
a tile are told apart by comparing their class with the index. Probabilities take the
steps of :mod:`._tile_rows`.

With ``d`` the sum of the exponentials and ``rest`` that sum without the index, a row of
class ``y`` with ``t_k = off_k``, and ``on_y`` more at the index, has the loss
``(on_y + S) l + sum_k off_k (z_y - z_k)`` for ``l = log(1 + rest / e_y)`` and the sum
``S`` of ``off``; its residual at the index is ``S p_y - off_y - on_y rest / d``. So
nothing cancels without smoothing.

Names are those of :mod:`._batches`. Sums over classes are taken over four of them in
the dtype of the logits, then in float64.
"""

from typing import Any, NamedTuple

from skxent.kernels._batches import (
    MOST_RATIO,
    ROWS,
    add_losses,
    batch_around,
    factor_of,
    mass_of_class,
    place_of,
    rows_per_batch,
    shares_of_rows,
)
from skxent.kernels._groups import AHEAD, read_classes, read_indices, read_weights
from skxent.kernels._jit import inlined, inner
from skxent.kernels._simd import (
    advance,
    all_lanes,
    any_lane,
    lanes,
    load,
    load_beside,
    maximum,
    narrowed,
    pointer,
    scratch,
    select,
    spread,
    store,
    widened,
)
from skxent.kernels._tile_rows import (
    FOUR,
    add_up_probabilities,
    bring_near,
    open_batch,
    probability_gradient,
)
from skxent.kernels._vector import add_to_total, exp_shifted, is_far, log1p, shift_of


class Targets(NamedTuple):
    """What is known of the targets of all rows: see :mod:`skxent.kernels._cpu`."""

    on_value: Any
    off_value: Any
    row_weight: Any
    n_weights: Any
    options: Any


class Step(NamedTuple):
    """Memory for vectors of some groups, between the passes."""

    e_y: Any
    rest: Any
    others: Any
    weight: Any
    on_y: Any
    linear: Any  # what the loss is more than mass log(1 + others)


@inlined
def step_like(p, wide):
    """Return the memory of a step, of the caller's stack."""
    return Step(
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
    )


@inner
def largest_and_chosen(tile, n_classes, y):
    """Return the largest logit of each row, nan passed over, and that of its class."""
    n = lanes(tile)
    m = load(tile, 0)
    z_y = m
    for k in range(1, n_classes):
        z = load(tile, k * n)
        m = maximum(z, m)
        z_y = select(y == k, z, z_y)
    return m, z_y


@inner
def exponentiate_beside(tile, n_classes, m, y):
    """Turn logits into exponentials; return ``rest``, float64, and ``e_y``."""
    n = lanes(tile)
    offset, lowest = shift_of(m)
    nothing = spread(0.0, tile)
    e_y = nothing
    rest = widened(m * 0.0)  # nan where there is no softmax
    for begin in range(0, n_classes, FOUR):
        four = nothing
        for k in range(begin, min(begin + FOUR, n_classes)):
            e = exp_shifted(load(tile, k * n), offset, lowest)
            store(e, tile, k * n)
            at_y = y == k
            e_y = select(at_y, e, e_y)
            four = four + select(at_y, nothing, e)
        rest = rest + widened(four)
    return rest, e_y


@inner
def smoothing_of(tile, n_classes, off, z_y):
    """Return ``sum_k off_k (z_y - z_k)``."""
    n = lanes(tile)
    linear = widened(spread(0.0, tile))
    for k in range(n_classes):
        if off[k] != 0:  # 0 * inf is 0
            linear = linear + off[k] * widened(z_y - load(tile, k * n))
    return linear


@inner
def exponentiate_step(step, tile, q, targets, i, n_rows, n_classes):
    """Turn the logits of some groups into exponentials; find what ``Step`` holds."""
    n = lanes(tile)
    uniform, smooth, _, ignore_index = targets.options
    for r in range(0, n_rows, n):
        group = advance(tile, r * n_classes)
        width = min(n, n_rows - r)
        like = load(group, 0)
        weight = read_weights(targets.row_weight, targets.n_weights, i + r, width, like)
        y, weight = read_classes(q, n_classes, ignore_index, weight, i + r, width, like)
        m, z_y = largest_and_chosen(group, n_classes, y)
        if any_lane(is_far(m)):
            m = bring_near(group, n_classes, m)
            _, z_y = largest_and_chosen(group, n_classes, y)
        on_y = mass_of_class(targets.on_value, uniform, y, like)
        linear = widened(like * 0.0)
        if smooth:
            linear = smoothing_of(group, n_classes, targets.off_value, z_y)
        rest, e_y = exponentiate_beside(group, n_classes, m, y)
        rest = narrowed(rest, like)
        others = rest / e_y
        is_likely = rest < e_y * MOST_RATIO
        if not all_lanes(is_likely):
            offset, lowest = shift_of(m)
            e_m = exp_shifted(m, offset, lowest)
            others = select(is_likely, others, ((rest - e_m) + e_y) / e_m)
            mass = on_y + targets.options[2]
            below = select(is_likely | (mass == 0.0), 0.0, mass * widened(m - z_y))
            linear = linear + below
        store(e_y, step.e_y, r)
        store(rest, step.rest, r)
        store(others, step.others, r)
        store(weight, step.weight, r)
        store(on_y, step.on_y, r)
        store(linear, step.linear, r)


@inner
def write_residuals(group, n_classes, off, smooth, y, at_y, share, weight):
    """Turn exponentials into residuals for class indices ``y``."""
    n = lanes(group)
    ignored = weight == 0.0
    for k in range(n_classes):
        slope = share * load(group, k * n)
        if smooth:
            slope = slope - weight * off[k]
        slope = select(y == k, at_y, slope)
        store(select(ignored, 0.0, slope), group, k * n)


@inner
def finish_step(step, tile, q, targets, i, n_rows, n_classes, sums, lost):
    """Turn exponentials into residuals; return the sums with the losses."""
    n = lanes(tile)
    uniform, smooth, smoothing, _ = targets.options
    for r in range(0, n_rows, n):
        others, e_y, rest = load(step.others, r), load(step.e_y, r), load(step.rest, r)
        weight = load_beside(step.weight, r, others)
        on_y = load_beside(step.on_y, r, others)
        linear = load_beside(step.linear, r, others)
        mass = on_y + smoothing
        loss = weight * (linear + mass * widened(log1p(others)))
        loss = select(weight == 0.0, 0.0, loss)
        sums, lost = add_to_total(others, loss, sums, lost)
        inverse = 1.0 / (e_y + rest)
        share = narrowed(weight * mass, others) * inverse
        y = read_indices(q, i + r, min(n, n_rows - r), others)
        at_y = -(narrowed(weight * on_y, others) * (rest * inverse))
        if smooth:
            of_y = place_of(y, n_classes)
            off_y = mass_of_class(targets.off_value, uniform, of_y, others)
            spread_out = widened(e_y * inverse) * smoothing - off_y
            at_y = at_y + narrowed(weight * spread_out, others)
        write_residuals(
            advance(tile, r * n_classes),
            n_classes,
            targets.off_value,
            smooth,
            y,
            at_y,
            share,
            narrowed(weight, others),
        )
    return sums, lost


@inner
def residuals_of_indices(tile, q, targets, i, n_rows, n_classes, sums, lost):
    """Do as ``turn_into_residuals`` for class indices."""
    step = step_like(tile, targets.on_value)
    size = rows_per_batch(n_classes, lanes(tile))
    for r in range(0, n_rows, size):
        some = min(size, n_rows - r)
        groups = advance(tile, r * n_classes)
        exponentiate_step(step, groups, q, targets, i + r, some, n_classes)
        sums, lost = finish_step(
            step, groups, q, targets, i + r, some, n_classes, sums, lost
        )
    return sums, lost


@inner
def residuals_of_probabilities(tile, q, targets, i, n_rows, n_classes, sums, lost):
    """Do as ``turn_into_residuals`` for probabilities."""
    on, off = targets.on_value, targets.off_value
    size = rows_per_batch(n_classes, lanes(tile))
    for r in range(0, n_rows, size):
        some = min(size, n_rows - r)
        batch = batch_around(advance(tile, r * n_classes), on)
        weight = advance(targets.row_weight, i + r)
        open_batch(batch, weight, targets.n_weights, n_classes, 0, some)
        target = advance(q, (i + r) * n_classes)
        nearby = advance(batch.tile, -AHEAD * lanes(tile))  # asks for nothing new
        add_up_probabilities(batch, nearby, target, on, off, n_classes, 1, 0, some)
        sums, lost = add_losses(batch, sums, lost, 0, some, batch.tile, 0)
        for g in range(0, some, lanes(tile)):
            group = advance(batch.tile, g * n_classes)
            like = load(batch.m, g)
            factor = factor_of(batch, g, 1.0, like)
            high, low = shares_of_rows(batch, g, factor, like)
            probability_gradient(
                group,
                advance(batch.target_tile, g * n_classes),
                n_classes,
                narrowed(factor, like),
                high,
                low,
                group,
                lanes(tile),
            )
    return sums, lost


@inner
def turn_into_residuals(tile, target, targets, i, n_rows, n_classes, sums, lost):
    """Return the sums over lanes with the losses of the rows from ``i`` on.

    Their logits become the gradient of the sum.
    """
    q = pointer(target)
    if target.ndim == 1:
        return residuals_of_indices(tile, q, targets, i, n_rows, n_classes, sums, lost)
    return residuals_of_probabilities(
        tile, q, targets, i, n_rows, n_classes, sums, lost
    )

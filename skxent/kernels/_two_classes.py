"""Softmax rows of two classes: the logit ``z_1 - z_0`` of a binary target.

Nothing of the difference may be lost, so it has two parts. The rules are those of
:mod:`skxent.kernels._sigmoid`. As many rows as a vector has lanes are one group; class
indices without smoothing are taken in steps, some groups at a time.

Conventions are those of :mod:`skxent.kernels._cpu`, with arrays in planes
``(outer, 2, inner)``.
"""

from typing import Any, NamedTuple

from skxent.kernels._batches import ROWS, mass_of_class
from skxent.kernels._groups import (
    AHEAD,
    read_classes,
    read_group,
    read_weights,
    write,
    write_group,
)
from skxent.kernels._jit import inner
from skxent.kernels._rules import blend, sigmoid_loss, sigmoid_residual
from skxent.kernels._simd import (
    lanes,
    load,
    load_beside,
    magnitude,
    maximum,
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
from skxent.kernels._transpose import alternating, evens_and_odds
from skxent.kernels._vector import (
    add_to_total,
    exp_nonpositive,
    joined,
    log1p_of_fraction,
    two_sum,
)


@inner
def read_pairs(p, n_columns, i, width, pair):
    """Return both logits of each row."""
    n = lanes(p)
    if n_columns == 1 and width == n:
        prefetch(p, 2 * i + AHEAD * n)
        prefetch(p, 2 * i + AHEAD * n + n)
        return evens_and_odds(load(p, 2 * i), load(p, 2 * i + n))
    read_group(p, 2, n_columns, i, width, pair)
    return load(pair, 0), load(pair, n)


@inner
def write_pairs(x, y, n_columns, i, width, p, pair):
    """Write both entries of each row."""
    n = lanes(p)
    if n_columns == 1 and width == n:
        low, high = alternating(x, y)
        store(low, p, 2 * i)
        store(high, p, 2 * i + n)
        prefetch_to_write(p, 2 * i + AHEAD * n)
        prefetch_to_write(p, 2 * i + AHEAD * n + n)
    else:
        store(x, pair, 0)
        store(y, pair, n)
        write_group(pair, 2, n_columns, i, width, p)


@inner
def difference(z0, z1):
    """Return ``z1 - z0`` rounded, and what that took; nan without a softmax."""
    x, lost = two_sum(z1, -z0)
    undefined = maximum(z0, z1) * 0.0  # nan if a logit is inf, or none is finite
    return x + undefined, select(lost == lost, lost, 0.0)


@inner
def exp_of_distance(x, low):
    """Return ``exp(-|x + low|)``: of the rounded difference, less what that lacks."""
    e = exp_nonpositive(-magnitude(x))
    return e - e * select(x > 0.0, low, -low)


class Pairs(NamedTuple):
    """Memory for vectors of some groups, between the steps that are taken for all."""

    x: Any  # the other class's logit less the index's
    low: Any  # what rounding took from it
    sign: Any  # -1 for class 1
    e: Any  # exp(-|x|)
    weight: Any
    mass: Any


@inner
def read_index_pairs(
    pairs, p, q, on, options, row_weight, n_weights, n_columns, i, end
):
    """Read the differences of logits, and what class indices say."""
    pair = scratch(p, 32)
    n = lanes(p)
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        z0, z1 = read_pairs(p, n_columns, i + r, width, pair)
        x, low = difference(z0, z1)
        weight = read_weights(row_weight, n_weights, i + r, width, x)
        y, weight = read_classes(q, 2, options[3], weight, i + r, width, x)
        sign = select(y == 1, spread(-1.0, x), 1.0)
        store(x * sign, pairs.x, r)
        store(low * sign, pairs.low, r)
        store(sign, pairs.sign, r)
        store(weight, pairs.weight, r)
        store(mass_of_class(on, options[0], y, x), pairs.mass, r)


@inner
def exponentiate_pairs(pairs, size):
    """Find ``e``."""
    for r in range(0, size, lanes(pairs.x)):
        x, low = load(pairs.x, r), load(pairs.low, r)
        store(exp_of_distance(x, low), pairs.e, r)


@inner
def add_pair_losses(pairs, sums, lost, i, end, loss_out, n_losses):
    """Return the sums over lanes with the losses of pairs; write each if asked."""
    n = lanes(pairs.x)
    for r in range(0, end - i, n):
        x = load(pairs.x, r)
        mass = load_beside(pairs.mass, r, x)
        weight = load_beside(pairs.weight, r, x)
        far = widened(select(x < 0.0, 0.0, x))
        far = select(mass == 0.0, 0.0, mass * far)
        log_d = widened(log1p_of_fraction(load(pairs.e, r)))
        loss = select(weight == 0.0, 0.0, weight * (far + mass * log_d))
        sums, lost = add_to_total(x, loss, sums, lost)
        if n_losses:
            write(narrowed(loss, x), loss_out, i + r, min(n, end - i - r))
    return sums, lost


@inner
def write_pair_gradient(pairs, scale, n_columns, i, end, gradient):
    """Write ``sigmoid(x)`` for the other class and its opposite for the index's."""
    pair = scratch(pairs.x, 32)
    n = lanes(pairs.x)
    for r in range(0, end - i, n):
        x, e = load(pairs.x, r), load(pairs.e, r)
        weight = load_beside(pairs.weight, r, x)
        factor = narrowed(scale * weight * load_beside(pairs.mass, r, x), x)
        slope = factor * (select(x > 0.0, 1.0, e) / (e + 1.0))
        slope = select(weight == 0.0, 0.0, slope * load(pairs.sign, r))
        width = min(n, end - i - r)
        write_pairs(-slope, slope, n_columns, i + r, width, gradient, pair)


@inner
def index_pairs_chunk(rows, target, begin, end):
    """Do as ``two_classes_chunk`` for class indices without smoothing.

    There the loss is ``log(1 + exp x)`` for the other logit less the index's, ``x``,
    and the gradient is ``sigmoid(x)`` and its opposite. A row takes 200 cycles from end
    to end, so that each step is taken for some groups before the next.
    """
    n_columns = rows.logits.shape[2]
    p, q, weights = pointer(rows.logits), pointer(target), pointer(rows.row_weight)
    on, losses, gradient = (
        pointer(rows.on_value),
        pointer(rows.loss_out),
        pointer(rows.gradient_out),
    )
    pairs = Pairs(
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(on, ROWS),
        scratch(on, ROWS),
    )
    sums = widened(spread(0.0, p))
    lost = sums
    for i in range(begin, end, ROWS):
        last = min(i + ROWS, end)
        read_index_pairs(
            pairs,
            p,
            q,
            on,
            rows.options,
            weights,
            rows.row_weight.size,
            n_columns,
            i,
            last,
        )
        exponentiate_pairs(pairs, last - i)
        sums, lost = add_pair_losses(
            pairs, sums, lost, i, last, losses, rows.loss_out.size
        )
        if rows.gradient_out.size:
            write_pair_gradient(pairs, rows.scale, n_columns, i, last, gradient)
    return total(joined(sums, lost))


@inner
def two_classes_chunk(rows, target, begin, end):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    if target.ndim == 1 and not rows.options[1]:
        return index_pairs_chunk(rows, target, begin, end)
    n_columns = rows.logits.shape[2]
    p, q, weights = pointer(rows.logits), pointer(target), pointer(rows.row_weight)
    losses, gradient = pointer(rows.loss_out), pointer(rows.gradient_out)
    pair = scratch(p, 32)
    n = lanes(p)
    sums = widened(spread(0.0, p))
    lost = sums
    one = spread(1.0, p)
    on0, on1 = spread(rows.on_value[0], p), spread(rows.on_value[1], p)
    off0, off1 = spread(rows.off_value[0], p), spread(rows.off_value[1], p)
    for i in range(begin, end, n):
        width = min(n, end - i)
        z0, z1 = read_pairs(p, n_columns, i, width, pair)
        x, low = difference(z0, z1)
        weight = read_weights(weights, rows.row_weight.size, i, width, x)
        if target.ndim == 1:
            y, weight = read_classes(q, 2, rows.options[3], weight, i, width, x)
            q1 = select(y == 1, one, 0.0)
            q0 = one - q1
        else:
            q0, q1 = read_pairs(q, n_columns, i, width, pair)
        t0, t1 = blend(on0, q0, off0), blend(on1, q1, off1)
        e = exp_of_distance(x, low)
        loss = weight * widened(sigmoid_loss(t0, t1, x, log1p_of_fraction(e)))
        loss = select(weight == 0.0, 0.0, loss)
        sums, lost = add_to_total(x, loss, sums, lost)
        if rows.loss_out.size:
            write(narrowed(loss, x), losses, i, width)
        if rows.gradient_out.size:
            factor = narrowed(rows.scale * weight, x)
            slope = factor * sigmoid_residual(t0, t1, x, e)
            slope = select(weight == 0.0, 0.0, slope)
            write_pairs(-slope, slope, n_columns, i, width, gradient, pair)
    return total(joined(sums, lost))

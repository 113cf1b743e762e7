"""Softmax rows of two classes: the logit ``z_1 - z_0`` of a binary target.

Nothing of the difference may be lost, so it has two parts. The rules are those of
:mod:`skxent.kernels._sigmoid`; as many rows as a vector has lanes are one group, as in
:mod:`skxent.kernels._short_rows`, whose chunk this is for ``K = 2``: it takes 0.5 ns an
element where tiles take 2.

Conventions are those of :mod:`skxent.kernels._short_rows`.
"""

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
def two_classes_chunk(
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
    n_columns = logits.shape[2]
    p, q, weights = pointer(logits), pointer(target), pointer(row_weight)
    losses, gradient = pointer(loss_out), pointer(gradient_out)
    pair = scratch(p, 32)
    n = lanes(p)
    sums = widened(spread(0.0, p))
    lost = sums
    one = spread(1.0, p)
    on0, on1 = spread(on_value[0], p), spread(on_value[1], p)
    off0, off1 = spread(off_value[0], p), spread(off_value[1], p)
    for i in range(begin, end, n):
        width = min(n, end - i)
        z0, z1 = read_pairs(p, n_columns, i, width, pair)
        x, low = difference(z0, z1)
        weight = read_weights(weights, row_weight.size, i, width, x)
        if target.ndim == 1:
            y, weight = read_classes(q, 2, options[3], weight, i, width, x)
            q1 = select(y == 1, one, 0.0)
            q0 = one - q1
        else:
            q0, q1 = read_pairs(q, n_columns, i, width, pair)
        t0, t1 = blend(on0, q0, off0), blend(on1, q1, off1)
        e = exp_nonpositive(-magnitude(x))
        e = e - e * select(x > 0.0, low, -low)
        loss = weight * widened(sigmoid_loss(t0, t1, x, log1p_of_fraction(e)))
        loss = select(weight == 0.0, 0.0, loss)
        sums, error = two_sum(sums, loss)
        lost = lost + error
        if loss_out.size:
            write(narrowed(loss, x), losses, i, width)
        if gradient_out.size:
            factor = narrowed(scale * weight, x)
            slope = factor * sigmoid_residual(t0, t1, x, e)
            slope = select(weight == 0.0, 0.0, slope)
            write_pairs(-slope, slope, n_columns, i, width, gradient, pair)
    return total(joined(sums, lost))

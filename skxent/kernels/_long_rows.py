"""Softmax rows of many classes: one row at a time, along the row, in one pass.

A row is read in blocks that fit the first cache. A block is gone through twice, for its
largest logit and for the sum of its exponentials, while memory is asked for the lines
that come next. Where a block raises the largest logit, what was summed before is
multiplied with a power of 2, which is exact. The gradient goes through the row once
more; a row of 50,000 float32 logits lies in the second cache by then.

Exponentials are made again for the gradient: storing them would take as long.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`. Pointers ``z``, ``q``, ``v`` and ``out`` lead to the row
itself.
"""

import math
from typing import Any, NamedTuple

from skxent.kernels._batches import (
    add_losses,
    batch_like,
    low_at_index,
    place_of,
    share_of,
    sum_with_largest,
)
from skxent.kernels._groups import MOST_LANES, a_near_logit, read, write
from skxent.kernels._jit import inner
from skxent.kernels._long_indices import add_index_rows, rows_at_once
from skxent.kernels._long_targets import (
    LINES,
    Slopes,
    fill_row,
    finite_total,
    probability_terms,
    smoothing_terms,
    write_gradient,
)
from skxent.kernels._rows import pointers_of
from skxent.kernels._rules import curvature, residual
from skxent.kernels._simd import (
    advance,
    first,
    lanes,
    largest,
    load,
    load_part,
    maximum,
    pointer,
    prefetch,
    scratch,
    select,
    slots,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._targets import class_and_weight
from skxent.kernels._vector import (
    accumulate,
    exp_shifted,
    is_far,
    joined,
    power_of,
    shift_of,
    total_in_parts,
    two_sum,
)

NEAR = LINES * MOST_LANES
FOUR = 4


class Row(NamedTuple):
    """What is known of a row: scalars, and vectors of one number."""

    m: Any  # the largest logit, less ``base``
    base: Any  # what is subtracted from logits that are far from 0
    offset: Any
    lowest: Any
    ones: Any
    e_m: Any
    rest: Any  # float64, in two parts
    rest_low: Any


@inner
def largest_logit(z, width):
    """Return the largest logit; nan is passed over."""
    n = lanes(z)
    m = spread(-math.inf, z)
    full = width - width % n
    for k in range(0, full, n):
        m = maximum(load(z, k), m)
    if full < width:
        m = maximum(load_part(z, full, width - full, -math.inf), m)
    return spread(largest(m), z)


@inner
def bring_near(z, width, base, near):
    """Write logits less ``base``."""
    n = lanes(z)
    for k in range(0, width, n):
        store(read(z, k, min(n, width - k)) - base, near, k)


@inner
def apart(z, m, offset, lowest, ones):
    """Return the exponential of logits below ``m``, and how many are ``m``."""
    at_max = z == m
    e = select(at_max, 0.0, exp_shifted(z, offset, lowest))
    return e, select(at_max, ones + 1.0, ones)


@inner
def add_block(z, later, width, m, offset, lowest, ones, rest, lost):
    """Return ``ones``, ``rest`` and what it lost, with a block added."""
    n = lanes(z)
    full = width - width % n
    fours = full - full % (4 * n)
    for k in range(0, fours, 4 * n):
        for j in range(k, k + 4 * n, n):
            prefetch(later, j)
        a, ones = apart(load(z, k), m, offset, lowest, ones)
        b, ones = apart(load(z, k + n), m, offset, lowest, ones)
        c, ones = apart(load(z, k + 2 * n), m, offset, lowest, ones)
        d, ones = apart(load(z, k + 3 * n), m, offset, lowest, ones)
        rest, lost = accumulate((a + b) + (c + d), rest, lost)
    for k in range(fours, full, n):
        a, ones = apart(load(z, k), m, offset, lowest, ones)
        rest, lost = accumulate(a, rest, lost)
    if full < width:
        last = load_part(z, full, width - full, -math.inf)
        a, ones = apart(last, m, offset, lowest, ones)
        rest, lost = accumulate(a, rest, lost)
    return ones, rest, lost


@inner
def sum_row(z, n_classes, base, is_far_row, near):
    """Return the row, and whether its logits are not far from 0 after all."""
    m = spread(0.0 if is_far_row else -math.inf, z)
    offset, lowest = shift_of(spread(0.0, z))
    ones = spread(0.0, z)
    rest = widened(ones)
    lost = rest
    before = 0.0
    n = lanes(z)
    for begin in range(0, n_classes, LINES * n):
        width = min(LINES * n, n_classes - begin)
        block = advance(z, begin)
        later = advance(block, LINES * n)
        if is_far_row:
            bring_near(block, width, base, near)
            block = near
        else:
            top = maximum(largest_logit(block, width), m)
            if first(top) != first(m) or begin == 0:
                if first(is_far(top)):
                    return Row(m, base, offset, lowest, ones, m, 0.0, 0.0), False
                if begin > 0:
                    e_m = exp_shifted(m, offset, lowest)
                    lower = first(power_of(m)) - first(power_of(top))
                    scale = math.ldexp(1.0, int(lower))
                    before = (before + float(total(ones)) * float(first(e_m))) * scale
                    rest = rest * scale
                    lost = lost * scale
                m, ones = top, ones * 0.0
                offset, lowest = shift_of(m)
        ones, rest, lost = add_block(
            block, later, width, m, offset, lowest, ones, rest, lost
        )
    e_m = exp_shifted(m, offset, lowest)
    high, low = total_in_parts(e_m, rest, lost)
    high, error = two_sum(high, before)
    ones = spread(total(ones), z)
    return Row(m, base, offset, lowest, ones, e_m, high, low + error), True


@inner
def read_row(z, n_classes, near):
    """Return what is known of a row; ``rest`` is nan if it has no softmax."""
    row, is_near = sum_row(z, n_classes, spread(0.0, z), False, near)
    if not is_near:
        base = largest_logit(z, n_classes)
        nothing = float(first(base)) * 0.0
        row, is_near = sum_row(z, n_classes, base, True, near)
        return Row(
            row.m,
            base,
            row.offset,
            row.lowest,
            row.ones,
            row.e_m,
            row.rest + nothing,
            row.rest_low,
        )
    return row


@inner
def add_row(batch, r, at, i, near):
    """Fill what the loss of row ``i`` takes; write its gradient if asked for."""
    n_classes = at.n_classes
    on, off = at.on_value, at.off_value
    p, target_p = at.logits, at.q
    z = advance(p, i * n_classes)
    weight = batch.weight[r]
    row = read_row(z, n_classes, near)
    m = row.m + row.base
    if not at.has_q:
        y = place_of(at.index[i], n_classes)
        q = p
        mass = at.on_value[y]
        t_y = mass + at.off_value[y]
        z_y = z[y]
        linear = 0.0
        if mass != 0:
            linear = mass * float(first(m) - z_y)
        if at.options[1]:
            linear += smoothing_terms(z, n_classes, off, at.options[0], m)
        mass, mass_low = two_sum(mass, at.options[2])
        mass_low += low_at_index(at, y)
    else:
        y = -1
        q = advance(target_p, i * n_classes)
        linear, (mass, mass_low) = probability_terms(
            z, q, n_classes, on, off, at.options[0], m
        )
    batch.rest[r] = row.rest
    share = batch.rest[r] / first(row.e_m)
    batch.others[r] = (first(row.ones) - 1.0) + share
    batch.mass[r] = mass
    batch.linear[r] = linear
    if at.n_gradients:
        out = advance(at.gradient_out, i * n_classes)
        factor = at.scale * weight
        one = widened(spread(1.0, p))
        d, d_low = sum_with_largest(
            one * row.rest, one * row.rest_low, row.ones, row.e_m
        )
        high, low = share_of(
            one * factor, one * mass, one * mass_low, d, d_low, row.e_m
        )
        at_y = high
        if not at.has_q:
            x = spread(z_y, p) - row.base
            e = exp_shifted(x, row.offset, row.lowest)
            at_y = residual(high, low, e, spread(factor * t_y, p))
        of = Slopes(row, spread(factor, p), high, low, y, at_y)
        write_gradient(z, q, at.has_q, n_classes, on, off, at.options, of, out, False)


@inner
def find_weights(batch, at, i, end):
    """Read the weight of each row, and what else is known of lanes without one."""
    n_classes = at.n_classes
    for r in range(lanes(batch.tile)):
        batch.weight[r] = 0.0
        batch.others[r] = 0.0
    for r in range(end - i):
        weight = at.row_weight[i + r] if at.n_weights else 1.0
        if not at.has_q:
            _, weight = class_and_weight(
                at.index[i + r], weight, n_classes, at.options[3]
            )
        batch.weight[r] = weight
        if weight == 0 and at.n_gradients:
            out = advance(at.gradient_out, (i + r) * n_classes)
            fill_row(0.0, n_classes, out)


@inner
def long_rows_chunk(rows, target, begin, end):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    at = pointers_of(rows, target, 1, slots(1))
    p, n_classes = at.logits, at.n_classes
    n = lanes(p)
    near = scratch(p, NEAR)
    is_done = scratch(p, MOST_LANES)
    batch = batch_like(p, at.on_value)
    sums = widened(spread(0.0, p))
    lost = sums
    guess = a_near_logit(advance(p, begin * n_classes))
    step = rows_at_once(n_classes, n) if not at.has_q else n
    for i in range(begin, end, step):
        last = min(i + step, end)
        find_weights(batch, at, i, last)
        store(spread(0.0, p), is_done, 0)
        if not at.has_q:
            guess = add_index_rows(batch, is_done, at, i, last, guess)
        for r in range(last - i):
            if batch.weight[r] != 0 and is_done[r] == 0:
                add_row(batch, r, at, i + r, near)
        sums, lost = add_losses(
            batch,
            sums,
            lost,
            i,
            last,
            at.loss_out,
            at.n_losses,
        )
    return total(joined(sums, lost))


@inner
def long_rows_curvature_chunk(
    logits, mass, row_weight, vector, scale, begin, end, product_out
):
    """Write ``scale * weight * a * p * (v - <p, v>)`` for rows ``begin:end``."""
    n_classes = logits.shape[1]
    p = pointer(logits)
    n = lanes(p)
    near = scratch(p, NEAR)
    one = widened(spread(1.0, p))
    for i in range(begin, end):
        out = advance(pointer(product_out), i * n_classes)
        weight = row_weight[i] if row_weight.size else 1.0
        if weight == 0:
            fill_row(0.0, n_classes, out)
            continue
        z = advance(p, i * n_classes)
        v = advance(pointer(vector), i * n_classes)
        row = read_row(z, n_classes, near)
        d, d_low = sum_with_largest(
            one * row.rest, one * row.rest_low, row.ones, row.e_m
        )
        high, low = share_of(one, one, one * 0.0, d, d_low, row.e_m)
        mean_v = one * 0.0
        lost = mean_v
        for k in range(0, n_classes, n):
            width = min(n, n_classes - k)
            x = load_part(z, k, width, -math.inf) - row.base
            e = exp_shifted(x, row.offset, row.lowest)
            share = residual(high, low, e, spread(0.0, p))
            write(share, out, k, width)
            mean_v, lost = accumulate(share * read(v, k, width), mean_v, lost)
        mean = spread(finite_total(mean_v, lost), p)
        factor = spread(scale * weight * mass[i], p)
        for k in range(0, n_classes, n):
            width = min(n, n_classes - k)
            product = curvature(factor, read(out, k, width), read(v, k, width), mean)
            write(product, out, k, width)

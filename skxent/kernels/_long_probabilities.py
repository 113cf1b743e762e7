"""Rows of probabilities of many classes: one row at a time, along the row.

Conventions are those of :mod:`skxent.kernels._probability_rows`. Planes are made into
rows, a few neighbours at a time, as in :mod:`skxent.kernels._long_planes`: the same
bits in either layout. Pointers ``z``, ``q`` and ``out`` lead to the row itself.
"""

import math

import numpy as np

from skxent.kernels._gathered_rows import clipped_surprise
from skxent.kernels._groups import read, write
from skxent.kernels._jit import inner, inner_with_memory
from skxent.kernels._long_planes import GROUP, read_group, write_group
from skxent.kernels._long_targets import (
    FOUR,
    LINES,
    fill_row,
    finite_total,
    off_values,
    target_values,
)
from skxent.kernels._rules import ratio, weighted
from skxent.kernels._simd import (
    advance,
    first,
    lanes,
    pointer,
    prefetch,
    prefetch_to_write,
    spread,
    widened,
)
from skxent.kernels._targets import class_and_weight
from skxent.kernels._vector import accumulate, two_sum


@inner
def through_row(
    z, q, has_targets, n_classes, on, off, uniform, low, high, factor, has_gradient, out
):
    """Return the loss of a row, and write its gradient if asked for.

    Those of ``off_value`` alone without targets.
    """
    n = lanes(z)
    loss = widened(spread(0.0, z))
    lost = loss
    for begin in range(0, n_classes, FOUR * n):
        four = spread(0.0, z)
        for k in range(begin, min(begin + FOUR * n, n_classes), n):
            width = min(n, n_classes - k)
            prefetch(z, k + LINES * n)
            if has_targets:
                prefetch(q, k + LINES * n)
                t = target_values(q, on, off, uniform, k, width, factor)
            else:
                t = off_values(off, uniform, k, width, factor)
            p = read(z, k, width)
            four = four + weighted(t, clipped_surprise(p, low, high))
            if has_gradient:
                prefetch_to_write(out, k + LINES * n)
                write(ratio(factor * t, p), out, k, width)
        loss, lost = accumulate(four, loss, lost)
    return finite_total(loss, lost)


@inner
def one_row(
    z, q, y, has_targets, n_classes, on, off, uniform, low, high, factor, gradient, out
):
    """Return the loss of a row; write its gradient."""
    of_class = spread(z[y], z)
    slope = spread(factor, z)
    loss = through_row(
        z, q, has_targets, n_classes, on, off, uniform, low, high, slope, gradient, out
    )
    if not has_targets:
        surprise = clipped_surprise(widened(of_class), low, high)
        loss += weighted(on[y], first(surprise))
        if gradient:
            t = spread(factor * (on[y] + off[y]), z)
            out[y] = first(ratio(t, of_class))
    return loss


@inner_with_memory
def long_probabilities_chunk(
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
):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    n_classes, n_columns = probabilities.shape[1], probabilities.shape[2]
    on, off = pointer(on_value), pointer(off_value)
    rows = np.empty((GROUP * (n_columns != 1), n_classes), dtype=probabilities.dtype)
    targets = np.empty_like(rows)
    sums = lost = 0.0
    i = begin
    while i < end:
        o, j = divmod(i, n_columns)
        width = min(GROUP, end - i, n_columns - j)
        z = advance(pointer(probabilities), i * n_classes)
        out = advance(pointer(gradient_out), i * n_classes)
        if n_columns != 1:
            read_group(probabilities, o, j, width, rows)
            z = pointer(rows)
            out = z  # a vector is read before it is written
        q = z
        if target.ndim > 1:
            q = advance(pointer(target), i * n_classes)
            if n_columns != 1:
                read_group(target, o, j, width, targets)
                q = pointer(targets)
        for r in range(width):
            weight = row_weight[i + r] if row_weight.size else 1.0
            y = 0
            if target.ndim == 1:
                y, weight = class_and_weight(
                    target[i + r], weight, n_classes, ignore_index
                )
            loss = 0.0
            if weight != 0:
                loss = weight * one_row(
                    advance(z, r * n_classes),
                    advance(q, r * n_classes),
                    y,
                    target.ndim > 1,
                    n_classes,
                    on,
                    off,
                    uniform,
                    low,
                    high,
                    -scale * weight,
                    gradient_out.size > 0,
                    advance(out, r * n_classes),
                )
            elif gradient_out.size:
                fill_row(0.0, n_classes, advance(out, r * n_classes))
            sums, error = two_sum(sums, loss)
            lost += error
            if loss_out.size:
                loss_out[i + r] = loss
        if n_columns != 1 and gradient_out.size:
            write_group(rows, o, j, width, gradient_out)
        i += width
    return sums + lost if math.isfinite(sums) else sums

"""Rows of probabilities of many classes: one row at a time, along the row.

Conventions are those of :mod:`skxent.kernels._probability_rows`, which deals with few
classes, and with class indices without smoothing. Planes are made into rows, a few
neighbours at a time, as in :mod:`skxent.kernels._long_planes`: the same bits in either
layout. Pointers ``z``, ``q`` and ``out`` lead to the row itself.
"""

import math

import numpy as np

from skxent.kernels._groups import read, write
from skxent.kernels._jit import inner
from skxent.kernels._long_planes import GROUP, read_group, write_group
from skxent.kernels._long_rows import (
    FOUR,
    LINES,
    fill_row,
    finite_total,
    off_values,
    target_values,
)
from skxent.kernels._rules import clip, ratio, weighted
from skxent.kernels._simd import (
    advance,
    first,
    lanes,
    narrowed,
    pointer,
    prefetch,
    prefetch_to_write,
    spread,
    widened,
)
from skxent.kernels._vector import accumulate, log, two_sum


@inner
def clipped_surprise(p, low, high):
    """Return ``-log p`` with ``p`` limited to ``[low, high]``; exactly 0 for 1."""
    return 0.0 - log(clip(p, low, high))


@inner
def sum_classes(z, q, has_targets, n_classes, on, off, uniform, low, high):
    """Return the loss of a row; that of ``off_value`` alone without targets."""
    n = lanes(z)
    nothing = spread(0.0, z)
    loss = widened(nothing)
    lost = loss
    for begin in range(0, n_classes, FOUR * n):
        four = nothing
        for k in range(begin, min(begin + FOUR * n, n_classes), n):
            width = min(n, n_classes - k)
            prefetch(z, k + LINES * n)
            if has_targets:
                prefetch(q, k + LINES * n)
                t = target_values(q, on, off, uniform, k, width, nothing)
            else:
                t = off_values(off, uniform, k, width, nothing)
            four = four + weighted(t, clipped_surprise(read(z, k, width), low, high))
        loss, lost = accumulate(four, loss, lost)
    return finite_total(loss, lost)


@inner
def loss_of_class(z, y, n_classes, on, low, high):
    """Return the loss of class ``y`` without smoothing, nan if there is none."""
    if y < 0 or y >= n_classes:
        return math.nan
    share = widened(spread(z[y], z))
    return weighted(on[y], first(clipped_surprise(share, low, high)))


@inner
def long_probabilities_loss_chunk(
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
):
    """Return the sum of the losses of rows ``begin:end``; write them if asked for."""
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
        if n_columns != 1:
            read_group(probabilities, o, j, width, rows)
            z = pointer(rows)
        q = z
        if target.ndim > 1:
            q = advance(pointer(target), i * n_classes)
            if n_columns != 1:
                read_group(target, o, j, width, targets)
                q = pointer(targets)
        for r in range(width):
            weight = row_weight[i + r] if row_weight.size else 1.0
            loss = sum_classes(
                advance(z, r * n_classes),
                advance(q, r * n_classes),
                target.ndim > 1,
                n_classes,
                on,
                off,
                uniform,
                low,
                high,
            )
            if target.ndim == 1:
                row = advance(z, r * n_classes)
                loss += loss_of_class(row, target[i + r], n_classes, on, low, high)
            loss = weighted(weight, loss)
            sums, error = two_sum(sums, loss)
            lost += error
            if loss_out.size:
                loss_out[i + r] = loss
        i += width
    return sums + lost if math.isfinite(sums) else sums


@inner
def write_slopes(z, q, has_targets, n_classes, on, off, uniform, factor, out):
    """Write the gradient of a row; that of ``off_value`` alone without targets."""
    n = lanes(z)
    for k in range(0, n_classes, n):
        width = min(n, n_classes - k)
        prefetch(z, k + LINES * n)
        prefetch_to_write(out, k + LINES * n)
        if has_targets:
            prefetch(q, k + LINES * n)
            t = target_values(q, on, off, uniform, k, width, factor)
        else:
            t = off_values(off, uniform, k, width, factor)
        write(ratio(factor * t, read(z, k, width)), out, k, width)


@inner
def write_gradient(z, q, y, has_targets, n_classes, on, off, uniform, factor, out):
    """Write the gradient of a row of weight not 0; nan for a class that is none."""
    if has_targets:
        write_slopes(z, q, True, n_classes, on, off, uniform, factor, out)
    elif y < 0 or y >= n_classes:
        fill_row(math.nan, n_classes, out)
    else:
        of_class = spread(z[y], z)
        write_slopes(z, q, False, n_classes, on, off, uniform, factor, out)
        t = narrowed(widened(factor) * (on[y] + off[y]), factor)
        out[y] = first(ratio(t, of_class))


@inner
def long_probabilities_grad_chunk(
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
):
    """Write ``-t / p`` of rows ``begin:end``."""
    n_classes, n_columns = probabilities.shape[1], probabilities.shape[2]
    on, off = pointer(on_value), pointer(off_value)
    rows = np.empty((GROUP * (n_columns != 1), n_classes), dtype=probabilities.dtype)
    targets = np.empty_like(rows)
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
            row_out = advance(out, r * n_classes)
            if weight == 0:
                fill_row(0.0, n_classes, row_out)
                continue
            write_gradient(
                advance(z, r * n_classes),
                advance(q, r * n_classes),
                target[i + r] if target.ndim == 1 else 0,
                target.ndim > 1,
                n_classes,
                on,
                off,
                uniform,
                spread(-scale * weight, z),
                row_out,
            )
        if n_columns != 1:
            write_group(rows, o, j, width, gradient_out)
        i += width

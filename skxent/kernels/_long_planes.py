"""Softmax rows of many classes in planes: a few neighbours at a time, made into rows.

Neighbours share their cache lines, so ``GROUP`` of them are copied into rows, which
:mod:`skxent.kernels._long_rows` computes, and their results are copied back: the same
bits in either layout, and no transposed copy of the whole.

Conventions are those of :mod:`skxent.kernels._cpu`.
"""

import math

import numpy as np

from skxent.kernels._jit import inner, inner_with_memory
from skxent.kernels._long_rows import long_rows_chunk, long_rows_curvature_chunk
from skxent.kernels._rows import Rows
from skxent.kernels._vector import two_sum

GROUP = 16  # float32 numbers in a cache line of 64 bytes


@inner
def read_group(planes, o, j, width, rows):
    """Read columns ``j`` to ``j + width`` of plane ``o`` as rows."""
    for k in range(planes.shape[1]):
        for r in range(width):
            rows[r, k] = planes[o, k, j + r]


@inner
def write_group(rows, o, j, width, planes_out):
    """Write rows as columns ``j`` to ``j + width`` of plane ``o``."""
    for k in range(planes_out.shape[1]):
        for r in range(width):
            planes_out[o, k, j + r] = rows[r, k]


@inner_with_memory
def long_planes_chunk(rows, target, begin, end):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    n_classes, n_columns = rows.logits.shape[1], rows.logits.shape[2]
    block = np.empty((GROUP, n_classes), dtype=rows.logits.dtype)
    q = target if target.ndim == 1 else np.empty(block.shape, dtype=rows.logits.dtype)
    n_gradients = GROUP if rows.gradient_out.size else 0
    gradient = block[:n_gradients]  # a row is read before it is written
    sums = lost = 0.0
    i = begin
    while i < end:
        o, j = divmod(i, n_columns)
        width = min(GROUP, end - i, n_columns - j)
        read_group(rows.logits, o, j, width, block)
        if target.ndim == 1:
            q = target[i : i + width]
        else:
            read_group(target, o, j, width, q)
        part = Rows(
            block,
            rows.on_value,
            rows.off_value,
            rows.on_low,
            rows.row_weight[i : i + width],
            rows.options,
            rows.scale,
            rows.loss_out[i : i + width],
            gradient,
        )
        sums, error = two_sum(sums, long_rows_chunk(part, q, 0, width))
        lost += error
        if rows.gradient_out.size:
            write_group(gradient, o, j, width, rows.gradient_out)
        i += width
    return sums + lost if math.isfinite(sums) else sums


@inner_with_memory
def long_planes_curvature_chunk(
    logits, mass, row_weight, vector, scale, begin, end, product_out
):
    """Write the product of the Hessian with ``vector`` for rows ``begin:end``."""
    n_classes, n_columns = logits.shape[1], logits.shape[2]
    rows = np.empty((GROUP, n_classes), dtype=logits.dtype)
    v = np.empty((GROUP, n_classes), dtype=logits.dtype)
    i = begin
    while i < end:
        o, j = divmod(i, n_columns)
        width = min(GROUP, end - i, n_columns - j)
        read_group(logits, o, j, width, rows)
        read_group(vector, o, j, width, v)
        long_rows_curvature_chunk(
            rows,
            mass[i : i + width],
            row_weight[i : i + width],
            v,
            scale,
            0,
            width,
            rows,
        )
        write_group(rows, o, j, width, product_out)
        i += width

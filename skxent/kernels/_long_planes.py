"""Softmax rows of many classes in planes: neighbouring rows together, in place.

Each sum over classes is taken in the order of :mod:`skxent.kernels._long_rows`, so that
an array gives the same bits in either layout: blocks of classes, each added up as a
tree.

Conventions are those of :mod:`skxent.kernels._lanes`. ``block`` and ``other`` are
scratch, (BLOCK, LANES) float64.
"""

import numpy as np
from numba import float64

from skxent.kernels._jit import inner
from skxent.kernels._lanes import (
    LANES,
    LINEAR,
    LOST,
    MASS,
    MAX,
    N_VECTORS,
    REST,
    SPARE,
    add_losses,
    curvature_product,
    find_max,
    gradient,
    index_terms,
    read_weights,
)
from skxent.kernels._long_rows import BLOCK
from skxent.kernels._rules import blend, weighted
from skxent.kernels._targets import any_nonzero
from skxent.kernels._vector import (
    EXP_SCALE,
    is_narrow,
    joined,
    scaled_exp_difference,
    two_sum,
)


@inner
def add_tree_sums(block, depth, width, sums, lost):
    """Add the sums of the first entries of each column; overwrites the block."""
    for b in range(depth, BLOCK):
        for r in range(width):
            block[b, r] = 0.0
    half = BLOCK // 2
    while half > 0:
        for b in range(half):
            for r in range(width):
                block[b, r] += block[b + half, r]
        half //= 2
    for r in range(width):
        sums[r], error = two_sum(sums[r], block[0, r])
        lost[r] += error


@inner
def add_terms(z, target, o, j, on_value, off_value, width, lanes, block, other):
    """Add to mass and linear part: all of it, or smoothing alone for class indices."""
    m, mass, linear = lanes[MAX], lanes[MASS], lanes[LINEAR]
    lost, mass_lost = lanes[LOST], lanes[SPARE]
    lost[:] = 0.0
    mass_lost[:] = 0.0
    for first in range(0, z.shape[1], BLOCK):
        depth = min(BLOCK, z.shape[1] - first)
        for b in range(depth):
            k = first + b
            on, off = on_value[k], off_value[k]
            for r in range(width):
                t = off
                if target.ndim == 3:
                    t = blend(on, float64(target[o, k, j + r]), off)
                block[b, r] = weighted(t, m[r] - float64(z[o, k, j + r]))
                other[b, r] = t
        add_tree_sums(block, depth, width, linear, lost)
        add_tree_sums(other, depth, width, mass, mass_lost)
    for r in range(width):
        linear[r] = joined(linear[r], lost[r])
        mass[r] = joined(mass[r], mass_lost[r])


@inner
def sum_exponentials(z, o, j, width, lanes, block, exp_out):
    """Write ``d - 1`` of each row; exponentials times ``EXP_SCALE`` if asked for.

    Ones are counted apart from the rest, which may be tiny beside them.
    """
    m, rest, lost, ones = lanes[MAX], lanes[REST], lanes[LOST], lanes[SPARE]
    narrow = is_narrow(z)
    rest[:] = 0.0
    lost[:] = 0.0
    ones[:] = -1.0
    for first in range(0, z.shape[1], BLOCK):
        depth = min(BLOCK, z.shape[1] - first)
        for b in range(depth):
            k = first + b
            for r in range(width):
                e = scaled_exp_difference(float64(z[o, k, j + r]), m[r], narrow)
                ones[r] += 1.0 if e == EXP_SCALE else 0.0
                block[b, r] = e
            if exp_out.size:
                for r in range(width):
                    exp_out[o, k, j + r] = block[b, r]
            for r in range(width):
                block[b, r] = 0.0 if block[b, r] == EXP_SCALE else block[b, r]
        add_tree_sums(block, depth, width, rest, lost)
    for r in range(width):
        rest[r] = (rest[r] + lost[r]) / EXP_SCALE + ones[r]


@inner
def find_mean(e, v, o, j, width, lanes, block):
    """Write ``<p, v>`` of each row."""
    rest, lost, mean_v = lanes[REST], lanes[LOST], lanes[SPARE]
    lost[:] = 0.0
    mean_v[:] = 0.0
    for first in range(0, e.shape[1], BLOCK):
        depth = min(BLOCK, e.shape[1] - first)
        for b in range(depth):
            k = first + b
            for r in range(width):
                p = float64(e[o, k, j + r]) / (EXP_SCALE * (1.0 + rest[r]))
                block[b, r] = p * float64(v[o, k, j + r])
        add_tree_sums(block, depth, width, mean_v, lost)
    for r in range(width):
        mean_v[r] = joined(mean_v[r], lost[r])


@inner
def long_planes_chunk(
    logits,
    target,
    on_value,
    off_value,
    row_weight,
    scale,
    begin,
    end,
    row_loss_out,
    gradient_out,
):
    """Write the losses of rows ``begin:end``, and their gradient if asked for."""
    smooth = any_nonzero(off_value)
    lanes = np.empty((N_VECTORS, LANES))
    block = np.empty((BLOCK, LANES))
    other = np.empty((BLOCK, LANES))
    i = begin
    while i < end:
        o, j = divmod(i, logits.shape[2])
        width = min(LANES, end - i, logits.shape[2] - j)
        read_weights(row_weight, i, width, lanes)
        find_max(logits, o, j, width, lanes)
        if target.ndim == 1:
            index_terms(logits, target, o, j, on_value, i, width, lanes)
        else:
            lanes[MASS, :] = 0.0
            lanes[LINEAR, :] = 0.0
        if target.ndim == 3 or smooth:
            add_terms(
                logits, target, o, j, on_value, off_value, width, lanes, block, other
            )
        sum_exponentials(logits, o, j, width, lanes, block, gradient_out)
        add_losses(0.0, 0.0, i, width, lanes, row_loss_out)
        if gradient_out.size:
            gradient(
                gradient_out,
                target,
                o,
                j,
                on_value,
                off_value,
                i,
                width,
                scale,
                lanes,
            )
        i += width


@inner
def long_planes_curvature_chunk(
    logits, mass, row_weight, vector, scale, begin, end, product_out
):
    """Write the product of the Hessian with ``vector`` for rows ``begin:end``."""
    lanes = np.empty((N_VECTORS, LANES))
    block = np.empty((BLOCK, LANES))
    i = begin
    while i < end:
        o, j = divmod(i, logits.shape[2])
        width = min(LANES, end - i, logits.shape[2] - j)
        read_weights(row_weight, i, width, lanes)
        find_max(logits, o, j, width, lanes)
        sum_exponentials(logits, o, j, width, lanes, block, product_out)
        find_mean(product_out, vector, o, j, width, lanes, block)
        curvature_product(product_out, vector, mass, o, j, i, width, scale, lanes)
        i += width

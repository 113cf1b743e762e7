"""Softmax rows of few classes: copied into a tile, one row to a vector lane.

A loop over ten classes is too short for vector instructions and is left with their
overhead. A tile ``(K, LANES)`` float64 holds entry ``k`` of many rows side by side:
each inner loop runs over ``width`` rows, whatever the number of classes, and no sum
crosses lanes, whose order a compiler could change. Measured on one core, the loss of
rows of 10 classes in float64: 3.4 ns for an element, where a row at a time took 22.

Conventions are those of :mod:`skxent.kernels._cpu`, with logits, probabilities and
results in planes ``(outer, K, inner)``; ``inner`` is 1 where the classes of a row lie
side by side. A tile holds rows ``i`` to ``i + width``. ``lanes`` (N_VECTORS, LANES)
float64 keeps what is known of each:

- ``WEIGHT`` of the row, 0 if it is ignored; ``MAX``, its largest logit ``m``;
- ``MASS``, ``sum_k t_k``; ``LINEAR``, ``sum_k t_k (m - z_k)``;
- ``REST``, ``d - 1``: nan if the row has no softmax.

``logits`` beside a tile tells the dtype alone. Ignored rows are computed like all
others, for the class 0, and left out at the end.
"""

import math

import numpy as np

from skxent.kernels._jit import inner
from skxent.kernels._rules import blend, curvature, residual, weighted
from skxent.kernels._targets import any_nonzero
from skxent.kernels._vector import (
    EXP_SCALE,
    FLOAT32,
    accumulate,
    joined,
    log1p_nonnegative,
    scaled_exp_difference,
    two_sum,
)

# A tile of this many classes takes 32 KiB, what the first cache holds.
MOST_CLASSES = 64
LANES = 64
WEIGHT, MAX, MASS, LINEAR, REST, SPARE, LOST, N_VECTORS = range(8)


@inner
def read_tile(planes, i, width, tile):
    """Read rows ``i`` to ``i + width`` as columns of the tile."""
    n_classes, n_columns = planes.shape[1], planes.shape[2]
    if n_columns == 1:
        for r in range(width):
            for k in range(n_classes):
                tile[k, r] = planes[i + r, k, 0]
    else:
        first = 0
        while first < width:
            o, j = divmod(i + first, n_columns)
            run = min(width - first, n_columns - j)
            for k in range(n_classes):
                for r in range(run):
                    tile[k, first + r] = planes[o, k, j + r]
            first += run


@inner
def write_tile(tile, i, width, planes_out):
    """Write columns of the tile as rows ``i`` to ``i + width``."""
    n_classes, n_columns = planes_out.shape[1], planes_out.shape[2]
    if n_columns == 1:
        for r in range(width):
            for k in range(n_classes):
                planes_out[i + r, k, 0] = tile[k, r]
    else:
        first = 0
        while first < width:
            o, j = divmod(i + first, n_columns)
            run = min(width - first, n_columns - j)
            for k in range(n_classes):
                for r in range(run):
                    planes_out[o, k, j + r] = tile[k, first + r]
            first += run


@inner
def read_weights(row_weight, i, width, lanes):
    """Write the weight of each row."""
    weight = lanes[WEIGHT]
    for r in range(width):
        weight[r] = row_weight[i + r] if row_weight.size else 1.0


@inner
def find_max(tile, width, lanes):
    """Write the largest logit of each row; nan is passed over."""
    m = lanes[MAX]
    for r in range(width):
        m[r] = -math.inf
    for k in range(tile.shape[0]):
        for r in range(width):
            x = tile[k, r]
            m[r] = x if x > m[r] else m[r]


@inner
def target_class(target, i, r, lanes):
    """Return the class of a row, 0 if it is ignored."""
    return target[i + r] if lanes[WEIGHT, r] != 0 else 0


@inner
def index_terms(tile, target, on_value, i, width, lanes):
    """Write mass and linear part of the loss, but for the smoothing."""
    m, mass, linear = lanes[MAX], lanes[MASS], lanes[LINEAR]
    for r in range(width):
        y = target_class(target, i, r, lanes)
        mass[r] = on_value[y]
        linear[r] = weighted(on_value[y], m[r] - tile[y, r])


@inner
def add_smoothing(tile, off_value, width, logits, lanes):
    """Add the smoothing of class indices to mass and linear part."""
    narrow = logits.dtype == FLOAT32
    m, mass, linear = lanes[MAX], lanes[MASS], lanes[LINEAR]
    lost, mass_lost = lanes[LOST], lanes[SPARE]
    lost[:] = 0.0
    mass_lost[:] = 0.0
    for k in range(tile.shape[0]):
        t = off_value[k]
        for r in range(width):
            mass[r], mass_lost[r] = accumulate(mass[r], mass_lost[r], t, narrow)
            term = weighted(t, m[r] - tile[k, r])
            linear[r], lost[r] = accumulate(linear[r], lost[r], term, narrow)
    for r in range(width):
        mass[r] = joined(mass[r], mass_lost[r])
        linear[r] = joined(linear[r], lost[r])


@inner
def probability_terms(tile, target_tile, on_value, off_value, width, logits, lanes):
    """Write mass and linear part of the loss for probabilities."""
    narrow = logits.dtype == FLOAT32
    m, mass, linear = lanes[MAX], lanes[MASS], lanes[LINEAR]
    lost, mass_lost = lanes[LOST], lanes[SPARE]
    mass[:] = 0.0
    linear[:] = 0.0
    lost[:] = 0.0
    mass_lost[:] = 0.0
    for k in range(tile.shape[0]):
        on, off = on_value[k], off_value[k]
        for r in range(width):
            t = blend(on, target_tile[k, r], off)
            mass[r], mass_lost[r] = accumulate(mass[r], mass_lost[r], t, narrow)
            term = weighted(t, m[r] - tile[k, r])
            linear[r], lost[r] = accumulate(linear[r], lost[r], term, narrow)
    for r in range(width):
        mass[r] = joined(mass[r], mass_lost[r])
        linear[r] = joined(linear[r], lost[r])


@inner
def exponentiate(tile, width, logits, lanes):
    """Turn logits into ``EXP_SCALE * exp(z - m)``; write ``d - 1`` of each row.

    Ones are counted apart from the rest, which may be tiny beside them.
    """
    narrow = logits.dtype == FLOAT32
    m, rest, lost, ones = lanes[MAX], lanes[REST], lanes[LOST], lanes[SPARE]
    rest[:] = 0.0
    lost[:] = 0.0
    ones[:] = -1.0
    for k in range(tile.shape[0]):
        for r in range(width):
            e = scaled_exp_difference(tile[k, r], m[r], narrow)
            tile[k, r] = e
            ones[r] += 1.0 if e == EXP_SCALE else 0.0
            term = 0.0 if e == EXP_SCALE else e
            rest[r], lost[r] = accumulate(rest[r], lost[r], term, narrow)
    for r in range(width):
        rest[r] = (rest[r] + lost[r]) / EXP_SCALE + ones[r]


@inner
def add_losses(total, lost, i, width, lanes, loss_out):
    """Return the total plus the losses, and what rounding took from it.

    Write each loss if asked for.
    """
    weight, mass, linear = lanes[WEIGHT], lanes[MASS], lanes[LINEAR]
    rest = lanes[REST]
    for r in range(width):
        loss = linear[r] + mass[r] * log1p_nonnegative(rest[r])
        linear[r] = weighted(weight[r], loss)
    for r in range(width):
        total, error = two_sum(total, linear[r])
        lost += error
        if loss_out.size:
            loss_out[i + r] = linear[r]
    return total, lost


@inner
def gradient(tile, target, on_value, off_value, i, width, scale, lanes):
    """Turn exponentials into the gradient. ``target`` is (n,), or a tile."""
    weight, mass, at_target = lanes[WEIGHT], lanes[MASS], lanes[SPARE]
    rest = lanes[REST]
    for r in range(width):
        mass[r] /= EXP_SCALE * (1.0 + rest[r])
        weight[r] = weighted(weight[r], scale)
    if target.ndim == 1:
        for r in range(width):
            y = target_class(target, i, r, lanes)
            t = blend(on_value[y], 1.0, off_value[y])
            slope = residual(mass[r], tile[y, r], t)
            at_target[r] = weighted(weight[r], slope)
        for k in range(tile.shape[0]):
            off = off_value[k]
            for r in range(width):
                slope = residual(mass[r], tile[k, r], off)
                tile[k, r] = weighted(weight[r], slope)
        for r in range(width):
            tile[target_class(target, i, r, lanes), r] = at_target[r]
    else:
        for k in range(tile.shape[0]):
            on, off = on_value[k], off_value[k]
            for r in range(width):
                t = blend(on, target[k, r], off)
                slope = residual(mass[r], tile[k, r], t)
                tile[k, r] = weighted(weight[r], slope)


@inner
def short_rows_chunk(
    logits,
    target,
    on_value,
    off_value,
    row_weight,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    smooth = any_nonzero(off_value)
    lanes = np.empty((N_VECTORS, LANES))
    tile = np.empty((logits.shape[1], LANES))
    target_tile = target if target.ndim == 1 else np.empty(tile.shape)
    total = lost = 0.0
    for i in range(begin, end, LANES):
        width = min(LANES, end - i)
        read_weights(row_weight, i, width, lanes)
        read_tile(logits, i, width, tile)
        find_max(tile, width, lanes)
        if target.ndim == 1:
            index_terms(tile, target, on_value, i, width, lanes)
            if smooth:
                add_smoothing(tile, off_value, width, logits, lanes)
        else:
            read_tile(target, i, width, target_tile)
            probability_terms(
                tile, target_tile, on_value, off_value, width, logits, lanes
            )
        exponentiate(tile, width, logits, lanes)
        total, lost = add_losses(total, lost, i, width, lanes, loss_out)
        if gradient_out.size:
            gradient(tile, target_tile, on_value, off_value, i, width, scale, lanes)
            write_tile(tile, i, width, gradient_out)
    return joined(total, lost)


@inner
def find_mean(tile, vector_tile, width, logits, lanes):
    """Turn exponentials into ``p``; write ``<p, v>`` of each row."""
    narrow = logits.dtype == FLOAT32
    rest, lost, mean_v = lanes[REST], lanes[LOST], lanes[SPARE]
    lost[:] = 0.0
    mean_v[:] = 0.0
    for k in range(tile.shape[0]):
        for r in range(width):
            p = tile[k, r] / (EXP_SCALE * (1.0 + rest[r]))
            tile[k, r] = p
            term = p * vector_tile[k, r]
            mean_v[r], lost[r] = accumulate(mean_v[r], lost[r], term, narrow)
    for r in range(width):
        mean_v[r] = joined(mean_v[r], lost[r])


@inner
def curvature_product(tile, vector_tile, mass, i, width, scale, lanes):
    """Turn ``p`` into ``scale * weight * a * p * (v - <p, v>)``."""
    weight, mean_v = lanes[WEIGHT], lanes[SPARE]
    for k in range(tile.shape[0]):
        for r in range(width):
            factor = scale * weight[r] * mass[i + r]
            product = curvature(factor, tile[k, r], vector_tile[k, r], mean_v[r])
            tile[k, r] = 0.0 if weight[r] == 0 else product


@inner
def short_rows_curvature_chunk(
    logits, mass, row_weight, vector, scale, begin, end, product_out
):
    """Write the product of the Hessian with ``vector`` for rows ``begin:end``."""
    lanes = np.empty((N_VECTORS, LANES))
    tile = np.empty((logits.shape[1], LANES))
    vector_tile = np.empty((logits.shape[1], LANES))
    for i in range(begin, end, LANES):
        width = min(LANES, end - i)
        read_weights(row_weight, i, width, lanes)
        read_tile(logits, i, width, tile)
        read_tile(vector, i, width, vector_tile)
        find_max(tile, width, lanes)
        exponentiate(tile, width, logits, lanes)
        find_mean(tile, vector_tile, width, logits, lanes)
        curvature_product(tile, vector_tile, mass, i, width, scale, lanes)
        write_tile(tile, i, width, product_out)

"""Softmax rows of few classes: copied into a tile, one row to a vector lane.

A loop over ten classes is too short for vector instructions and is left with their
overhead. A tile turns it into loops over rows (:mod:`skxent.kernels._lanes`). Measured
on one core, the loss of 100000 x 10 in float64: 5 ns for an element, where a row at a
time took 22.

Conventions are those of :mod:`skxent.kernels._cpu`, with logits, probabilities and
results in planes ``(outer, K, inner)``; ``inner`` is 1 where the classes of a row lie
side by side. A tile is ``(1, K, LANES)`` float64.
"""

import numpy as np

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
from skxent.kernels._rules import blend, weighted
from skxent.kernels._targets import any_nonzero
from skxent.kernels._vector import (
    EXP_SCALE,
    accumulate,
    is_narrow,
    joined,
    scaled_exp_difference,
)

# A tile of this many classes takes 32 KiB, what the first cache holds.
MOST_CLASSES = 64


@inner
def read_tile(planes, i, width, tile):
    """Read rows ``i`` to ``i + width`` as columns of the tile."""
    n_classes, n_columns = planes.shape[1], planes.shape[2]
    if n_columns == 1:
        for r in range(width):
            for k in range(n_classes):
                tile[0, k, r] = planes[i + r, k, 0]
    else:
        first = 0
        while first < width:
            o, j = divmod(i + first, n_columns)
            run = min(width - first, n_columns - j)
            for k in range(n_classes):
                for r in range(run):
                    tile[0, k, first + r] = planes[o, k, j + r]
            first += run


@inner
def write_tile(tile, i, width, planes_out):
    """Write columns of the tile as rows ``i`` to ``i + width``."""
    n_classes, n_columns = planes_out.shape[1], planes_out.shape[2]
    if n_columns == 1:
        for r in range(width):
            for k in range(n_classes):
                planes_out[i + r, k, 0] = tile[0, k, r]
    else:
        first = 0
        while first < width:
            o, j = divmod(i + first, n_columns)
            run = min(width - first, n_columns - j)
            for k in range(n_classes):
                for r in range(run):
                    planes_out[o, k, j + r] = tile[0, k, first + r]
            first += run


@inner
def add_smoothing(tile, off_value, width, narrow, lanes):
    """Add the smoothing of class indices to mass and linear part."""
    m, mass, linear = lanes[MAX], lanes[MASS], lanes[LINEAR]
    lost, mass_lost = lanes[LOST], lanes[SPARE]
    lost[:] = 0.0
    mass_lost[:] = 0.0
    for k in range(tile.shape[1]):
        t = off_value[k]
        for r in range(width):
            mass[r], mass_lost[r] = accumulate(mass[r], mass_lost[r], t, narrow)
            term = weighted(t, m[r] - tile[0, k, r])
            linear[r], lost[r] = accumulate(linear[r], lost[r], term, narrow)
    for r in range(width):
        mass[r] = joined(mass[r], mass_lost[r])
        linear[r] = joined(linear[r], lost[r])


@inner
def probability_terms(tile, target_tile, on_value, off_value, width, narrow, lanes):
    """Write mass and linear part of the loss for probabilities."""
    m, mass, linear = lanes[MAX], lanes[MASS], lanes[LINEAR]
    lost, mass_lost = lanes[LOST], lanes[SPARE]
    mass[:] = 0.0
    linear[:] = 0.0
    lost[:] = 0.0
    mass_lost[:] = 0.0
    for k in range(tile.shape[1]):
        on, off = on_value[k], off_value[k]
        for r in range(width):
            t = blend(on, target_tile[0, k, r], off)
            mass[r], mass_lost[r] = accumulate(mass[r], mass_lost[r], t, narrow)
            term = weighted(t, m[r] - tile[0, k, r])
            linear[r], lost[r] = accumulate(linear[r], lost[r], term, narrow)
    for r in range(width):
        mass[r] = joined(mass[r], mass_lost[r])
        linear[r] = joined(linear[r], lost[r])


@inner
def exponentiate(tile, width, narrow, lanes):
    """Turn logits into ``EXP_SCALE * exp(z - m)``; write ``d - 1`` of each row.

    Ones are counted apart from the rest, which may be tiny beside them.
    """
    m, rest, lost, ones = lanes[MAX], lanes[REST], lanes[LOST], lanes[SPARE]
    rest[:] = 0.0
    lost[:] = 0.0
    ones[:] = -1.0
    for k in range(tile.shape[1]):
        for r in range(width):
            e = scaled_exp_difference(tile[0, k, r], m[r], narrow)
            tile[0, k, r] = e
            ones[r] += 1.0 if e == EXP_SCALE else 0.0
            term = 0.0 if e == EXP_SCALE else e
            rest[r], lost[r] = accumulate(rest[r], lost[r], term, narrow)
    for r in range(width):
        rest[r] = (rest[r] + lost[r]) / EXP_SCALE + ones[r]


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
    narrow = is_narrow(logits)
    lanes = np.empty((N_VECTORS, LANES))
    tile = np.empty((1, logits.shape[1], LANES))
    target_tile = target if target.ndim == 1 else np.empty(tile.shape)
    total = lost = 0.0
    for i in range(begin, end, LANES):
        width = min(LANES, end - i)
        read_weights(row_weight, i, width, lanes)
        read_tile(logits, i, width, tile)
        find_max(tile, 0, 0, width, lanes)
        if target.ndim == 1:
            index_terms(tile, target, 0, 0, on_value, i, width, lanes)
            if smooth:
                add_smoothing(tile, off_value, width, narrow, lanes)
        else:
            read_tile(target, i, width, target_tile)
            probability_terms(
                tile, target_tile, on_value, off_value, width, narrow, lanes
            )
        exponentiate(tile, width, narrow, lanes)
        total, lost = add_losses(total, lost, i, width, lanes, loss_out)
        if gradient_out.size:
            gradient(
                tile, target_tile, 0, 0, on_value, off_value, i, width, scale, lanes
            )
            write_tile(tile, i, width, gradient_out)
    return joined(total, lost)


@inner
def find_mean(tile, vector_tile, width, narrow, lanes):
    """Write ``<p, v>`` of each row."""
    rest, lost, mean_v = lanes[REST], lanes[LOST], lanes[SPARE]
    lost[:] = 0.0
    mean_v[:] = 0.0
    for k in range(tile.shape[1]):
        for r in range(width):
            p = tile[0, k, r] / (EXP_SCALE * (1.0 + rest[r]))
            term = p * vector_tile[0, k, r]
            mean_v[r], lost[r] = accumulate(mean_v[r], lost[r], term, narrow)
    for r in range(width):
        mean_v[r] = joined(mean_v[r], lost[r])


@inner
def short_rows_curvature_chunk(
    logits, mass, row_weight, vector, scale, begin, end, product_out
):
    """Write the product of the Hessian with ``vector`` for rows ``begin:end``."""
    narrow = is_narrow(logits)
    lanes = np.empty((N_VECTORS, LANES))
    tile = np.empty((1, logits.shape[1], LANES))
    vector_tile = np.empty((1, logits.shape[1], LANES))
    for i in range(begin, end, LANES):
        width = min(LANES, end - i)
        read_weights(row_weight, i, width, lanes)
        read_tile(logits, i, width, tile)
        read_tile(vector, i, width, vector_tile)
        find_max(tile, 0, 0, width, lanes)
        exponentiate(tile, width, narrow, lanes)
        find_mean(tile, vector_tile, width, narrow, lanes)
        curvature_product(tile, vector_tile, mass, 0, 0, i, width, scale, lanes)
        write_tile(tile, i, width, product_out)

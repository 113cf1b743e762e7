"""Softmax rows side by side, one to a vector lane.

An array of planes ``(outer, K, inner)`` holds entry ``k`` of neighbouring rows side by
side, as images whose channels come first do. Each inner loop here runs over ``width``
neighbouring rows, whatever the number of classes, and no sum crosses lanes, whose order
a compiler could change.

Rows of few classes are copied into a tile, a plane of ``LANES`` rows
(:mod:`skxent.kernels._short_rows`); planes of many classes are read in place
(:mod:`skxent.kernels._long_planes`).

Conventions are those of :mod:`skxent.kernels._cpu`. The rows are columns ``j`` to
``j + width`` of plane ``o`` of ``z``, the logits, of ``e``, their exponentials, of
target probabilities and of the vector ``v``. For all that has one entry per row they
are rows ``i`` to ``i + width``. ``lanes`` (N_VECTORS, LANES) float64 keeps what is
known of each row:

- ``WEIGHT`` of the row, 0 if it is ignored; ``MAX``, its largest logit ``m``;
- ``MASS``, ``sum_k t_k``; ``LINEAR``, ``sum_k t_k (m - z_k)``;
- ``REST``, ``d - 1``: nan if the row has no softmax. ``e`` stands for exponentials
  times ``EXP_SCALE``.

Ignored rows are computed like all others, for the class 0, and left out at the end.
"""

import math

from numba import float64

from skxent.kernels._jit import inner
from skxent.kernels._rules import blend, curvature, residual, weighted
from skxent.kernels._vector import EXP_SCALE, log1p_nonnegative, two_sum

LANES = 64
WEIGHT, MAX, MASS, LINEAR, REST, SPARE, LOST, N_VECTORS = range(8)


@inner
def read_weights(row_weight, i, width, lanes):
    """Write the weight of each row."""
    weight = lanes[WEIGHT]
    for r in range(width):
        weight[r] = row_weight[i + r] if row_weight.size else 1.0


@inner
def find_max(z, o, j, width, lanes):
    """Write the largest logit of each row; nan is passed over."""
    m = lanes[MAX]
    for r in range(width):
        m[r] = -math.inf
    for k in range(z.shape[1]):
        for r in range(width):
            x = float64(z[o, k, j + r])
            m[r] = x if x > m[r] else m[r]


@inner
def target_class(target, i, r, lanes):
    """Return the class of a row, 0 if it is ignored."""
    return target[i + r] if lanes[WEIGHT, r] != 0 else 0


@inner
def index_terms(z, target, o, j, on_value, i, width, lanes):
    """Write mass and linear part of the loss, but for the smoothing."""
    m, mass, linear = lanes[MAX], lanes[MASS], lanes[LINEAR]
    for r in range(width):
        y = target_class(target, i, r, lanes)
        mass[r] = on_value[y]
        linear[r] = weighted(on_value[y], m[r] - float64(z[o, y, j + r]))


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
def gradient(e, target, o, j, on_value, off_value, i, width, scale, lanes):
    """Turn exponentials into the gradient."""
    weight, mass, at_target = lanes[WEIGHT], lanes[MASS], lanes[SPARE]
    rest = lanes[REST]
    for r in range(width):
        mass[r] /= EXP_SCALE * (1.0 + rest[r])
        weight[r] = weighted(weight[r], scale)
    if target.ndim == 1:
        for r in range(width):
            y = target_class(target, i, r, lanes)
            t = blend(on_value[y], 1.0, off_value[y])
            slope = residual(mass[r], float64(e[o, y, j + r]), t)
            at_target[r] = weighted(weight[r], slope)
        for k in range(e.shape[1]):
            off = off_value[k]
            for r in range(width):
                slope = residual(mass[r], float64(e[o, k, j + r]), off)
                e[o, k, j + r] = weighted(weight[r], slope)
        for r in range(width):
            e[o, target_class(target, i, r, lanes), j + r] = at_target[r]
    else:
        for k in range(e.shape[1]):
            on, off = on_value[k], off_value[k]
            for r in range(width):
                t = blend(on, float64(target[o, k, j + r]), off)
                slope = residual(mass[r], float64(e[o, k, j + r]), t)
                e[o, k, j + r] = weighted(weight[r], slope)


@inner
def curvature_product(e, v, mass, o, j, i, width, scale, lanes):
    """Turn exponentials into ``scale * weight * a * p * (v - <p, v>)``.

    ``<p, v>`` of each row stands in ``SPARE``.
    """
    weight, rest, mean_v = lanes[WEIGHT], lanes[REST], lanes[SPARE]
    for k in range(e.shape[1]):
        for r in range(width):
            p = float64(e[o, k, j + r]) / (EXP_SCALE * (1.0 + rest[r]))
            factor = scale * weight[r] * mass[i + r]
            product = curvature(factor, p, float64(v[o, k, j + r]), mean_v[r])
            e[o, k, j + r] = 0.0 if weight[r] == 0 else product

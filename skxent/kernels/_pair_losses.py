"""The losses of rows of two classes, given what their logits differ by.

Where only the sum of losses is wanted, the logarithms of many rows are one, as in
:mod:`skxent.kernels._sigmoid_sums`. The product of `ROWS` rows is at most 2**128 in a
lane.
"""

from typing import Any, NamedTuple

from skxent.kernels import NO_INDEX
from skxent.kernels._batches import low_at_index
from skxent.kernels._groups import AHEAD, read_weights, read_wide, write
from skxent.kernels._jit import inner
from skxent.kernels._pairs import WIDE_LANES, opposed, read_pairs
from skxent.kernels._rules import blend, sigmoid_loss, weighted
from skxent.kernels._simd import (
    all_lanes,
    any_lane,
    bits,
    lanes,
    load,
    magnitude,
    maximum,
    narrowed,
    prefetch,
    scratch,
    select,
    shortened,
    spread,
    widened,
)
from skxent.kernels._targets import class_and_weight
from skxent.kernels._vector import (
    add_to_total,
    grown,
    is_finite,
    joined,
    log1p,
    log1p_of_fraction,
    two_sum,
)

__all__ = [
    "Masses",
    "add_index_losses",
    "add_probability_losses",
    "blended",
    "is_summed",
    "masses_of",
    "read_classes_and_weights",
    "read_probabilities",
    "sum_by_class",
    "sum_plainly",
    "targets_of_index",
]


@inner
def are_classes(y):
    """Return whether all bits but the lowest are 0."""
    return not any_lane((y & -2) != 0)


@inner
def read_classes_and_weights(at, i, width, like):
    """Return the class of each row and its weight, 0 behind the last row."""
    if at.n_weights:
        for line in range(0, lanes(like), WIDE_LANES):
            prefetch(at.row_weight, i + AHEAD * WIDE_LANES + line)
    weight = read_weights(at.row_weight, at.n_weights, i, width, like)
    y = read_wide(at.index, i, width, like)
    if at.options[3] != NO_INDEX or not are_classes(y):
        y, weight = class_and_weight(y, weight, 2, at.options[3])
    return shortened(y, like), weight


@inner
def plain_terms(pairs, q, i, r, end):
    """Return what the losses of a group come of, and its class indices."""
    x = load(pairs.x, r)
    y = read_wide(q, i + r, min(lanes(x), end - i - r), x)
    return maximum(0.0, opposed(x, shortened(y, x))), load(pairs.e, r), y


@inner
def sum_plainly(pairs, q, i, end):
    """Return the sum of losses in lanes, and whether all is well.

    All indices are classes then, and no two losses overflow as a sum. Two rows are
    joined in the dtype of the logits, whose roundings their exponentials have as well:
    float64 takes twice the vectors.
    """
    n = lanes(pairs.x)
    far = product = widened(spread(0.0, pairs.x))
    seen = bits(far)
    for r in range(0, end - i, 2 * n):
        far_1, e_1, y_1 = plain_terms(pairs, q, i, r, end)
        far_2, e_2, y_2 = plain_terms(pairs, q, i, r + n, end)
        far = far + widened(far_1 + far_2)
        product = grown(product, widened(grown(e_1, e_2)))
        seen = seen | y_1 | y_2
    return far + log1p(product), are_classes(seen) and all_lanes(is_finite(far))


class Masses(NamedTuple):
    """What the targets of class indices are, numbers."""

    in_0: Any  # t_0 of an index 0
    in_1: Any  # t_1 of an index 1
    off_0: Any  # t_0 of an index 1
    off_1: Any  # t_1 of an index 0
    all_0: Any  # t_0 + t_1 of an index 0
    all_1: Any


@inner
def mass_at_index(at, y):
    """Return ``t_y`` of a class index, rounded once."""
    mass, lost = two_sum(at.on_value[y], at.off_value[y])
    return joined(mass, lost + low_at_index(at, y))


@inner
def masses_of(at):
    """Return these."""
    off_0, off_1 = at.off_value[0], at.off_value[1]
    in_0, in_1 = mass_at_index(at, 0), mass_at_index(at, 1)
    return Masses(in_0, in_1, off_0, off_1, in_0 + off_1, in_1 + off_0)


@inner
def targets_of_index(masses, is_one, like):
    """Return ``t_0`` and ``t_1`` of class indices, in the dtype of the logits."""
    t0 = select(is_one, spread(masses.off_0, like), masses.in_0)
    return t0, select(is_one, spread(masses.in_1, like), masses.off_1)


@inner
def less_likely(masses, is_one, x, like):
    """Return the target of the less likely class, which ``|x|`` is multiplied with."""
    t0, t1 = targets_of_index(masses, is_one, like)
    return select(x > 0.0, t0, t1)


@inner
def sum_by_class(pairs, q, masses, uniform, ignore_index, i, end):
    """Do as ``sum_plainly``, with weights of classes, smoothing and ignored rows.

    All is not well either if a mass of 0 meets an infinite loss.
    """
    n = lanes(pairs.x)
    far = product = of_ones = widened(spread(0.0, pairs.x))
    seen = bits(far)
    for r in range(0, end - i, n):
        x, e = load(pairs.x, r), load(pairs.e, r)
        y = read_wide(q, i + r, min(n, end - i - r), x)
        if ignore_index != NO_INDEX:
            is_ignored = y == ignore_index
            x, e = select(is_ignored, 0.0, x), select(is_ignored, 0.0, e)
            y = select(is_ignored, 0, y)
        seen = seen | y
        is_one = y == 1
        far = far + less_likely(masses, is_one, x, far) * widened(magnitude(x))
        e = widened(e)
        if uniform:
            product = grown(product, e)
        else:
            of_ones = select(is_one, grown(of_ones, e), of_ones)
            product = select(is_one, product, grown(product, e))
    logs = masses.all_0 * log1p(product) + masses.all_1 * log1p(of_ones)
    return far + logs, are_classes(seen) and all_lanes(far == far)


@inner
def is_summed(at, masses):
    """Return whether nothing but the sum of losses is wanted, of weights of classes."""
    most = masses.all_0 + masses.all_1
    return not at.n_weights and not at.n_losses and is_finite(most)


@inner
def add_losses(at, loss, weight, sums, lost, i, width, like):
    """Do so for a group, whose losses are there."""
    loss = select(weight == 0.0, 0.0, loss)
    if at.n_losses:
        write(narrowed(loss, like), at.loss_out, i, width)
    return add_to_total(like, loss, sums, lost)


@inner
def add_index_losses(pairs, at, masses, sums, lost, i, end):
    """Return the sums over lanes with the losses of rows; write each if asked."""
    n = lanes(at.logits)
    is_simple = at.options[0] and not at.options[1] and masses.in_0 != 0.0
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        x, e = load(pairs.x, r), load(pairs.e, r)
        y, weight = read_classes_and_weights(at, i + r, width, x)
        log_d = widened(log1p_of_fraction(e))
        if is_simple:
            far = widened(maximum(0.0, opposed(x, y)))
            loss = weight * (masses.in_0 * (far + log_d))
        else:
            is_one = y == 1
            mass = select(is_one, spread(masses.all_1, weight), masses.all_0)
            t = less_likely(masses, is_one, x, weight)
            far = weighted(t, widened(magnitude(x)))
            loss = weight * (far + mass * log_d)
        sums, lost = add_losses(at, loss, weight, sums, lost, i + r, width, x)
    return sums, lost


@inner
def blended(at, q0, q1):
    """Return ``t_0`` and ``t_1``."""
    t0 = blend(spread(at.on_value[0], q0), q0, spread(at.off_value[0], q0))
    return t0, blend(spread(at.on_value[1], q0), q1, spread(at.off_value[1], q0))


@inner
def read_probabilities(at, i, width, pair):
    """Return both of targets that are probabilities."""
    q0, q1 = read_pairs(at.q, at.n_columns, i, width, pair)
    return blended(at, q0, q1)


@inner
def add_probability_losses(pairs, at, sums, lost, i, end):
    """Do as ``add_index_losses`` for targets that are probabilities."""
    pair = scratch(pairs.x, 32)
    n = lanes(pairs.x)
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        x = load(pairs.x, r)
        weight = read_weights(at.row_weight, at.n_weights, i + r, width, x)
        t0, t1 = read_probabilities(at, i + r, width, pair)
        log_d = log1p_of_fraction(load(pairs.e, r))
        loss = weight * widened(sigmoid_loss(t0, t1, x, log_d))
        sums, lost = add_losses(at, loss, weight, sums, lost, i + r, width, x)
    return sums, lost

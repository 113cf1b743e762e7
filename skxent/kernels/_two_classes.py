"""Softmax rows of two classes: the logit ``z_1 - z_0`` of a binary target.

The rules are those of :mod:`skxent.kernels._sigmoid`. Each step is taken for a block of
rows: what the logits differ by, the losses, the gradient.

Conventions are those of :mod:`skxent.kernels._cpu`, with arrays in planes
``(outer, 2, inner)``. A block is read before its gradient is written, which may take
the place of its logits.
"""

from skxent.kernels import NO_INDEX
from skxent.kernels._groups import read_weights, read_wide
from skxent.kernels._jit import inner
from skxent.kernels._pair_losses import (
    add_index_losses,
    add_probability_losses,
    is_summed,
    masses_of,
    read_classes_and_weights,
    read_probabilities,
    sum_by_class,
    sum_plainly,
    targets_of_index,
)
from skxent.kernels._pairs import ROWS, Pairs, find_pairs, opposed, write_slopes
from skxent.kernels._rows import pointers_of
from skxent.kernels._rules import residual
from skxent.kernels._simd import (
    lanes,
    load,
    narrowed,
    scratch,
    select,
    shortened,
    slots,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._vector import add_to_total, divided, joined, two_sum


@inner
def factors_of_rows(at, are_known, mass_0, mass_1, i, width, like):
    """Return the class of each row, its factor of the gradient, and if it is ignored.

    The factor is made of the mass of its class. ``are_known`` says of indices that they
    are classes or ignored, and that rows have no weights.
    """
    if are_known:
        y = read_wide(at.index, i, width, like)
        is_ignored = y == at.options[3]
        y = shortened(y, like)
        factor = select(y == 1, spread(at.scale * mass_1, like), at.scale * mass_0)
        return y, factor, is_ignored
    y, weight = read_classes_and_weights(at, i, width, like)
    mass = select(y == 1, spread(mass_1, weight), mass_0)
    return y, narrowed(at.scale * weight * mass, like), weight == 0.0


@inner
def find_index_slopes(pairs, at, masses, are_known, i, end):
    """Put the gradient for ``z_1`` in the place of ``x``.

    For the class that is not the index's it is ``sigmoid(x)``, seen from there.
    """
    n = lanes(pairs.x)
    for r in range(0, end - i, n):
        x, e = load(pairs.x, r), load(pairs.e, r)
        y, factor, is_ignored = factors_of_rows(
            at, are_known, masses.in_0, masses.in_1, i + r, min(n, end - i - r), x
        )
        slope = factor * (select(opposed(x, y) > 0.0, 1.0, e) / (e + 1.0))
        store(opposed(select(is_ignored, 0.0, slope), y), pairs.x, r)


@inner
def soft_slope(t0, t1, x, e):
    """Return ``a p_1 - t_1``, or ``t_0 - a p_0`` if class 0 is the less likely one.

    So it is right to the last digits of the smaller of the targets.
    """
    one = spread(1.0, e)
    a, a_low = two_sum(t0, t1)
    d, d_low = two_sum(one, e)
    high, low = divided(a, a_low, d, d_low)
    slope = residual(high, low, e, select(x > 0.0, t0, t1))
    return select(x > 0.0, -slope, slope)


@inner
def find_smoothed_slopes(pairs, at, masses, are_known, i, end):
    """Do so for class indices with smoothing."""
    n = lanes(pairs.x)
    for r in range(0, end - i, n):
        x, e = load(pairs.x, r), load(pairs.e, r)
        y, factor, is_ignored = factors_of_rows(
            at, are_known, 1.0, 1.0, i + r, min(n, end - i - r), x
        )
        t0, t1 = targets_of_index(masses, y == 1, x)
        slope = factor * soft_slope(t0, t1, x, e)
        store(select(is_ignored, 0.0, slope), pairs.x, r)


@inner
def find_probability_slopes(pairs, at, i, end):
    """Do so for probabilities."""
    pair = scratch(pairs.x, 32)
    n = lanes(pairs.x)
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        x, e = load(pairs.x, r), load(pairs.e, r)
        weight = read_weights(at.row_weight, at.n_weights, i + r, width, x)
        t0, t1 = read_probabilities(at, i + r, width, pair)
        slope = narrowed(at.scale * weight, x) * soft_slope(t0, t1, x, e)
        store(select(weight == 0.0, 0.0, slope), pairs.x, r)


@inner
def add_block_of_indices(pairs, at, masses, sums, lost, i, end):
    """Return the sums over lanes with the losses of rows ``i:end``.

    And whether all indices are known to be classes or ignored.
    """
    uniform, smooth, _, ignore_index = at.options
    is_plain = uniform and not smooth and ignore_index == NO_INDEX
    if is_summed(at, masses):
        if is_plain and masses.in_0 != 0.0:  # 0 of an infinite loss is 0, row by row
            loss, are_known = sum_plainly(pairs, at.index, i, end)
            loss = masses.in_0 * loss
        else:
            loss, are_known = sum_by_class(
                pairs, at.index, masses, uniform, ignore_index, i, end
            )
        if are_known:
            sums, lost = add_to_total(load(pairs.x, 0), loss, sums, lost)
            return sums, lost, True
    sums, lost = add_index_losses(pairs, at, masses, sums, lost, i, end)
    return sums, lost, False


@inner
def two_classes_chunk(rows, target, begin, end):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    at = pointers_of(rows, target, rows.logits.shape[2], slots(1))
    masses = masses_of(at)
    pairs = Pairs(scratch(at.logits, ROWS), scratch(at.logits, ROWS))
    sums = widened(spread(0.0, at.logits))
    lost = sums
    for i in range(begin, end, ROWS):
        last = min(i + ROWS, end)
        find_pairs(pairs, at, i, last)
        if target.ndim == 1:
            sums, lost, are_known = add_block_of_indices(
                pairs, at, masses, sums, lost, i, last
            )
            if at.n_gradients:
                if at.options[1]:
                    find_smoothed_slopes(pairs, at, masses, are_known, i, last)
                else:
                    find_index_slopes(pairs, at, masses, are_known, i, last)
        else:
            sums, lost = add_probability_losses(pairs, at, sums, lost, i, last)
            if at.n_gradients:
                find_probability_slopes(pairs, at, i, last)
        if at.n_gradients:
            write_slopes(pairs.x, at, i, last)
    return total(joined(sums, lost))

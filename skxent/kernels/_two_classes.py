"""Softmax rows of two classes: the logit ``z_1 - z_0`` of a binary target.

Nothing of the difference may be lost, so it has two parts. The rules are those of
:mod:`skxent.kernels._sigmoid`. As many rows as a vector has lanes are one group. Each
step is taken for a block of groups before the next: a row takes 200 cycles from end to
end, and a core cannot look ahead that far.

Where only the sum of losses is wanted, the logarithms of many rows are one:
``sum log(1 + e) = log(1 + s)`` for ``1 + s``, the product of all ``1 + e``. Kept less 1
it loses no digit of rows whose ``e`` is tiny.

Conventions are those of :mod:`skxent.kernels._cpu`, with arrays in planes
``(outer, 2, inner)``.
"""

from typing import Any, NamedTuple

from skxent.kernels import NO_INDEX
from skxent.kernels._groups import (
    AHEAD,
    read,
    read_group,
    read_weights,
    write,
    write_group,
)
from skxent.kernels._jit import by_dtype, inner
from skxent.kernels._rows import pointers_of
from skxent.kernels._rules import blend, sigmoid_loss, sigmoid_residual, weighted
from skxent.kernels._simd import (
    all_lanes,
    any_lane,
    bits,
    float_of,
    lanes,
    load,
    load_beside,
    load_part_beside,
    magnitude,
    maximum,
    muladd,
    narrowed,
    prefetch,
    prefetch_to_write,
    scratch,
    select,
    shortened,
    slots,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._targets import class_and_weight
from skxent.kernels._transpose import alternating, evens_and_odds
from skxent.kernels._vector import (
    add_to_total,
    exp_nonpositive,
    is_finite,
    joined,
    log1p,
    log1p_of_fraction,
    two_sum,
)

# The product of so many rows is at most 2**128 in a lane, and 24 KiB hold what is known
# of them.
ROWS = 1024
WIDE_LANES = 8  # numbers of 8 bytes in a cache line
SIGN_32, SIGN = -(2**31), -(2**63)


def _opposed_32(x, y):
    return float_of(bits(x) ^ (y << 31))


def _opposed_64(x, y):
    return float_of(bits(x) ^ (y << 63))


# ``-x`` for class 1, ``x`` for class 0.
opposed = by_dtype(_opposed_32, _opposed_64)


def _inwards_32(low, x):
    return float_of(bits(low) ^ ((bits(x) & SIGN_32) ^ SIGN_32))


def _inwards_64(low, x):
    return float_of(bits(low) ^ ((bits(x) & SIGN) ^ SIGN))


# What ``low`` adds to ``-abs(x)``.
inwards = by_dtype(_inwards_32, _inwards_64)


@inner
def read_rows(p, i):
    """Return both numbers of a whole group of rows that lie side by side."""
    n = lanes(p)
    prefetch(p, 2 * i + AHEAD * n)
    prefetch(p, 2 * i + AHEAD * n + n)
    return evens_and_odds(load(p, 2 * i), load(p, 2 * i + n))


@inner
def read_pairs(p, n_columns, i, width, pair):
    """Return both numbers of each row."""
    n = lanes(p)
    if n_columns == 1 and width == n:
        return read_rows(p, i)
    read_group(p, 2, n_columns, i, width, pair)
    return load(pair, 0), load(pair, n)


@inner
def difference(z0, z1):
    """Return ``z1 - z0`` rounded, and what that took; nan without a softmax."""
    x, lost = two_sum(z1, -z0)
    undefined = maximum(z0, z1) * 0.0  # nan if a logit is inf, or none is finite
    return x + undefined, select(lost == lost, lost, 0.0)


@inner
def exp_of_distance(x, low):
    """Return ``exp(-|x + low|)``: of the rounded difference, less what that lacks."""
    e = exp_nonpositive(-magnitude(x))
    return muladd(e, inwards(low, x), e)


@inner
def grown(product, e):
    """Return ``(1 + product) (1 + e) - 1``."""
    return muladd(product, e + 1.0, e)


class Pairs(NamedTuple):
    """Memory for what is known of the rows of a block."""

    x: Any  # z_1 - z_0
    e: Any  # exp(-|x|)


@inner
def take_pair(pairs, r, x, low):
    """Store both for a group."""
    store(x, pairs.x, r)
    store(exp_of_distance(x, low), pairs.e, r)


@inner
def whole_groups(n_columns, n_rows, n):
    """Return how many rows there are in groups whose numbers lie side by side."""
    return n_rows - n_rows % n if n_columns == 1 else 0


@inner
def find_pairs(pairs, p, n_columns, i, end):
    """Find both for rows ``i:end``; the lanes behind the last repeat it."""
    pair = scratch(p, 32)
    n = lanes(p)
    whole = whole_groups(n_columns, end - i, n)
    lost = spread(0.0, p)
    for r in range(0, whole, n):  # without calls, constants stay in registers
        z0, z1 = read_rows(p, i + r)
        x, low = two_sum(z1, -z0)
        take_pair(pairs, r, x, low)
        lost = lost + low
    if not all_lanes(is_finite(lost)):
        whole = 0
    for r in range(whole, end - i, n):
        z0, z1 = read_pairs(p, n_columns, i + r, min(n, end - i - r), pair)
        x, low = difference(z0, z1)
        take_pair(pairs, r, x, low)


@inner
def read_ahead(p, i, width, like):
    """Return int64 or float64 numbers, 0 behind the last row."""
    prefetch(p, i + AHEAD * WIDE_LANES)
    if lanes(like) > WIDE_LANES:
        prefetch(p, i + (AHEAD + 1) * WIDE_LANES)
    if width == lanes(like):
        return load_beside(p, i, like)
    return load_part_beside(p, i, width, 0, like)


@inner
def are_classes(y):
    """Return whether all bits but the lowest are 0."""
    return not any_lane((y & -2) != 0)


@inner
def read_rows_of(at, i, width, like):
    """Return the class of each row and its weight, 0 behind the last row."""
    if at.n_weights:
        weight = read_ahead(at.row_weight, i, width, like)
    else:
        weight = read_weights(at.row_weight, 0, i, width, like)
    y = read_ahead(at.index, i, width, like)
    if at.options[3] != NO_INDEX or not are_classes(y):
        y, weight = class_and_weight(y, weight, 2, at.options[3])
    return shortened(y, like), weight


@inner
def plain_terms(pairs, q, i, r, end):
    """Return what the losses of a group come of, and its class indices."""
    like = load(pairs.x, r)
    width = min(lanes(like), end - i - r)
    y = read_ahead(q, i + r, width, like)
    x = opposed(read(pairs.x, r, width), shortened(y, like))
    return widened(maximum(0.0, x)), widened(read(pairs.e, r, width)), y


@inner
def sum_plainly(pairs, q, i, end):
    """Return the sum of losses in lanes, and whether all indices are classes."""
    n = lanes(pairs.x)
    far = product = widened(spread(0.0, pairs.x))
    seen = plain_terms(pairs, q, i, 0, end)[2]
    for r in range(0, end - i, 2 * n):  # the product waits for half of its factors
        far_1, e_1, y_1 = plain_terms(pairs, q, i, r, end)
        far_2, e_2, y_2 = plain_terms(pairs, q, i, r + n, end)
        far = far + (far_1 + far_2)
        product = grown(product, grown(e_1, e_2))
        seen = seen | y_1 | y_2
    return far + log1p(product), are_classes(seen)


class Masses(NamedTuple):
    """What the targets of class indices are, numbers."""

    in_0: Any  # t_0 of an index 0
    in_1: Any  # t_1 of an index 1
    off_0: Any  # t_0 of an index 1
    off_1: Any  # t_1 of an index 0
    all_0: Any  # t_0 + t_1 of an index 0
    all_1: Any


@inner
def masses_of(on_value, off_value):
    """Return these."""
    off_0, off_1 = off_value[0], off_value[1]
    in_0, in_1 = on_value[0] + off_0, on_value[1] + off_1
    return Masses(in_0, in_1, off_0, off_1, in_0 + off_1, in_1 + off_0)


@inner
def far_loss(masses, is_one, x):
    """Return what ``|x|`` adds to a loss, float64: by the less likely class."""
    like = widened(x)
    t0 = select(is_one, spread(masses.off_0, like), masses.in_0)
    t1 = select(is_one, spread(masses.in_1, like), masses.off_1)
    return weighted(select(x > 0.0, t0, t1), magnitude(like))


@inner
def sum_by_class(pairs, q, masses, uniform, ignore_index, i, end):
    """Do as ``sum_plainly``, with weights of classes, smoothing and ignored rows."""
    like = load(pairs.x, 0)
    n = lanes(like)
    far = product = of_ones = widened(spread(0.0, like))
    seen = read_ahead(q, i, min(n, end - i), like)
    seen = seen ^ seen
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        x, e = read(pairs.x, r, width), read(pairs.e, r, width)
        y = read_ahead(q, i + r, width, like)
        if ignore_index != NO_INDEX:
            is_ignored = y == ignore_index
            x, e = select(is_ignored, 0.0, x), select(is_ignored, 0.0, e)
            y = select(is_ignored, 0, y)
        seen = seen | y
        is_one = shortened(y, like) == 1
        far = far + far_loss(masses, is_one, x)
        if not uniform:
            of_ones = grown(of_ones, widened(select(is_one, e, 0.0)))
            e = select(is_one, 0.0, e)
        product = grown(product, widened(e))
    logs = masses.all_0 * log1p(product) + masses.all_1 * log1p(of_ones)
    return far + logs, are_classes(seen)


@inner
def add_index_losses(pairs, at, masses, sums, lost, i, end):
    """Return the sums over lanes with the losses of rows; write each if asked."""
    n = lanes(at.logits)
    is_simple = at.options[0] and not at.options[1] and masses.in_0 != 0.0
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        x, e = load(pairs.x, r), load(pairs.e, r)
        y, weight = read_rows_of(at, i + r, width, x)
        log_d = widened(log1p_of_fraction(e))
        if is_simple:
            far = widened(maximum(0.0, opposed(x, y)))
            loss = weight * (masses.in_0 * (far + log_d))
        else:
            is_one = y == 1
            mass = select(is_one, spread(masses.all_1, weight), masses.all_0)
            loss = weight * (far_loss(masses, is_one, x) + mass * log_d)
        sums, lost = add_losses(at, loss, weight, sums, lost, i + r, width, x)
    return sums, lost


@inner
def add_losses(at, loss, weight, sums, lost, i, width, like):
    """Do so for a group, whose losses are there."""
    loss = select(weight == 0.0, 0.0, loss)
    if at.n_losses:
        write(narrowed(loss, like), at.loss_out, i, width)
    return add_to_total(like, loss, sums, lost)


@inner
def factors_of_rows(at, are_known, mass_0, mass_1, i, width, like):
    """Return the class of each row, its factor of the gradient, and if it is ignored.

    The factor is made of the mass of its class. ``are_known`` says of indices that they
    are classes or ignored, and that rows have no weights.
    """
    if are_known:
        y = read_ahead(at.index, i, width, like)
        is_ignored = y == at.options[3]
        y = shortened(y, like)
        factor = select(y == 1, spread(at.scale * mass_1, like), at.scale * mass_0)
        return y, factor, is_ignored
    y, weight = read_rows_of(at, i, width, like)
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


@inner
def find_smoothed_slopes(pairs, at, are_known, i, end):
    """Do so for class indices with smoothing."""
    n = lanes(pairs.x)
    for r in range(0, end - i, n):
        x, e = load(pairs.x, r), load(pairs.e, r)
        y, factor, is_ignored = factors_of_rows(
            at, are_known, 1.0, 1.0, i + r, min(n, end - i - r), x
        )
        q1 = select(y == 1, spread(1.0, x), 0.0)
        t0, t1 = blended(at, 1.0 - q1, q1)
        slope = factor * sigmoid_residual(t0, t1, x, e)
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
        slope = narrowed(at.scale * weight, x) * sigmoid_residual(t0, t1, x, e)
        store(select(weight == 0.0, 0.0, slope), pairs.x, r)


@inner
def write_slopes(slopes, at, i, end):
    """Write the gradient of rows ``i:end``, given that for ``z_1``."""
    pair = scratch(slopes, 32)
    p = at.gradient_out
    n = lanes(p)
    whole = whole_groups(at.n_columns, end - i, n)
    for r in range(0, whole, n):
        slope = load(slopes, r)
        low, high = alternating(-slope, slope)
        store(low, p, 2 * (i + r))
        store(high, p, 2 * (i + r) + n)
        prefetch_to_write(p, 2 * (i + r) + AHEAD * n)
        prefetch_to_write(p, 2 * (i + r) + AHEAD * n + n)
    for r in range(whole, end - i, n):
        slope = load(slopes, r)
        store(-slope, pair, 0)
        store(slope, pair, n)
        write_group(pair, 2, at.n_columns, i + r, min(n, end - i - r), p)


@inner
def is_summed(at, masses):
    """Return whether nothing but the sum of losses is wanted, of weights of classes."""
    most = masses.all_0 + masses.all_1
    return not at.n_weights and not at.n_losses and is_finite(most)


@inner
def add_block_of_indices(pairs, at, masses, sums, lost, i, end):
    """Return the sums over lanes with the losses of rows ``i:end``.

    And whether all indices are known to be classes or ignored.
    """
    uniform, smooth, _, ignore_index = at.options
    if is_summed(at, masses):
        if uniform and not smooth and ignore_index == NO_INDEX:
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
    masses = masses_of(at.on_value, at.off_value)
    pairs = Pairs(scratch(at.logits, ROWS), scratch(at.logits, ROWS))
    sums = widened(spread(0.0, at.logits))
    lost = sums
    for i in range(begin, end, ROWS):
        last = min(i + ROWS, end)
        find_pairs(pairs, at.logits, at.n_columns, i, last)
        if target.ndim == 1:
            sums, lost, are_known = add_block_of_indices(
                pairs, at, masses, sums, lost, i, last
            )
            if at.n_gradients:
                if at.options[1]:
                    find_smoothed_slopes(pairs, at, are_known, i, last)
                else:
                    find_index_slopes(pairs, at, masses, are_known, i, last)
        else:
            sums, lost = add_probability_losses(pairs, at, sums, lost, i, last)
            if at.n_gradients:
                find_probability_slopes(pairs, at, i, last)
        if at.n_gradients:
            write_slopes(pairs.x, at, i, last)
    return total(joined(sums, lost))

"""What is known of a batch of rows, and what follows from it: losses and shares.

Vectors hold a number for each of as many rows as they have lanes. Exponentials have the
scale of ``exp_shifted``, which is a row's own.

``m``
    the largest logit, or what was guessed for it
``z_y``, ``e_y``
    the logit of the class index, its exponential
``d``, ``d_low``
    the sum of the exponentials, in two parts
``rest``
    that sum without the exponential of the class index
``weight``
    of the row, 0 if it is ignored
``mass``, ``mass_low``
    ``sum_k t_k``, in two parts
``linear``, ``others``
    the loss is ``linear + mass log(1 + others)``
``linear_from_m``
    what smoothing adds to ``linear`` if measured from ``m``, where that may be needed
``is_near``
    1 where smoothing may be measured from the logit of the index
``of_block``
    what smoothing adds to all rows of a batch, in two parts
``at_target``
    ``t_y``
``share``, ``at_y``
    the gradient of plain class indices: a multiple of the exponentials, but at the
    index
``share_low``, ``slope``
    what ``share`` lacks, and what ``t`` is multiplied with, where others than the index
    have a ``t``

A confident row is one whose ``d`` hardly exceeds one of the exponentials; ``others`` is
the sum of the rest over that one, so the row's tiny loss keeps its digits.
"""

from typing import Any, NamedTuple

from skxent.kernels._groups import MOST_LANES, write
from skxent.kernels._jit import by_dtype, inlined, inner
from skxent.kernels._rules import residual
from skxent.kernels._simd import (
    fma,
    gather,
    lanes,
    load,
    load_beside,
    magnitude,
    narrowed,
    scratch,
    select,
    spread,
    store,
    widened,
)
from skxent.kernels._vector import (
    add_to_total,
    divided,
    log1p,
    two_sum,
)

# Two tiles of so many classes, logits and targets, take two thirds of the first cache.
MOST_CLASSES = 256
MOST_GROUPS = 8
TILE_SIZE = MOST_CLASSES * MOST_LANES
ROWS = MOST_GROUPS * MOST_LANES
MOST_RATIO = 2.0**60  # of exponentials: their scale leaves room for so much
LEAST_LOSS = 0.5  # of a row of mass 1, for its terms not to cancel
MOST_OFF = 13.0  # how far the guess may be from the largest logit


def _limits_32(like):
    return 2.0**-90, 2.0**-20, 2.0**64, 2.0**-60


def _limits_64(like):
    return 2.0**-900, 1.0, 2.0**200, 2.0**-800


# The least ``rest`` and the least ``d`` whose terms are no subnormal numbers; the most
# ``d``, and the least multiple of a row's gradient, whose share is none.
limits_of = by_dtype(_limits_32, _limits_64)


class Batch(NamedTuple):
    """Memory for a batch of groups, and for the vectors of each."""

    tile: Any
    target_tile: Any
    m: Any
    z_y: Any
    e_y: Any
    rest: Any
    others: Any
    share: Any
    share_low: Any
    slope: Any
    at_y: Any
    d: Any
    d_low: Any
    weight: Any
    mass: Any
    mass_low: Any
    linear: Any
    linear_from_m: Any
    is_near: Any
    of_block: Any
    at_target: Any


@inlined
def batch_like(p, wide):
    """Return the memory of a batch, of the caller's stack; ``wide`` is float64."""
    return batch_around(scratch(p, TILE_SIZE), wide)


@inlined
def batch_around(p, wide):
    """Do as ``batch_like``, but for the tile, which is there already."""
    return Batch(
        p,
        scratch(p, TILE_SIZE),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(p, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
        scratch(wide, ROWS),
    )


@inner
def rows_per_batch(n_classes, n):
    """Return how many rows have tiles that fit, whole groups."""
    return n * max(1, min(MOST_GROUPS, MOST_CLASSES // n_classes))


@inner
def mass_of_class(on_value, uniform, y, like):
    """Return ``on_value`` of each class, float64."""
    if uniform:
        return widened(spread(0.0, like)) + on_value[0]
    return gather(on_value, y)


@inner
def low_of_class(on_low, n_low, uniform, y, like):
    """Return ``on_low`` of each class, float64; 0 where there is none."""
    if n_low:
        return mass_of_class(on_low, uniform, y, like)
    return widened(spread(0.0, like))


@inner
def low_at_index(at, y):
    """Return ``on_low`` of a class, 0 if there is none."""
    return at.on_low[y] if at.n_low else 0.0


@inner
def place_of(y, n_classes):
    """Return the class, 0 for one that does not exist."""
    return select((y < 0) | (y >= n_classes), 0, y)


@inner
def is_likely(rest, e_y):
    """Return whether ``log(1 + rest / e_y)`` is the loss as it stands."""
    return rest < widened(e_y) * MOST_RATIO


@inner
def has_share(batch, r, scale):
    """Return of which rows the gradient is a multiple that is no subnormal number."""
    like = load(batch.m, r)
    _, _, _, least_factor = limits_of(like)
    mass = load_beside(batch.mass, r, like)
    factor = mass * load_beside(batch.weight, r, like) * scale
    is_large = (magnitude(factor) > least_factor) | (factor == 0.0)
    return is_large | (factor != factor)


@inner
def take_sums(batch, r, rest, e_y, scale, is_weighted):
    """Store what follows from the sum of all exponentials but the index's, float64.

    Return which rows' numbers are as they would be with any other guess.
    """
    least_rest, least_d, most_d, _ = limits_of(e_y)
    d, d_low = sum_of(e_y, rest, widened(e_y))
    is_good = (rest > least_rest) & (d > least_d) & (d < most_d)
    is_good = is_good & is_likely(rest, e_y)
    if is_weighted:
        is_good = is_good & has_share(batch, r, scale)
    rest = narrowed(rest, e_y)
    store(rest / e_y, batch.others, r)
    store(rest, batch.rest, r)
    store(d, batch.d, r)
    store(d_low, batch.d_low, r)
    return is_good


@inner
def keeps_parts(smooth, like):
    """Return whether sums of exponentials are made in two parts.

    In one, float64 gradients were off by 5.4 ulp, smoothed float32 ones by 4.6.
    """
    return smooth or lanes(like) < MOST_LANES


@inner
def take_low_sum(batch, r, rest_low):
    """Add what the sum of all exponentials but the index's lacked, float64."""
    d_low = load_beside(batch.d_low, r, load(batch.m, r))
    store(d_low + rest_low, batch.d_low, r)


@inner
def take_soft_sums(batch, r, d, d_low, mass, mass_low, loss, scale):
    """Do as ``take_sums`` for probabilities, given the sum of all exponentials."""
    like = load(batch.m, r)
    _, least_d, most_d, least_factor = limits_of(like)
    factor = mass * load_beside(batch.weight, r, like) * scale
    is_large = (magnitude(factor) > least_factor) | (factor != factor)
    store(spread(0.0, like), batch.others, r)
    store(loss, batch.linear, r)
    store(mass, batch.mass, r)
    store(mass_low, batch.mass_low, r)
    store(d, batch.d, r)
    store(d_low, batch.d_low, r)
    return (d > least_d) & (d < most_d) & is_large


@inner
def is_measured(loss, mass):
    """Return whether a loss measured from a level near ``lse`` keeps its digits.

    Of probabilities none of which is negative.
    """
    return (loss >= LEAST_LOSS * mass) & (mass > 0.0)


@inner
def is_index_heavy(on_y, smoothing):
    """Return whether the index has at least as much mass as smoothing.

    Then the logarithm and the terms of smoothing do not nearly cancel where both are
    measured from the logit of the index.
    """
    return smoothing <= on_y


@inner
def add_smoothing(batch, r, smoothing):
    """Add the mass that smoothing brings to that of the index.

    Return for which rows ``is_index_heavy``.
    """
    like = load(batch.m, r)
    on_y = load_beside(batch.mass, r, like)
    mass, lost = two_sum(on_y, smoothing)
    store(mass, batch.mass, r)
    store(load_beside(batch.mass_low, r, like) + lost, batch.mass_low, r)
    return is_index_heavy(on_y, smoothing)


def _sum_32(like, a, b):
    return a + b, widened(like * 0.0)


def _sum_64(like, a, b):
    return two_sum(a, b)


# The sum of float64 numbers that come of numbers of a dtype, in parts: float64 has all
# that matters to float32 in one.
sum_of = by_dtype(_sum_32, _sum_64)


@inner
def add_group(batch, r, width, sums, lost, i, loss_out, n_losses):
    """Return the sums over lanes with the losses of a group; write each if asked."""
    others = load(batch.others, r)
    linear = load_beside(batch.linear, r, others)
    mass = load_beside(batch.mass, r, others)
    weight = load_beside(batch.weight, r, others)
    loss = weight * (linear + mass * widened(log1p(others)))
    loss = select(weight == 0.0, 0.0, loss)
    if n_losses:
        write(narrowed(loss, others), loss_out, i + r, width)
    return add_to_total(others, loss, sums, lost)


@inner
def add_losses(batch, sums, lost, i, end, loss_out, n_losses):
    """Return the sums over lanes with the losses of a batch; write each if asked."""
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        sums, lost = add_group(batch, r, width, sums, lost, i, loss_out, n_losses)
    return sums, lost


@inner
def sum_with_largest(rest, rest_low, ones, e_m):
    """Return ``d`` in two parts from all but the largest exponentials, and those."""
    many, one = widened(ones), widened(e_m)
    largest = many * one
    d, d_low = two_sum(largest, rest)
    return d, d_low + (fma(many, one, -largest) + rest_low)


@inner
def share_of(factor, mass, mass_low, d, d_low, like):
    """Return ``factor * mass / d`` in two parts of the logits' dtype.

    Rounded to one part it would be off by as much in each entry of the gradient, and
    that twice or more where ``a p`` is a multiple of its difference from ``t``.
    """
    a = factor * mass
    a_low = fma(factor, mass, -a) + factor * mass_low
    d_high, a_high = narrowed(d, like), narrowed(a, like)
    d_low = narrowed((d - widened(d_high)) + d_low, like)
    a_low = narrowed((a - widened(a_high)) + a_low, like)
    return divided(a_high, a_low, d_high, d_low)


@inner
def factor_of(batch, r, scale, like):
    """Return what the gradient of each row is multiplied with, float64."""
    weight = load_beside(batch.weight, r, like)
    return select(weight == 0.0, 0.0, scale * weight)


@inner
def shares_of_rows(batch, r, factor, like):
    """Return :func:`share_of` for a group."""
    mass = load_beside(batch.mass, r, like)
    mass_low = load_beside(batch.mass_low, r, like)
    d, d_low = load_beside(batch.d, r, like), load_beside(batch.d_low, r, like)
    return share_of(factor, mass, mass_low, d, d_low, like)


@inner
def find_soft_shares(batch, r, scale):
    """Find what exponentials and ``t`` are multiplied with, for any ``t``."""
    like = load(batch.m, r)
    factor = factor_of(batch, r, scale, like)
    high, low = shares_of_rows(batch, r, factor, like)
    store(high, batch.share, r)
    store(low, batch.share_low, r)
    store(narrowed(factor, like), batch.slope, r)


@inner
def find_smoothed_shares(batch, r, scale):
    """Find these for class indices with smoothing, and the gradient at the index."""
    find_soft_shares(batch, r, scale)
    e_y = load(batch.e_y, r)
    factor = factor_of(batch, r, scale, e_y)
    t_y = narrowed(factor * load_beside(batch.at_target, r, e_y), e_y)
    high, low = load(batch.share, r), load(batch.share_low, r)
    store(residual(high, low, e_y, t_y), batch.at_y, r)


@inner
def index_shares(batch, r, factor, mass, mass_low):
    """Return what exponentials are multiplied with for plain class indices.

    And the gradient at the index. There ``a p - t`` is the sum of the other entries
    with the opposite sign, which does not cancel where ``p`` is near 1.
    """
    e_y, rest = load(batch.e_y, r), load(batch.rest, r)
    d, d_low = load_beside(batch.d, r, rest), load_beside(batch.d_low, r, rest)
    high, low = share_of(factor, mass, mass_low, d, d_low, rest)
    share = high + low
    t_y = narrowed(factor * mass, rest)
    return share, select(rest > e_y, share * e_y - t_y, -(share * rest))


@inner
def share_of_indices(batch, r, scale):
    """Return :func:`index_shares`; 0 of ignored rows, whatever their sums are."""
    like = load(batch.m, r)
    factor = factor_of(batch, r, scale, like)
    mass = load_beside(batch.mass, r, like)
    mass_low = load_beside(batch.mass_low, r, like)
    share, at_y = index_shares(batch, r, factor, mass, mass_low)
    is_ignored = factor == 0.0
    return select(is_ignored, 0.0, share), select(is_ignored, 0.0, at_y)

"""What CUDA kernels know of the targets of a row, and what follows for its loss.

``one`` is 1 in the dtype that is computed with. Conventions are those of
:mod:`skxent.kernels._cuda`.
"""

import math
from typing import Any, NamedTuple

from numba.core.types import int64

from skxent.kernels._cuda_memory import pointer_to, read_one
from skxent.kernels._jit import rule
from skxent.kernels._rules import blend, weighted
from skxent.kernels._simd import select, spread
from skxent.kernels._targets import class_and_weight
from skxent.kernels._vector import divided, two_sum

__all__ = [
    "Sums",
    "below",
    "class_of_index",
    "class_of_row",
    "index_of_row",
    "is_spread",
    "loss_of",
    "nothing",
    "on_value_of",
    "raised",
    "rest_of",
    "shares_of",
    "target_of",
    "targets_at",
    "with_index",
    "with_logit",
    "with_target",
]


class Targets(NamedTuple):
    """Pointers, lengths and flags."""

    indices: Any  # (n,) int64
    on: Any
    off: Any
    class_step: Any  # 0 where one value of ``on`` and ``off`` is that of all classes
    row_weight: Any
    is_weighted: Any
    is_smooth: Any
    n_classes: Any
    ignore_index: Any


class Sums(NamedTuple):
    """Sums over the entries of a row that a thread has read."""

    m: Any  # the largest logit
    rest: Any  # sum of exp(z - m) of those that are less
    ones: Any  # how many are as large
    linear: Any  # sum of t (m - z)
    mass: Any  # sum of t


@rule
def targets_at(
    real,
    target,
    on_value,
    off_value,
    class_step,
    row_weight,
    is_weighted,
    is_smooth,
    n_classes,
    ignore_index,
):
    """Return the record of a kernel's arguments; ``real`` is the type of floats."""
    return Targets(
        pointer_to(target, int64),
        pointer_to(on_value, real),
        pointer_to(off_value, real),
        class_step,
        pointer_to(row_weight, real),
        is_weighted,
        is_smooth,
        n_classes,
        ignore_index,
    )


@rule
def class_of_row(targets, has_indices, row, is_there, one):
    """Return the class index of a row and its weight, 0 for one that is not there."""
    if not is_there:
        return 0, one - one
    weight = read_one(targets.row_weight, row) if targets.is_weighted else one
    if not has_indices:
        return 0, weight
    y = read_one(targets.indices, row)
    return class_and_weight(y, weight, targets.n_classes, targets.ignore_index)


@rule
def index_of_row(targets, has_indices, row, n_rows):
    """Return what is read of the index of a row, of the last for one behind it.

    Nobody waits for it before `class_of_index` looks at it.
    """
    return read_one(targets.indices, min(row, n_rows - 1)) if has_indices else 0


@rule
def class_of_index(targets, has_indices, y, row, is_there, one):
    """Return what `class_of_row` does, of an index that was read before."""
    if not is_there:
        return 0, one - one
    weight = read_one(targets.row_weight, row) if targets.is_weighted else one
    if not has_indices:
        return 0, weight
    return class_and_weight(y, weight, targets.n_classes, targets.ignore_index)


@rule
def is_spread(targets, has_indices):
    """Return whether other classes than the index have a target."""
    return targets.is_smooth or not has_indices


@rule
def target_of(targets, has_indices, k, q):
    """Return ``t_k`` but for what an index adds; ``q`` is the probability."""
    off = read_one(targets.off, k * targets.class_step)
    if has_indices:
        return off
    return blend(read_one(targets.on, k * targets.class_step), q, off)


@rule
def nothing(one):
    """Return the sums over no entries."""
    return below(spread(-math.inf, one), one)


@rule
def below(m, one):
    """Return the sums over no entries, for a largest logit that is known."""
    zero = one - one
    return Sums(m, zero, zero, zero, zero)


@rule
def raised(sums, m):
    """Return the sums for a maximum that is at least theirs."""
    if sums.m >= m:
        return sums
    rest = (sums.rest + sums.ones) * math.exp(sums.m - m)
    linear = sums.linear + weighted(sums.mass, m - sums.m)
    return Sums(m, rest, sums.ones - sums.ones, linear, sums.mass)


@rule
def with_logit(sums, x, e, one):
    """Return the sums with a logit and its exponential."""
    zero = one - one
    rest = sums.rest + (zero if x == sums.m else e)
    ones = sums.ones + (one if x == sums.m else zero)
    return Sums(sums.m, rest, ones, sums.linear, sums.mass)


@rule
def with_target(sums, x, t):
    """Return the sums with the target of a logit."""
    # all may be -inf so far
    distance = select(x == sums.m, 0.0, sums.m - x)
    linear = sums.linear + weighted(t, distance)
    return Sums(sums.m, sums.rest, sums.ones, linear, sums.mass + t)


@rule
def on_value_of(targets, y, one):
    """Return ``on_value`` of a class; it is 1 where nothing says that it is not."""
    if targets.class_step or targets.is_smooth:
        return read_one(targets.on, y * targets.class_step)
    return one


@rule
def with_index(sums, targets, y, z_y, one):
    """Return the sums with what the index adds, and its ``t_y``."""
    on = on_value_of(targets, y, one)
    t_y = on
    if targets.is_smooth:
        t_y = on + read_one(targets.off, y * targets.class_step)
    return with_target(sums, z_y, on), t_y


@rule
def rest_of(sums, one):
    """Return the sum of the exponentials but one of the largest, which are 1."""
    # what an infinite maximum makes nan
    return sums.rest + (sums.ones - one) + sums.m * (one - one)


@rule
def loss_of(sums, rest, weight):
    """Return the loss of a row."""
    loss = weight * (sums.linear + sums.mass * math.log1p(rest))
    return weight if weight == 0 else loss


@rule
def shares_of(factor, rest, one):
    """Return ``factor / d`` in two parts."""
    d, d_low = two_sum(one, rest)
    return divided(factor, one - one, d, d_low)

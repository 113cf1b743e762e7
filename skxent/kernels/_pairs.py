"""Rows of two logits: what the logits of a row differ by, a block of rows at a time.

Nothing of the difference may be lost, so it has two parts. As many rows as a vector has
lanes are one group. Arrays are planes ``(outer, 2, inner)``, as in
:mod:`skxent.kernels._groups`.
"""

from typing import Any, NamedTuple

from skxent.kernels._groups import AHEAD, read_group, write_group
from skxent.kernels._jit import by_dtype, inner
from skxent.kernels._simd import (
    all_lanes,
    bits,
    float_of,
    lanes,
    load,
    load_part,
    magnitude,
    maximum,
    muladd,
    prefetch,
    prefetch_to_write,
    scratch,
    select,
    spread,
    store,
)
from skxent.kernels._transpose import alternating, evens_and_odds
from skxent.kernels._vector import exp_nonpositive, is_finite, two_difference

__all__ = [
    "ROWS",
    "WIDE_LANES",
    "Pairs",
    "find_pairs",
    "opposed",
    "read_pairs",
    "write_slopes",
]

# A step over so many rows is taken before the next, since a row takes 150 cycles from
# end to end and a core does not look so far ahead. 16 KiB hold what is known of them.
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
    x, lost = two_difference(z1, z0)
    undefined = maximum(z0, z1) * 0.0  # nan if a logit is inf, or none is finite
    return x + undefined, select(lost == lost, lost, 0.0)


@inner
def exp_of_distance(x, low):
    """Return ``exp(-|x + low|)``: of the rounded difference, less what that lacks."""
    e = exp_nonpositive(-magnitude(x))
    return muladd(e, inwards(low, x), e)


class Pairs(NamedTuple):
    """Memory for what is known of the rows of a block."""

    x: Any  # z_1 - z_0
    e: Any  # exp(-|x|)


@inner
def whole_groups(n_columns, n_rows, n):
    """Return how many rows there are in groups of ``n`` that lie side by side."""
    return n_rows - n_rows % n if n_columns == 1 else 0


@inner
def find_pairs(pairs, at, i, end):
    """Find both for rows ``i:end``, 0 in the lanes up to the next two whole groups."""
    p, n_columns = at.logits, at.n_columns
    pair = scratch(p, 32)
    n = lanes(p)
    zero = spread(0.0, p)
    lost = zero
    whole = whole_groups(n_columns, end - i, 2 * n)
    # without calls, constants stay in registers; two at a time take 15 % less
    for r in range(0, whole, 2 * n):
        z0, z1 = read_rows(p, i + r)
        z2, z3 = read_rows(p, i + r + n)
        for line in range(0, 2 * n, WIDE_LANES):  # of the next step: it is faster
            prefetch(at.index, i + r + line)
        x_0, low_0 = two_difference(z1, z0)
        x_1, low_1 = two_difference(z3, z2)
        e_0, e_1 = exp_of_distance(x_0, low_0), exp_of_distance(x_1, low_1)
        store(x_0, pairs.x, r)
        store(x_1, pairs.x, r + n)
        store(e_0, pairs.e, r)
        store(e_1, pairs.e, r + n)
        lost = lost + (low_0 + low_1)
    if not all_lanes(is_finite(lost)):
        whole = 0
    for r in range(whole, end - i, n):
        width = min(n, end - i - r)
        z0, z1 = read_pairs(p, n_columns, i + r, width, pair)
        x, low = difference(z0, z1)
        store(x, pairs.x, r)
        store(exp_of_distance(x, low), pairs.e, r)
        if width < n:
            store(load_part(pairs.x, r, width, 0.0), pairs.x, r)
            store(load_part(pairs.e, r, width, 0.0), pairs.e, r)
    r = end - i + (i - end) % n
    if r < ROWS:
        store(zero, pairs.x, r)
        store(zero, pairs.e, r)


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

"""Softmax rows of many classes with class indices: along the row, in one pass.

As in :mod:`skxent.kernels._flat_rows`, the index's exponential is kept out of the sum,
so that the loss is ``log1p(rest / e_y)`` and no largest logit has to be known first. A
power of 2 is guessed from the row before; the largest logit is found in the same pass,
block by block, and a block for which the guess was wrong is gone through again. What
was summed before it is multiplied with a power of 2, which is exact.

A few rows, as many as stay in the second cache, are summed up one after another and
have their losses and shares computed side by side. The gradient then goes through each
row once more; exponentials are made again, since storing them would take as long. It is
written past the caches if it would fill them: a line that is not read first saves a
third of what memory has to move.

Rows that this does not suit are left to :mod:`skxent.kernels._long_rows`.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`. Pointers ``z`` and ``out`` lead to the row itself.
"""

import math
from typing import Any, NamedTuple

from skxent.kernels._batches import (
    add_smoothing,
    find_smoothed_shares,
    low_at_index,
    place_of,
    share_of_indices,
    take_low_sum,
    take_sums,
)
from skxent.kernels._groups import is_streamed
from skxent.kernels._jit import inner
from skxent.kernels._long_targets import (
    LINES,
    Slopes,
    smoothing_terms,
    write_gradient,
)
from skxent.kernels._simd import (
    advance,
    fence,
    first,
    lanes,
    largest,
    load,
    load_beside,
    load_part,
    maximum,
    numbers,
    prefetch,
    prefetch_to_write,
    select,
    spread,
    store,
    store_part,
    stream,
    to_next_line,
    widened,
)
from skxent.kernels._vector import (
    accumulate,
    exp_shifted,
    is_far,
    power_of,
    shift_of,
    total_in_parts,
    two_sum,
)

# How far the guess may be from the largest logit: no sum overflows, and no exponential
# is subnormal whose entry of the gradient is not 0.
MOST_OFF = 3.0
LEAST_RATIO = 2.0**-100  # of the sum of the others and the exponential of the index
NEAR_SIZE = 1 << 16  # elements of rows that stay in the second cache together


@inner
def rows_at_once(n_classes, n):
    """Return how many rows are summed up before their gradients are written."""
    return max(1, min(n, NEAR_SIZE // n_classes))


@inner
def exp_and_top(z, k, offset, lowest, top):
    """Return the exponentials of a vector, and ``top`` with its logits."""
    x = load(z, k)
    return exp_shifted(x, offset, lowest), maximum(x, top)


@inner
def add_exponentials(z, width, in_pairs, offset, lowest, top, rest, lost):
    """Return ``top``, ``rest`` and what it lost, with ``width`` logits added.

    ``in_pairs`` with smoothing, for the reason of :mod:`skxent.kernels._row_sums`.
    """
    n = lanes(z)
    full = width - width % n
    at_once = 2 * n if in_pairs else 4 * n
    whole = full - full % at_once
    if in_pairs:
        for k in range(0, whole, at_once):
            prefetch(z, k + LINES * n)
            prefetch(z, k + (LINES + 1) * n)
            a, top = exp_and_top(z, k, offset, lowest, top)
            b, top = exp_and_top(z, k + n, offset, lowest, top)
            rest, lost = accumulate(a + b, rest, lost)
    else:
        for k in range(0, whole, at_once):
            for j in range(k, k + at_once, n):
                prefetch(z, j + LINES * n)
            a, top = exp_and_top(z, k, offset, lowest, top)
            b, top = exp_and_top(z, k + n, offset, lowest, top)
            c, top = exp_and_top(z, k + 2 * n, offset, lowest, top)
            d, top = exp_and_top(z, k + 3 * n, offset, lowest, top)
            rest, lost = accumulate((a + b) + (c + d), rest, lost)
    for k in range(whole, full, n):
        prefetch(z, k + LINES * n)
        a, top = exp_and_top(z, k, offset, lowest, top)
        rest, lost = accumulate(a, rest, lost)
    if full < width:
        x = load_part(z, full, width - full, -math.inf)
        top = maximum(x, top)
        rest, lost = accumulate(exp_shifted(x, offset, lowest), rest, lost)
    return top, rest, lost


@inner
def add_others(z, width, y, in_pairs, offset, lowest, top, rest, lost):
    """Do as ``add_exponentials``, but leave out the exponential of class ``y``."""
    n = lanes(z)
    if y < 0 or y >= width:
        return add_exponentials(z, width, in_pairs, offset, lowest, top, rest, lost)
    at = y - y % n
    top, rest, lost = add_exponentials(z, at, in_pairs, offset, lowest, top, rest, lost)
    x = load_part(z, at, width - at, -math.inf)
    top = maximum(x, top)
    x = select(numbers(x) == y - at, -math.inf, x)
    rest, lost = accumulate(exp_shifted(x, offset, lowest), rest, lost)
    at += n
    if at < width:
        top, rest, lost = add_exponentials(
            advance(z, at), width - at, in_pairs, offset, lowest, top, rest, lost
        )
    return top, rest, lost


@inner
def sum_others(z, n_classes, y, guess, off, options):
    """Return the sum of all exponentials but that of ``y`` in two parts, ``linear``.

    And the guess that suits; where none does, the sum is nan.
    """
    uniform, smooth, _, _ = options
    linear = linear_lost = 0.0
    n = lanes(z)
    top = spread(-math.inf, z)
    rest = widened(spread(0.0, z))
    lost = rest
    for begin in range(0, n_classes, LINES * n):
        block = advance(z, begin)
        width = min(LINES * n, n_classes - begin)
        offset, lowest = shift_of(spread(guess, z))
        new_top, new_rest, new_lost = add_others(
            block, width, y - begin, smooth, offset, lowest, top, rest, lost
        )
        highest = largest(new_top)
        if not abs(highest - guess) < MOST_OFF and highest > -math.inf:
            if first(is_far(spread(highest, z))):
                return math.nan, 0.0, linear, guess
            powers = first(power_of(spread(guess, z))) - first(
                power_of(spread(highest, z))
            )
            # a guess that was too high has summed up zeros: infinity would spoil them
            scale = math.ldexp(1.0, int(min(powers, 0.0)))
            guess = highest
            offset, lowest = shift_of(spread(guess, z))
            new_top, new_rest, new_lost = add_others(
                block,
                width,
                y - begin,
                smooth,
                offset,
                lowest,
                top,
                rest * scale,
                lost * scale,
            )
        top, rest, lost = new_top, new_rest, new_lost
        if smooth:
            terms = smoothing_terms(
                block, width, advance(off, begin), uniform, spread(z[y], z)
            )
            linear, error = two_sum(linear, terms)
            linear_lost += error
    high, low = total_in_parts(spread(guess, z), rest, lost)
    if math.isfinite(linear):
        linear += linear_lost
    return high, low, linear, guess


@inner
def sum_rows(batch, at, i, end, guess):
    """Fill ``z_y``, ``d``, ``d_low`` with the sum of the others, ``m`` with the guess.

    Return the last guess.
    """
    n_classes = at.n_classes
    p, off = at.logits, at.off_value
    for r in range(lanes(p)):
        batch.z_y[r] = 0.0  # what suits lanes without a row
        batch.m[r] = 0.0
        batch.d[r] = 1.0
        batch.d_low[r] = 0.0
        batch.mass[r] = 0.0
        batch.linear[r] = 0.0
        batch.mass_low[r] = 0.0
    for r in range(end - i):
        if batch.weight[r] == 0:
            continue
        y = place_of(at.index[i + r], n_classes)
        batch.mass[r] = at.on_value[y]
        batch.mass_low[r] = low_at_index(at, y)
        z = advance(p, (i + r) * n_classes)
        sums = sum_others(z, n_classes, y, guess, off, at.options)
        batch.d[r], batch.d_low[r], batch.linear[r], guess = sums
        batch.m[r] = guess
        batch.z_y[r] = z[y]
        batch.at_target[r] = at.on_value[y] + at.off_value[y]
    return guess


@inner
def write_stretch(z, begin, end, offset, lowest, share, out, streamed):
    """Write ``share`` times the exponentials, whole vectors; lines, if streamed."""
    n = lanes(z)
    if streamed:
        for k in range(begin, end, n):
            stream(share * exp_shifted(load(z, k), offset, lowest), out, k)
    else:
        for k in range(begin, end, n):
            prefetch_to_write(out, k + LINES * n)
            store(share * exp_shifted(load(z, k), offset, lowest), out, k)


@inner
def write_part(z, k, width, offset, lowest, share, y, at_y, out):
    """Do so for ``width`` classes from ``k`` on; write ``at_y`` if ``y`` is one."""
    x = load_part(z, k, width, -math.inf)
    g = share * exp_shifted(x, offset, lowest)
    store_part(select(numbers(g) == y - k, at_y, g), out, k, width)


@inner
def write_row(z, n_classes, guess, share, y, at_y, out, streamed):
    """Write the gradient: ``at_y`` at class ``y``, else a multiple of exponentials."""
    n = lanes(z)
    offset, lowest = shift_of(spread(guess, z))
    begin = min(to_next_line(out), n_classes)
    end = n_classes - (n_classes - begin) % n
    at = begin + (y - begin) // n * n
    write_part(z, 0, begin, offset, lowest, share, y, at_y, out)
    if begin <= at < end:
        write_stretch(z, begin, at, offset, lowest, share, out, streamed)
        write_part(z, at, n, offset, lowest, share, y, at_y, out)
        begin = at + n
    write_stretch(z, begin, end, offset, lowest, share, out, streamed)
    write_part(z, end, n_classes - end, offset, lowest, share, y, at_y, out)


@inner
def find_shares(batch, smooth, scale):
    """Find what the exponentials are multiplied with, and the gradient at the index."""
    if smooth:
        find_smoothed_shares(batch, 0, scale)
    else:
        share, at_y = share_of_indices(batch, 0, scale)
        store(share, batch.share, 0)
        store(at_y, batch.at_y, 0)


class Shift(NamedTuple):
    """What of a row its exponentials take."""

    base: Any
    offset: Any
    lowest: Any


@inner
def write_smoothed_row(batch, r, at, z, y, out, streamed):
    """Write the gradient of a row with smoothing."""
    offset, lowest = shift_of(spread(batch.m[r], z))
    of = Slopes(
        Shift(spread(0.0, z), offset, lowest),
        spread(batch.slope[r], z),
        spread(batch.share[r], z),
        spread(batch.share_low[r], z),
        y,
        spread(batch.at_y[r], z),
    )
    on, off, options = at.on_value, at.off_value, at.options
    write_gradient(z, z, False, at.n_classes, on, off, options, of, out, streamed)


@inner
def write_rows(batch, is_done, at, i, end):
    """Write the gradient of rows that are done, ignored ones excepted."""
    n_classes = at.n_classes
    p, gradient = at.logits, at.gradient_out
    streamed = is_streamed(gradient, at.n_gradients)
    find_shares(batch, at.options[1], at.scale)
    for r in range(end - i):
        if is_done[r] == 0 or batch.weight[r] == 0:
            continue
        z = advance(p, (i + r) * n_classes)
        out = advance(gradient, (i + r) * n_classes)
        y = place_of(at.index[i + r], n_classes)
        share, at_y = spread(batch.share[r], p), spread(batch.at_y[r], p)
        if at.options[1]:
            write_smoothed_row(batch, r, at, z, y, out, streamed)
        else:
            write_row(z, n_classes, batch.m[r], share, y, at_y, out, streamed)
    if streamed:
        fence()


@inner
def add_index_rows(batch, is_done, at, i, end, guess):
    """Fill what the losses of rows ``i:end`` take; write their gradients if asked for.

    Mark the rows that are done, and return the guess for the next.
    """
    guess = sum_rows(batch, at, i, end, guess)
    offset, lowest = shift_of(load(batch.m, 0))
    e_y = exp_shifted(load(batch.z_y, 0), offset, lowest)
    store(e_y, batch.e_y, 0)
    rest, rest_low = load_beside(batch.d, 0, e_y), load_beside(batch.d_low, 0, e_y)
    is_weighted = at.n_weights > 0 or not at.options[0]
    is_good = take_sums(batch, 0, rest, e_y, at.scale, is_weighted)
    take_low_sum(batch, 0, rest_low)
    # whatever was guessed
    is_good = is_good & (rest > widened(e_y) * LEAST_RATIO)
    if at.options[1]:
        is_good = is_good & add_smoothing(batch, 0, at.options[2])
    store(select(is_good, spread(1.0, e_y), 0.0), is_done, 0)
    if at.n_gradients:
        write_rows(batch, is_done, at, i, end)
    return guess

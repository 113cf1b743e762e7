"""What targets add to the loss and the gradient of a row of many classes.

Along the row, a vector at a time. Conventions are those of :mod:`skxent.kernels._cpu`;
pointers ``z``, ``q`` and ``out`` lead to the row itself.
"""

import math
from typing import Any, NamedTuple

from skxent.kernels._groups import read
from skxent.kernels._jit import inner
from skxent.kernels._rules import blend, residual
from skxent.kernels._simd import (
    lanes,
    load,
    load_part,
    load_part_beside,
    narrowed,
    numbers,
    prefetch,
    prefetch_to_write,
    select,
    spread,
    store,
    store_part,
    stream,
    to_next_line,
    total,
    widened,
)
from skxent.kernels._vector import accumulate, exp_shifted, total_in_parts

LINES = 128  # cache lines of a block, 8 KiB, and how far ahead memory is asked for
FOUR = 4


@inner
def off_values(off, uniform, k, width, like):
    """Return ``off_value`` of classes from ``k`` on, 0 behind the last one."""
    if uniform and width == lanes(like):
        return spread(off[0], like)
    return narrowed(load_part_beside(off, k, width, 0.0, like), like)


@inner
def target_values(q, on, off, uniform, k, width, like):
    """Return ``t`` of classes from ``k`` on, 0 behind the last one."""
    if uniform and width == lanes(like):
        return blend(spread(on[0], like), load(q, k), spread(off[0], like))
    on_value = narrowed(load_part_beside(on, k, width, 0.0, like), like)
    off_value = off_values(off, False, k, width, like)
    return blend(on_value, load_part(q, k, width, 0.0), off_value)


@inner
def finite_total(rounded, lost):
    """Return the sum over lanes, without the lost parts where it is infinite."""
    sums = total(rounded)
    return sums + total(lost) if math.isfinite(sums) else sums


@inner
def probability_terms(z, q, n_classes, on, off, uniform, m):
    """Return ``linear``, and ``mass`` in two parts, of probabilities."""
    n = lanes(z)
    linear = widened(spread(0.0, z))
    lost, mass, mass_lost = linear, linear, linear
    for begin in range(0, n_classes, FOUR * n):
        four = spread(0.0, z)
        mass_of_four = four
        for k in range(begin, min(begin + FOUR * n, n_classes), n):
            width = min(n, n_classes - k)
            prefetch(q, k + LINES * n)
            t = target_values(q, on, off, uniform, k, width, m)
            mass_of_four = mass_of_four + t
            four = four + select(t == 0.0, 0.0, t * (m - read(z, k, width)))
        linear, lost = accumulate(four, linear, lost)
        mass, mass_lost = accumulate(mass_of_four, mass, mass_lost)
    return finite_total(linear, lost), total_in_parts(m, mass, mass_lost)


@inner
def below_index(z, k, width, z_y):
    """Return ``z_y - z`` of classes from ``k`` on, 0 behind the last one."""
    return select(numbers(z_y) < width, z_y - load_part(z, k, width, 0.0), 0.0)


@inner
def off_term(z, off, uniform, k, width, z_y):
    """Return ``z_y - z`` of classes from ``k`` on, times ``off_value`` where it varies.

    0 behind the last one.
    """
    x = below_index(z, k, width, z_y)
    if uniform:
        return x
    t = off_values(off, False, k, width, z_y)
    return select(t == 0.0, 0.0, t * x)


@inner
def smoothing_terms(z, n_classes, off, uniform, z_y):
    """Return the sum of ``off_value`` times ``z_y - z``."""
    n = lanes(z)
    linear = widened(spread(0.0, z))
    lost = linear
    fours = n_classes - n_classes % (FOUR * n)
    for k in range(0, fours, FOUR * n):
        a = off_term(z, off, uniform, k, n, z_y)
        b = off_term(z, off, uniform, k + n, n, z_y)
        c = off_term(z, off, uniform, k + 2 * n, n, z_y)
        d = off_term(z, off, uniform, k + 3 * n, n, z_y)
        linear, lost = accumulate((a + b) + (c + d), linear, lost)
    for k in range(fours, n_classes, n):
        width = min(n, n_classes - k)
        a = off_term(z, off, uniform, k, width, z_y)
        linear, lost = accumulate(a, linear, lost)
    return finite_total(linear, lost) * (off[0] if uniform else 1.0)


class Slopes(NamedTuple):
    """What the gradient of a row is made of: ``high e + low e - slope t``."""

    row: Any  # what its exponentials take
    slope: Any
    high: Any
    low: Any
    y: Any  # a class index, -1 if there is none
    at_y: Any  # the gradient there


@inner
def gradient_at(z, q, has_probabilities, on, off, options, of, k, n):
    """Return the gradient of ``n`` classes from ``k`` on, but at a class index."""
    uniform, smooth, _, _ = options
    e = exp_shifted(read(z, k, n) - of.row.base, of.row.offset, of.row.lowest)
    t = e * 0.0
    if has_probabilities:
        t = of.slope * target_values(q, on, off, uniform, k, n, e)
    elif smooth:
        t = of.slope * off_values(off, uniform, k, n, e)
    return residual(of.high, of.low, e, t)


@inner
def write_part(z, q, has_probabilities, on, off, options, of, k, width, out):
    """Write the gradient of up to a vector of classes from ``k`` on."""
    g = gradient_at(z, q, has_probabilities, on, off, options, of, k, width)
    store_part(select(numbers(g) == of.y - k, of.at_y, g), out, k, width)


@inner
def write_alike(z, of, t, begin, end, out, streamed):
    """Write the gradient of whole vectors where all classes have the same ``t``."""
    n = lanes(z)
    row = of.row
    if streamed:
        for k in range(begin, end, n):
            e = exp_shifted(load(z, k) - row.base, row.offset, row.lowest)
            stream(residual(of.high, of.low, e, t), out, k)
    else:
        for k in range(begin, end, n):
            prefetch_to_write(out, k + LINES * n)
            e = exp_shifted(load(z, k) - row.base, row.offset, row.lowest)
            store(residual(of.high, of.low, e, t), out, k)


@inner
def write_stretch(
    z, q, has_probabilities, on, off, options, of, begin, end, out, streamed
):
    """Write the gradient of whole vectors; lines, if streamed."""
    n = lanes(z)
    uniform, smooth, _, _ = options
    if uniform and not has_probabilities:
        t = of.slope * spread(off[0], of.slope) if smooth else of.slope * 0.0
        write_alike(z, of, t, begin, end, out, streamed)
    elif streamed:
        for k in range(begin, end, n):
            g = gradient_at(z, q, has_probabilities, on, off, options, of, k, n)
            stream(g, out, k)
    else:
        for k in range(begin, end, n):
            prefetch_to_write(out, k + LINES * n)
            g = gradient_at(z, q, has_probabilities, on, off, options, of, k, n)
            store(g, out, k)


@inner
def write_gradient(
    z, q, has_probabilities, n_classes, on, off, options, of, out, streamed
):
    """Write the gradient of a row: past the caches if it is ``streamed``."""
    n = lanes(z)
    begin = min(to_next_line(out), n_classes) if streamed else 0
    end = n_classes - (n_classes - begin) % n
    at = begin + (of.y - begin) // n * n
    write_part(z, q, has_probabilities, on, off, options, of, 0, begin, out)
    if begin <= at < end:
        write_stretch(
            z, q, has_probabilities, on, off, options, of, begin, at, out, streamed
        )
        write_part(z, q, has_probabilities, on, off, options, of, at, n, out)
        begin = at + n
    write_stretch(
        z, q, has_probabilities, on, off, options, of, begin, end, out, streamed
    )
    width = n_classes - end
    write_part(z, q, has_probabilities, on, off, options, of, end, width, out)


@inner
def fill_row(value, n_classes, out):
    """Write one number to all of a row."""
    for k in range(n_classes):
        out[k] = value

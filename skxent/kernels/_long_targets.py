"""What targets add to the loss and the gradient of a row of many classes.

Along the row, a vector at a time. Conventions are those of :mod:`skxent.kernels._cpu`;
pointers ``z``, ``q`` and ``out`` lead to the row itself.
"""

import math

from skxent.kernels._groups import read, write
from skxent.kernels._jit import inner
from skxent.kernels._rules import blend, residual
from skxent.kernels._simd import (
    fence,
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
def off_term(z, off, uniform, k, width, z_y):
    """Return ``z_y - z`` of classes from ``k`` on, times ``off_value`` where it varies.

    0 behind the last one.
    """
    x = z_y - read(z, k, width)
    if width < lanes(z):
        x = select(numbers(z_y) < width, x, 0.0)
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


@inner
def gradient_at(z, q, has_probabilities, on, off, options, row, slope, high, low, k, n):
    """Return ``high e + low e - slope t`` of ``n`` classes from ``k`` on.

    Without the ``t`` of a class index.
    """
    uniform, smooth, _, _ = options
    e = exp_shifted(read(z, k, n) - row.base, row.offset, row.lowest)
    t = e * 0.0
    if has_probabilities:
        t = slope * target_values(q, on, off, uniform, k, n, slope)
    elif smooth:
        t = slope * off_values(off, uniform, k, n, slope)
    return residual(high, low, e, t)


@inner
def write_gradient(
    z, q, has_probabilities, n_classes, on, off, options, row, slope, high, low, out
):
    """Write the gradient of a row, but for the ``t`` of a class index."""
    n = lanes(z)
    for k in range(0, n_classes, n):
        width = min(n, n_classes - k)
        prefetch_to_write(out, k + LINES * n)
        g = gradient_at(
            z, q, has_probabilities, on, off, options, row, slope, high, low, k, width
        )
        write(g, out, k, width)


@inner
def stream_gradient(
    z, q, has_probabilities, n_classes, on, off, options, row, slope, high, low, out
):
    """Do as ``write_gradient``, past the caches."""
    n = lanes(z)
    begin = min(to_next_line(out), n_classes)
    end = n_classes - (n_classes - begin) % n
    g = gradient_at(
        z, q, has_probabilities, on, off, options, row, slope, high, low, 0, begin
    )
    store_part(g, out, 0, begin)
    for k in range(begin, end, n):
        g = gradient_at(
            z, q, has_probabilities, on, off, options, row, slope, high, low, k, n
        )
        stream(g, out, k)
    last = n_classes - end
    g = gradient_at(
        z, q, has_probabilities, on, off, options, row, slope, high, low, end, last
    )
    store_part(g, out, end, last)
    fence()


@inner
def fill_row(value, n_classes, out):
    """Write one number to all of a row."""
    for k in range(n_classes):
        out[k] = value

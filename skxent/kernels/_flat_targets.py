"""What targets other than plain indices add to rows as they lie: row by row.

For :mod:`skxent.kernels._flat_rows`, where rows lie side by side. A row is too short to
be added up on its own, so that its partial sums are kept, and added up for as many rows
as a vector has lanes (``_row_sums.py``).

With class indices, smoothing adds ``sum_k off_k (z_y - z_k)``. Probabilities are
measured from a level near the row's ``lse``, a multiple of log 2 that is known once the
exponentials are added up: ``sum_k t_k (level - z_k) + a (lse - level)``. Where the loss
is tiny, or a ``t_k`` negative, the terms nearly cancel, and the group has to go to
:mod:`skxent.kernels._tile_rows`.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`. ``on`` and ``off`` are narrowed and padded, see
:func:`narrow_values`.
"""

from skxent.kernels._batches import MOST_CLASSES
from skxent.kernels._groups import AHEAD, MOST_LANES
from skxent.kernels._jit import inner, merged
from skxent.kernels._long_targets import below_index
from skxent.kernels._row_sums import parts_of_rows, sums_of_rows
from skxent.kernels._rules import blend, residual
from skxent.kernels._simd import (
    advance,
    all_lanes,
    lanes,
    load,
    load_part,
    load_part_beside,
    maximum,
    narrowed,
    prefetch,
    scratch,
    select,
    spread,
    store,
    store_part,
)
from skxent.kernels._vector import joined, two_sum

VALUES_SIZE = MOST_CLASSES + MOST_LANES


@inner
def narrow_values(values, n_classes, near):
    """Write the values of classes as numbers of the logits' dtype, then zeros."""
    n = lanes(near)
    like = spread(0.0, near)
    for k in range(0, n_classes + 1, n):
        some = load_part_beside(values, k, min(n, n_classes - k), 0.0, like)
        store(narrowed(some, like), near, k)


@inner
def smoothing_of(z, off, uniform, k, width, z_y):
    """Return the terms of ``width`` classes from ``k`` on.

    Over ``off_value``, if that of all classes is the same.
    """
    x = below_index(z, k, width, z_y)
    if uniform:
        return x
    t = load(off, k)
    return select(t == 0.0, 0.0, t * x)


@inner
def smoothing_of_row(z, off, uniform, n_classes, z_y):
    """Return such terms of a row, added up to one vector."""
    n = lanes(z)
    whole = n_classes - n_classes % n
    few = whole % (4 * n)
    terms = smoothing_of(z, off, uniform, whole, n_classes - whole, z_y)
    for k in range(0, few, n):
        terms = terms + smoothing_of(z, off, uniform, k, n, z_y)
    lost = terms * 0.0
    for k in range(few, whole, 4 * n):
        a = smoothing_of(z, off, uniform, k, n, z_y)
        b = smoothing_of(z, off, uniform, k + n, n, z_y)
        c = smoothing_of(z, off, uniform, k + 2 * n, n, z_y)
        d = smoothing_of(z, off, uniform, k + 3 * n, n, z_y)
        terms, error = two_sum(terms, (a + b) + (c + d))
        lost = lost + error
    return joined(terms, lost)


@inner
def smoothing_of_group(z, z_ys, off, uniform, n_classes, parts):
    """Return what smoothing adds to the losses of a group of rows, float64.

    Over ``off_value``, if that of all classes is the same.
    """
    n = lanes(z)
    if n_classes <= n:
        for j in range(n):
            z_y = spread(z_ys[j], z)
            row = advance(z, j * n_classes)
            store(smoothing_of(row, off, uniform, 0, n_classes, z_y), parts, j * n)
    else:
        for j in range(n):
            z_y = spread(z_ys[j], z)
            row = advance(z, j * n_classes)
            terms = smoothing_of_row(row, off, uniform, n_classes, z_y)
            store(terms, parts, j * n)
    return sums_of_rows(parts, n)


@inner
def target_of(q, on, off, k, width):
    """Return ``t`` of ``width`` classes from ``k`` on, 0 behind the last one."""
    return blend(load(on, k), load_part(q, k, width, 0.0), load(off, k))


@merged
def terms_of(z, q, on, off, k, width, level):
    """Return ``t`` of classes from ``k`` on, and what they add to the loss."""
    prefetch(q, k + AHEAD * lanes(q))
    t = target_of(q, on, off, k, width)
    return t, select(t == 0.0, 0.0, t * (level - load_part(z, k, width, 0.0)))


@merged
def terms_of_row(z, q, on, off, n_classes, level, least):
    """Return the terms of a row and its ``t``, each added up to one vector.

    And the least ``t`` so far, with the opposite sign.
    """
    n = lanes(z)
    whole = n_classes - n_classes % n
    few = whole % (4 * n)
    mass, terms = terms_of(z, q, on, off, whole, n_classes - whole, level)
    least = maximum(-mass, least)
    for k in range(0, few, n):
        t, term = terms_of(z, q, on, off, k, n, level)
        least = maximum(-t, least)
        mass, terms = mass + t, terms + term
    lost = mass * 0.0
    mass_lost = lost
    for k in range(few, whole, 4 * n):
        t, a = terms_of(z, q, on, off, k, n, level)
        least = maximum(-t, least)
        u, b = terms_of(z, q, on, off, k + n, n, level)
        least = maximum(-u, least)
        v, c = terms_of(z, q, on, off, k + 2 * n, n, level)
        least = maximum(-v, least)
        w, d = terms_of(z, q, on, off, k + 3 * n, n, level)
        least = maximum(-w, least)
        mass, error = two_sum(mass, t + u)
        mass_lost = mass_lost + error
        mass, error = two_sum(mass, v + w)
        mass_lost = mass_lost + error
        terms, error = two_sum(terms, (a + b) + (c + d))
        lost = lost + error
    return mass + mass_lost, joined(terms, lost), least


@inner
def terms_of_group(z, q, on, off, n_classes, level, parts, mass_parts):
    """Return ``mass`` and the terms of a group, float64; true if no ``t`` is negative.

    ``mass`` is in two parts, ``level`` a vector with that of each row.
    """
    n = lanes(z)
    levels = scratch(z, MOST_LANES)
    store(level, levels, 0)
    least = spread(0.0, z)
    if n_classes <= n:
        for j in range(n):
            at = j * n_classes
            row, targets = advance(z, at), advance(q, at)
            t, terms = terms_of(
                row, targets, on, off, 0, n_classes, spread(levels[j], z)
            )
            least = maximum(-t, least)
            store(t, mass_parts, j * n)
            store(terms, parts, j * n)
    else:
        for j in range(n):
            at = j * n_classes
            row, targets = advance(z, at), advance(q, at)
            mass, terms, least = terms_of_row(
                row, targets, on, off, n_classes, spread(levels[j], z), least
            )
            store(mass, mass_parts, j * n)
            store(terms, parts, j * n)
    is_good = level == level
    if not all_lanes(least <= 0.0):
        is_good = level != level
    return parts_of_rows(mass_parts, n), sums_of_rows(parts, n), is_good


@inner
def residuals_of_row(e, q, on, off, n_classes, slope, high, low, has_q, out):
    """Write the gradient of a row, but for the ``t`` of a class index."""
    n = lanes(out)
    whole = n_classes - n_classes % n
    for k in range(0, whole, n):
        t = target_of(q, on, off, k, n) if has_q else load(off, k)
        store(residual(high, low, load(e, k), slope * t), out, k)
    if whole < n_classes:
        width = n_classes - whole
        t = target_of(q, on, off, whole, width) if has_q else load(off, whole)
        g = residual(high, low, load(e, whole), slope * t)
        store_part(g, out, whole, width)


@inner
def residuals_of_short_row(e, t, n_classes, slope, high, low, out):
    """Write the gradient of a row no longer than a vector."""
    g = residual(high, low, load_part(e, 0, n_classes, 0.0), slope * t)
    store_part(g, out, 0, n_classes)


@inner
def residuals_of_group(tile, factors, q, on, off, n_classes, has_q, out):
    """Write the gradients of a group of rows.

    ``factors`` point to ``slope``, ``share`` and ``share_low`` of each.
    """
    slopes, shares, lows = factors
    n = lanes(out)
    for j in range(n):
        at = j * n_classes
        e, g = advance(tile, at), advance(out, at)
        slope, high = spread(slopes[j], out), spread(shares[j], out)
        low = spread(lows[j], out)
        if n_classes > n:
            q_j = advance(q, at)
            residuals_of_row(e, q_j, on, off, n_classes, slope, high, low, has_q, g)
        elif has_q:
            t = target_of(advance(q, at), on, off, 0, n_classes)
            residuals_of_short_row(e, t, n_classes, slope, high, low, g)
        else:
            residuals_of_short_row(e, load(off, 0), n_classes, slope, high, low, g)

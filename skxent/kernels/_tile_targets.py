"""What targets add to rows side by side in a tile, a vector for each class.

For :mod:`skxent.kernels._tile_rows`, in the order in which ``_flat_targets.py`` adds up
the same numbers row by row. Where those terms would nearly cancel they are measured
from the largest logit, and added in an order of their own.

Names are those of :mod:`skxent.kernels._batches`; ``ones`` is how many logits are as
large as the largest. Tiles and ``t`` are those of a group.
"""

from skxent.kernels._jit import inner
from skxent.kernels._row_sums import FOUR, store_parts, sum_in_parts, sum_of_parts
from skxent.kernels._rules import blend
from skxent.kernels._simd import lanes, load, maximum, select, spread, store, widened
from skxent.kernels._vector import accumulate, joined, two_sum


@inner
def off_term(tile, off_value, uniform, k, z_y):
    """Return what smoothing adds for a class, over ``off_value`` if all are alike."""
    x = z_y - load(tile, k * lanes(tile))
    if uniform:
        return x
    t = spread(off_value[k], z_y)
    return select(t == 0.0, 0.0, t * x)


@inner
def smoothing_from_index(tile, n_classes, off_value, uniform, z_y, parts):
    """Return the terms of smoothing, measured from the logit of the index."""
    n = lanes(tile)
    whole = n_classes - n_classes % n
    few = whole % (FOUR * n)
    for j in range(n):
        part = spread(0.0, tile)
        if whole + j < n_classes:
            part = off_term(tile, off_value, uniform, whole + j, z_y)
        for k in range(j, few, n):
            part = part + off_term(tile, off_value, uniform, k, z_y)
        lost = spread(0.0, tile)
        for k in range(few + j, whole, FOUR * n):
            a = off_term(tile, off_value, uniform, k, z_y)
            b = off_term(tile, off_value, uniform, k + n, z_y)
            c = off_term(tile, off_value, uniform, k + 2 * n, z_y)
            d = off_term(tile, off_value, uniform, k + 3 * n, z_y)
            part, error = two_sum(part, (a + b) + (c + d))
            lost = lost + error
        store(joined(part, lost), parts, j * n)
    terms = sum_of_parts(parts)
    return terms * off_value[0] if uniform else terms


@inner
def smoothing_from_largest(tile, n_classes, off_value, m):
    """Return the same measured from the largest logit."""
    n = lanes(tile)
    linear = widened(spread(0.0, tile))
    lost = linear
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            if off_value[k] != 0:
                four = four + (m - load(tile, k * n)) * off_value[k]
        linear, lost = accumulate(four, linear, lost)
    return joined(linear, lost)


@inner
def blend_tile(target_tile, n_classes, on_value, off_value):
    """Turn probabilities into ``t``; return which rows have no negative one."""
    n = lanes(target_tile)
    least = spread(0.0, target_tile)
    for k in range(n_classes):
        t = blend(on_value[k], load(target_tile, k * n), off_value[k])
        least = maximum(-t, least)
        store(t, target_tile, k * n)
    return widened(least) <= 0.0


@inner
def term_of(logits, target_tile, k, level):
    """Return ``t`` of a class, and what it adds to the loss."""
    t = load(target_tile, k * lanes(logits))
    return t, select(t == 0.0, 0.0, t * (level - load(logits, k * lanes(logits))))


@inner
def terms_from_level(logits, target_tile, n_classes, level, parts, masses):
    """Return ``mass`` in two parts, and the terms measured from a level.

    ``masses`` is memory for ``PARTS_SIZE`` float64 numbers, twice.
    """
    n = lanes(logits)
    whole = n_classes - n_classes % n
    few = whole % (FOUR * n)
    for j in range(n):
        mass = spread(0.0, logits)
        terms = mass
        lost = mass
        mass_lost = mass
        if whole + j < n_classes:
            mass, terms = term_of(logits, target_tile, whole + j, level)
        for k in range(j, few, n):
            t, term = term_of(logits, target_tile, k, level)
            mass, terms = mass + t, terms + term
        for k in range(few + j, whole, FOUR * n):
            t, a = term_of(logits, target_tile, k, level)
            u, b = term_of(logits, target_tile, k + n, level)
            v, c = term_of(logits, target_tile, k + 2 * n, level)
            w, d = term_of(logits, target_tile, k + 3 * n, level)
            mass, error = two_sum(mass, t + u)
            mass_lost = mass_lost + error
            mass, error = two_sum(mass, v + w)
            mass_lost = mass_lost + error
            terms, error = two_sum(terms, (a + b) + (c + d))
            lost = lost + error
        store_parts(mass + mass_lost, spread(0.0, level), masses[0], masses[1], j * n)
        store(joined(terms, lost), parts, j * n)
    mass = sum_in_parts(level, masses[0], masses[1])
    return mass, sum_of_parts(parts)


@inner
def terms_from_largest(logits, target_tile, n_classes, m):
    """Return ``mass`` in two parts, and the terms measured from the largest logit."""
    mass = widened(m * 0.0)
    linear = mass
    lost = mass
    mass_lost = mass
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, m)
        mass_of_four = four
        for k in range(begin, min(begin + FOUR, n_classes)):
            t, term = term_of(logits, target_tile, k, m)
            mass_of_four = mass_of_four + t
            four = four + term
        mass, mass_lost = accumulate(mass_of_four, mass, mass_lost)
        linear, lost = accumulate(four, linear, lost)
    mass, mass_low = two_sum(mass, mass_lost)
    return mass, mass_low, joined(linear, lost)


@inner
def sum_apart(tile, logits, n_classes, m):
    """Return the sum of all but the largest exponentials in two parts, and ``ones``."""
    n = lanes(tile)
    ones = spread(0.0, tile)
    rest = widened(ones)
    lost = rest
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            at_max = load(logits, k * n) == m
            ones = select(at_max, ones + 1.0, ones)
            four = select(at_max, four, four + load(tile, k * n))
        rest, lost = accumulate(four, rest, lost)
    rest, lost = two_sum(rest, lost)
    return rest + undefined(m), lost, ones


@inner
def sum_of_tile(tile, n_classes):
    """Return the sum of each row in two parts."""
    n = lanes(tile)
    rest = widened(spread(0.0, tile))
    lost = rest
    for begin in range(0, n_classes, FOUR):
        four = spread(0.0, tile)
        for k in range(begin, min(begin + FOUR, n_classes)):
            four = four + load(tile, k * n)
        rest, lost = accumulate(four, rest, lost)
    return two_sum(rest, lost)


@inner
def undefined(m):
    """Return 0, and nan where the largest logit is no number: there is no softmax."""
    return widened(m * 0.0)

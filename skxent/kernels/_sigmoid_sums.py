"""The sum of the losses of binary targets, where nothing weights them.

All targets have the same mass then, ``t0 + t1``, and the logarithms of many elements
are one: ``sum log(1 + e) = log(1 + s)`` for ``1 + s``, the product of all ``1 + e``.
Kept less 1 it loses no digit of elements whose ``e`` is tiny. Of the elements of a
block it is at most 2**64 in a lane.
"""

from skxent.kernels._groups import AHEAD
from skxent.kernels._half import read_floats, write_floats
from skxent.kernels._jit import inner, rule
from skxent.kernels._rules import binary_targets, blend, sigmoid_residual
from skxent.kernels._simd import (
    all_lanes,
    apart,
    lanes,
    load,
    magnitude,
    muladd,
    prefetch,
    prefetch_to_write,
    select,
    spread,
    store,
    widened,
)
from skxent.kernels._vector import exp_nonpositive, is_finite, log1p

__all__ = ["grown", "sum_evenly", "write_even_slopes"]


@rule
def grown(product, e):
    """Return ``(1 + product) (1 + e) - 1``."""
    return muladd(product, e + 1.0, e)


@inner
def even_terms(p, q, on_share, off_share, i, like):
    """Return what the losses of a group come of."""
    n = lanes(like)
    prefetch(p, i + AHEAD * n)
    prefetch(q, i + AHEAD * n)
    x, wanted = read_floats(p, i, n, like), read_floats(q, i, n, like)
    t = select(x > 0.0, 1.0 - wanted, wanted)
    return magnitude(x), t, exp_nonpositive(-magnitude(x))


@inner
def sum_evenly(p, q, on_share, off_share, i, end, exps):
    """Return the sum of losses in lanes, and whether all is finite.

    The elements are a number of whole pairs of groups; ``exps`` receives their ``e``.
    """
    apart()
    like = load(exps, 0)
    n = lanes(like)
    far = of_all = product = widened(spread(0.0, like))
    for r in range(0, end - i, 2 * n):
        d_1, t_1, e_1 = even_terms(p, q, on_share, off_share, i + r, like)
        d_2, t_2, e_2 = even_terms(p, q, on_share, off_share, i + r + n, like)
        store(e_1, exps, r)
        store(e_2, exps, r + n)
        far = far + widened(muladd(t_1, d_1, t_2 * d_2))
        of_all = of_all + widened(d_1 + d_2)
        product = grown(product, widened(grown(e_1, e_2)))
    loss = on_share * far + off_share * of_all
    loss = loss + (on_share + 2.0 * off_share) * log1p(product)
    return loss, all_lanes(is_finite(loss))


@inner
def write_even_slopes(p, q, on_share, off_share, scale, i, end, exps, gradient):
    """Write the gradient of such elements, all of them finite."""
    n = lanes(exps)
    for r in range(0, end - i, n):
        e = load(exps, r)
        x, wanted = read_floats(p, i + r, n, e), read_floats(q, i + r, n, e)
        t0, t1 = binary_targets(wanted, 1.0, 1.0, on_share, off_share)
        prefetch_to_write(gradient, i + r + AHEAD * n)
        slope = scale * sigmoid_residual(t0, t1, x, e)
        write_floats(slope, gradient, i + r, n)

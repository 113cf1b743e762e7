"""The sum of the losses of binary targets, where nothing weights them.

All targets have the same mass then, ``t0 + t1``, and the logarithms of many elements
are one: ``sum log(1 + e) = log(1 + s)`` for ``1 + s``, the product of all ``1 + e``.
Kept less 1 it loses no digit of elements whose ``e`` is tiny. Of the elements of a
block it is at most 2**128 in a lane.

Where a logit, a target or a loss is not finite, neither is the sum, and elements are
left to who looks at each: a target of 0 has no loss beside an infinite logit.
"""

from skxent.kernels._groups import AHEAD
from skxent.kernels._half import read_floats, write_floats
from skxent.kernels._jit import inner
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
from skxent.kernels._vector import (
    add_to_total,
    exp_nonpositive,
    grown,
    is_finite,
    log1p,
)

__all__ = ["add_evenly"]


@inner
def even_terms(p, q, i, like):
    """Return what the losses of a group come of, its targets not smoothed."""
    n = lanes(like)
    prefetch(p, i + AHEAD * n)
    prefetch(q, i + AHEAD * n)
    x, wanted = read_floats(p, i, n, like), read_floats(q, i, n, like)
    less_likely = select(x > 0.0, 1.0 - wanted, wanted)
    return less_likely, magnitude(x), exp_nonpositive(-magnitude(x))


@inner
def sum_evenly(p, q, on_share, off_share, i, end, exps):
    """Return the sum of losses in lanes; ``exps`` receives the ``e``.

    The elements are whole pairs of groups: half as many numbers become float64, and the
    product waits for half as many factors.
    """
    apart()
    like = load(exps, 0)
    n = lanes(like)
    far = of_all = product = widened(spread(0.0, like))
    for r in range(0, end - i, 2 * n):
        t_1, far_1, e_1 = even_terms(p, q, i + r, like)
        t_2, far_2, e_2 = even_terms(p, q, i + r + n, like)
        store(e_1, exps, r)
        store(e_2, exps, r + n)
        far = far + widened(muladd(t_1, far_1, t_2 * far_2))
        of_all = of_all + widened(far_1 + far_2)
        product = grown(product, widened(grown(e_1, e_2)))
    mass = on_share + 2.0 * off_share
    return blend(on_share, far, off_share * of_all) + mass * log1p(product)


@inner
def write_even_slopes(p, q, on_share, off_share, scale, i, end, exps, gradient):
    """Write the gradient of such elements, which are finite."""
    n = lanes(exps)
    for r in range(0, end - i, n):
        e = load(exps, r)
        x, wanted = read_floats(p, i + r, n, e), read_floats(q, i + r, n, e)
        t0, t1 = binary_targets(wanted, 1.0, 1.0, on_share, off_share)
        prefetch_to_write(gradient, i + r + AHEAD * n)
        slope = scale * sigmoid_residual(t0, t1, x, e)
        write_floats(slope, gradient, i + r, n)


@inner
def add_evenly(
    p,
    q,
    on_share,
    off_share,
    scale,
    i,
    end,
    exps,
    n_gradients,
    gradient,
    sums,
    lost,
):
    """Return the sums over lanes with the losses of a block, and where those end.

    Write the gradient if asked. Those behind the last whole pair of groups are left,
    and all if one is not finite.
    """
    like = load(exps, 0)
    last = end - (end - i) % (2 * lanes(like))
    loss = sum_evenly(p, q, on_share, off_share, i, last, exps)
    if not all_lanes(is_finite(loss)):
        return sums, lost, i
    if n_gradients:
        write_even_slopes(p, q, on_share, off_share, scale, i, last, exps, gradient)
    sums, lost = add_to_total(like, loss, sums, lost)
    return sums, lost, last

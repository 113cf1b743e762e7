r"""Epochs of dual coordinate ascent: rows one after another, each solved in all classes.

The dual of a ridge and a cross-entropy has one distribution :math:`u_i` for each row,
which is the softmax of the row's logits at the optimum. With the others kept, that of
one row minimises, over the simplex,

.. math::
    \sum_k u_k \log u_k - \langle z, u\rangle + \frac{c}{2} \|u - P\|^2

``z`` its logits now, ``P`` its distribution now, ``c`` its curvature, mass times squared
norm over the ridge. Then the coefficients follow: they are linear in all ``u``. See
S. Shalev-Shwartz, T. Zhang, "Stochastic dual coordinate ascent methods for regularized
loss minimization", Journal of Machine Learning Research 14, 2013.

A row's minimum
---------------
``log u_k + c u_k = z_k + c P_k - nu`` with ``nu`` such that they sum to 1. A Newton step
is ``d_k = (z_k + c P_k - nu - log u_k - c u_k) / (1 + c u_k)`` of ``log u_k``. The
equation is concave in ``u`` and convex in ``log u``: ``u (1 + d)`` never overshoots
where ``d`` is positive, nor ``u exp d`` where it is negative. From ``(p + c P) / (1 +
c)``, p the softmax, which is the minimum for small and for large ``c``, two steps leave
1 to 10 % of the possible decrease for ``c`` from 0.1 to 1000, and never raise it.

Conventions
-----------
Lines, entries and ``dense`` are those of :mod:`skxent.kernels._sparse`; lines are rows
of X. ``coef`` (p, K), ``bias`` (K,) and ``shares`` (n, K), the distributions, are of one
dtype.
"""

from skxent.kernels._jit import inner, twins
from skxent.kernels._simd import (
    advance,
    lanes,
    largest,
    load,
    load_part,
    maximum,
    pointer,
    prefetch,
    scratch,
    select,
    spread,
    store,
    store_part,
    total,
)
from skxent.kernels._sparse import gather_line, scatter_line
from skxent.kernels._vector import exp_nonpositive, log

N_STEPS = 2
LOWEST = -60.0  # logits further below the largest count as that, to stay normal numbers
SMALLEST = 1e-30


@inner
def start_of_row(z, shares, c, n_classes, u):
    """Write the start of ``u``; logits become differences to their largest."""
    n = lanes(z)
    top = spread(LOWEST / SMALLEST, z)
    for k in range(0, n_classes, n):
        top = maximum(load(z, k), top)
    top = spread(largest(top), z)
    sums = spread(0.0, z)
    for k in range(0, n_classes, n):
        x = maximum(load(z, k) - top, LOWEST)
        store(x, z, k)
        x = exp_nonpositive(x)
        store(x, u, k)
        sums = sums + x
    p_share = spread(1.0, z) / ((c + 1.0) * total(sums))
    old_share = c / (c + 1.0)
    for k in range(0, n_classes, n):
        store(load(u, k) * p_share + load(shares, k) * old_share, u, k)


@inner
def step_of_row(z, shares, c, n_classes, u):
    """Take a Newton step from ``u``, and make it sum to 1."""
    n = lanes(z)
    weights, weighted = spread(0.0, z), spread(0.0, z)
    for k in range(0, n_classes, n):
        x = load(u, k)
        w = x / (c * x + 1.0)
        weights = weights + w
        weighted = weighted + w * (load(z, k) + c * (load(shares, k) - x) - log(x))
    nu = spread(total(weighted) / total(weights), z)
    sums = spread(0.0, z)
    for k in range(0, n_classes, n):
        x = load(u, k)
        d = load(z, k) + c * (load(shares, k) - x) - log(x) - nu
        d = d / (c * x + 1.0)
        low = maximum(select(d > 0.0, 0.0, d), LOWEST)
        x = maximum(x * select(d > 0.0, d + 1.0, exp_nonpositive(low)), SMALLEST)
        store(x, u, k)
        sums = sums + x
    scale = spread(1.0, z) / spread(total(sums), z)
    for k in range(0, n_classes, n):
        store(load(u, k) * scale, u, k)


@inner
def solve_row(z, shares, c, n_classes, u):
    """Write the distribution that minimises the row; all are whole vectors long."""
    curvature = spread(c, z)
    start_of_row(z, shares, curvature, n_classes, u)
    for _ in range(N_STEPS):
        step_of_row(z, shares, curvature, n_classes, u)


@inner
def ask_for_row(data, indices, begin, end, coef, n_classes):
    """Ask for what a row multiplies."""
    n = lanes(coef)
    for j in range(begin, end):
        at = indices[j] * n_classes
        for k in range(at, at + n_classes, n):
            prefetch(coef, k)


@inner
def copy_row(p, n_classes, fill, out):
    """Copy a row to whole vectors."""
    n = lanes(p)
    for k in range(0, n_classes, n):
        store(load_part(p, k, n_classes - k, fill), out, k)


@inner
def dual_row(
    data, indices, begin, end, last, coef, bias, n_classes, share, mass, c, rates, work
):
    """Solve a row and move the coefficients."""
    n = lanes(coef)
    width = (n_classes + n - 1) // n * n
    z, u, old = work, advance(work, width), advance(work, 2 * width)
    gather_line(data, indices, begin, end, last, coef, n_classes, z)
    for k in range(n_classes):
        z[k] += bias[k]
    copy_row(z, n_classes, 2 * LOWEST / SMALLEST, z)
    copy_row(share, n_classes, 0.0, old)
    solve_row(z, old, c, n_classes, u)
    for k in range(0, n_classes, n):
        x = load(u, k)
        store_part(x, share, k, n_classes - k)
        store((load(old, k) - x) * mass, z, k)
    for k in range(n_classes):
        bias[k] += z[k] * rates[1]
        z[k] *= rates[0]
    scatter_line(data, indices, begin, end, last, z, n_classes, coef)


@twins
def dual_epoch(
    data, indices, starts, order, mass, curvature, rates, coef, bias, shares, work
):
    """Solve the rows in an order, of mass ``mass`` and curvature ``c`` each.

    ``rates`` is what moves the coefficients and the bias with a unit of dual mass.
    """
    n_classes = coef.shape[1]
    for t in range(order.size):
        i = order[t]
        if t + 1 < order.size:
            ahead = order[t + 1]
            ask_for_row(
                pointer(data),
                pointer(indices),
                starts[ahead],
                starts[ahead + 1],
                pointer(coef),
                n_classes,
            )
        if mass[i] == 0:
            continue
        dual_row(
            pointer(data),
            pointer(indices),
            starts[i],
            starts[i + 1],
            indices.size - 1,
            pointer(coef),
            pointer(bias),
            n_classes,
            advance(pointer(shares), i * n_classes),
            mass[i],
            curvature[i],
            pointer(rates),
            pointer(work),
        )

r"""Epochs of dual coordinate ascent: rows one after another, all classes at a time.

The dual of a ridge and a cross-entropy has one distribution :math:`u_i` for each row,
which is the softmax of the row's logits at the optimum. With the others kept, that of
one row minimises, over the simplex,

.. math::
    \sum_k u_k \log u_k - \langle z, u\rangle + \frac{c}{2} \|u - P\|^2

``z`` its logits now, ``P`` its distribution now, ``c`` its curvature: mass times
squared norm over the ridge. The coefficients follow: they are linear in all ``u``. See
S. Shalev-Shwartz, T. Zhang, "Stochastic dual coordinate ascent methods for regularized
loss minimization", Journal of Machine Learning Research 14, 2013.

A row's minimum
---------------
``log u_k + c u_k = z_k + c P_k - nu`` with ``nu`` such that they sum to 1. A Newton
step of ``log u_k`` is ``d_k = (z_k + c P_k - nu - log u_k - c u_k) / (1 + c u_k)``. The
equation is concave in ``u`` and convex in ``log u``: ``u (1 + d)`` never overshoots
where ``d`` is positive, nor ``u exp d`` where it is negative. The start is ``(p + c P)
/ (1 + c)``, p the softmax: the minimum for small and for large ``c``. Two steps from
there left, on average, less than 4 % of the possible decrease for ``c`` from 0.1 to
1000 and 20 classes, and never raised it.

Of two classes the less likely one's share ``u`` is the only unknown, and takes the same
steps: the other's is ``1 - u``. Without sums over lanes a row takes 0.38 us, not 0.5.

Conventions
-----------
Lines and entries are those of :mod:`skxent.kernels._sparse`; lines are rows of X.
``coef`` (p, R), ``bias`` (R,), ``logits`` (n, R) without it, and ``shares`` (n, R), the
distributions, are of one dtype. R is K, or 1 for two classes: the second one's, whose
logit alone is not 0. ``mass`` and ``curvature`` (n,) are float64; a row without mass is
left out. ``target`` (n, R) holds the targets as distributions, float64. ``work`` holds
``4 (K + MOST_LANES)`` numbers.
"""

import numpy as np
from numba import prange

from skxent.kernels._groups import MOST_LANES
from skxent.kernels._jit import alone, inner, twins
from skxent.kernels._simd import (
    advance,
    lanes,
    largest,
    load,
    load_part,
    magnitude,
    maximum,
    muladd,
    pointer,
    prefetch_to_write,
    select,
    spread,
    store,
    store_part,
    total,
)
from skxent.kernels._sparse import ask_for_line, gather_line, scatter_line
from skxent.kernels._vector import exp_nonpositive, log

N_STEPS = 2
LOWEST = -60.0  # logits further below the largest count as that, to stay normal numbers
SMALLEST = 1e-30
UNLIKELY = -1e30  # a logit that no row has
ROWS_AHEAD = 2  # whose entries are asked for in advance


@inner
def start_of_row(z, shares, c, n_classes, u):
    """Write the start of ``u``; logits become differences to their largest."""
    n = lanes(z)
    top = spread(UNLIKELY, z)
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
def as_less_likely(u):
    """Return a share that neither is 0 nor more than one half."""
    return maximum(select(u < 0.5, u, 0.5), SMALLEST)


@inner
def step_of_pair(u, z, share, c):
    """Take a Newton step from the share of the class that is the less likely one."""
    other = -u + 1.0
    d = (z + c * (share - u) - log(u / other)) / (spread(1.0, u) / other + c * u)
    low = maximum(select(d > 0.0, 0.0, d), LOWEST)
    u = u * select(d > 0.0, d + 1.0, exp_nonpositive(low))
    return as_less_likely(u)


@inner
def solve_pair(z, share, c):
    """Return the share of the second class, of two, that minimises the row.

    ``z`` is its logit, ``share`` its share now; ``c (u - share)^2 / 2`` the curvature.
    """
    is_likely = z > c * (-share + 0.5)  # where one half is too little
    z = select(is_likely, -z, z)
    share = select(is_likely, -share + 1.0, share)
    e = exp_nonpositive(maximum(-magnitude(z), LOWEST))
    p = select(z > 0.0, 1.0, e) / (e + 1.0)
    u = as_less_likely((c * share + p) / (c + 1.0))
    for _ in range(N_STEPS):
        u = step_of_pair(u, z, share, c)
    return select(is_likely, -u + 1.0, u)


@inner
def copy_row(p, n_classes, fill, out):
    """Copy a row to whole vectors."""
    n = lanes(p)
    for k in range(0, n_classes, n):
        store(load_part(p, k, n_classes - k, fill), out, k)


@inner
def read_row(z, bias, share, n_columns, old):
    """Add the bias to the logits; make them and the shares whole vectors.

    ``old`` may be where the shares are.
    """
    n = lanes(z)
    if n_columns == 1:
        z[1] = z[0] + bias[0]
        z[0] = bias[0] * 0
        old[1] = share[0]
        old[0] = 1 - old[1]
        copy_row(old, 2, 0.0, old)
        copy_row(z, 2, UNLIKELY, z)
        return
    for k in range(0, n_columns, n):
        left = n_columns - k
        x = load_part(z, k, left, UNLIKELY) + load_part(bias, k, left, 0.0)
        store(x, z, k)
    copy_row(share, n_columns, 0.0, old)


@inner
def move_row(u, old, n_columns, mass, rates, share, bias, move):
    """Write the new shares and the bias, and what moves the coefficients."""
    n = lanes(u)
    for k in range(0, n_columns, n):
        left = n_columns - k
        new = load_part(u, k, left, 0.0)
        pulled = (load_part(old, k, left, 0.0) - new) * spread(mass, u)
        store_part(new, share, k, left)
        moved = load_part(bias, k, left, 0.0) + pulled * spread(rates[1], u)
        store_part(moved, bias, k, left)
        store(pulled * spread(rates[0], u), move, k)


@inner
def dual_row(matrix, begin, end, coef, bias, n_columns, share, mass, c, rates, work):
    """Solve a row and move the coefficients."""
    data, indices, last = matrix
    n = lanes(coef)
    width = (n_columns + n - 1) // n * n
    z, u, old = work, advance(work, width), advance(work, 2 * width)
    gather_line(data, indices, begin, end, last, coef, n_columns, z)
    if n_columns == 1:
        x = spread(z[0] + bias[0], z)
        store(spread(share[0], z), old, 0)
        store(solve_pair(x, load(old, 0), spread(c, z)), u, 0)
    else:
        read_row(z, bias, share, n_columns, old)
        solve_row(z, old, c, n_columns, u)
    move_row(u, old, n_columns, mass, rates, share, bias, z)
    scatter_line(data, indices, begin, end, last, z, n_columns, coef)


@alone
def dual_epoch(
    data, indices, starts, order, mass, curvature, rates, coef, bias, shares, work
):
    """Solve the rows in an order, of mass ``mass`` and curvature ``c`` each.

    ``rates`` is what moves the coefficients and the bias with a unit of dual mass.
    """
    n_columns = coef.shape[1]
    for t in range(order.size):
        i = order[min(t + ROWS_AHEAD, order.size - 1)]
        ask_for_line(pointer(data), pointer(indices), starts[i], starts[i + 1])
        prefetch_to_write(pointer(shares), i * n_columns)
        i = order[t]
        if mass[i] == 0:
            continue
        dual_row(
            (pointer(data), pointer(indices), indices.size - 1),
            starts[i],
            starts[i + 1],
            pointer(coef),
            pointer(bias),
            n_columns,
            advance(pointer(shares), i * n_columns),
            mass[i],
            curvature[i],
            pointer(rates),
            pointer(work),
        )


@inner
def divergence(z, u, n_classes):
    """Return ``sum_k u_k log(u_k / p_k)``, p the softmax, and ``log sum_k exp z_k``.

    Both are whole vectors; the logits are overwritten.
    """
    n = lanes(z)
    top = spread(UNLIKELY, z)
    for k in range(0, n_classes, n):
        top = maximum(load(z, k), top)
    top = spread(largest(top), z)
    sums = spread(0.0, z)
    for k in range(0, n_classes, n):
        x = maximum(load(z, k) - top, LOWEST)
        x = exp_nonpositive(x)
        store(x, z, k)
        sums = sums + x
    whole = spread(total(sums), z)
    scale = spread(1.0, z) / whole
    sums = spread(0.0, z)
    for k in range(0, n_classes, n):
        p = load(z, k) * scale
        x = load(u, k)
        t = (x - p) / p
        # the difference of two numbers that are nearly the same, as a series
        series = muladd(muladd(t, -0.05, 1.0 / 12.0), t, -1.0 / 6.0)
        near = p * t * t * muladd(series, t, 0.5)
        far = x * log(maximum(x, SMALLEST) / p) - (x - p)
        sums = sums + select((t < 0.05) & (t > -0.05), near, far)
    return total(sums), largest(top + log(whole))


@inner
def logits_of_target(z, u, t, bias, n_columns):
    """Return ``<t, z + bias>`` and ``<t - u, z>``."""
    n = lanes(z)
    likely, pull = spread(0.0, z), spread(0.0, z)
    for k in range(0, n_columns, n):
        left = n_columns - k
        x, target = load_part(z, k, left, 0.0), load_part(t, k, left, 0.0)
        likely = muladd(target, x + load_part(bias, k, left, 0.0), likely)
        pull = muladd(target - load_part(u, k, left, 0.0), x, pull)
    return total(likely), total(pull)


@twins
def dual_values(
    first_chunk,
    last_chunk,
    data,
    indices,
    starts,
    coef,
    bias,
    shares,
    target,
    mass,
    chunks,
    sums_out,
):
    """Write, for each chunk of rows, three sums, in float64 but for the products.

    They are the loss, the mass times the divergence of the shares, and the product of
    the logits without bias and what the rows pull them by.
    """
    n_columns = coef.shape[1]
    n_classes = max(2, n_columns)
    for chunk in prange(first_chunk, last_chunk):
        line = np.empty(n_columns + MOST_LANES, coef.dtype)
        work = np.empty(2 * (n_classes + MOST_LANES))
        z, u = pointer(work), advance(pointer(work), n_classes + MOST_LANES)
        loss, gap, pulled = 0.0, 0.0, 0.0
        for i in range(chunks[chunk], chunks[chunk + 1]):
            if mass[i] == 0:
                continue
            gather_line(
                pointer(data),
                pointer(indices),
                starts[i],
                starts[i + 1],
                indices.size - 1,
                pointer(coef),
                n_columns,
                pointer(line),
            )
            for k in range(n_columns):
                z[k], u[k] = line[k], shares[i, k]
            t = advance(pointer(target), i * n_columns)
            likely, pull = logits_of_target(z, u, t, pointer(bias), n_columns)
            read_row(z, pointer(bias), u, n_columns, u)
            distance, lse = divergence(z, u, n_classes)
            loss += mass[i] * (lse - likely)
            gap += mass[i] * distance
            pulled += mass[i] * pull
        sums_out[chunk, 0] = loss
        sums_out[chunk, 1] = gap
        sums_out[chunk, 2] = pulled


@alone
def squared_norms(data, indices, starts, work, norms_out):
    """Write the squared norm of each line.

    ``work`` holds a zero for each place, or nothing if no line names one twice.
    """
    for i in range(norms_out.size):
        square = 0.0
        if not work.size:
            for j in range(starts[i], starts[i + 1]):
                square += data[j] * data[j]
            norms_out[i] = square
            continue
        for j in range(starts[i], starts[i + 1]):
            before = work[indices[j]]
            work[indices[j]] = before + data[j]
            square += data[j] * (data[j] + 2 * before)
        for j in range(starts[i], starts[i + 1]):
            work[indices[j]] = 0
        norms_out[i] = square

"""Cyclic coordinate descent on quadratic models of a loss with an elastic net.

A model is ``<g, d> + d^T H d / 2`` beside the penalty ``l1 |w| + l2 / 2 w^2`` of the
weights ``w = w_0 + d``. The two kernels differ in how they hold ``H``. Each notes by
how much it has lowered model and penalty (``_sweeps.py``).

Conventions
-----------
n rows, q features, R classes. Numbers are float64 unless said otherwise.

J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear
Models via Coordinate Descent", Journal of Statistical Software 33, 2010.
"""

import math

from skxent.kernels._jit import alone, inner
from skxent.kernels._simd import (
    advance,
    lanes,
    load,
    load_beside,
    muladd,
    pointer,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._sweeps import Sweeps, keep, sweep_on, sweeps_of

# Stands for a ridge of 0 where it is divided by.
LEAST_L2 = 1e-200
# Share of a coordinate's curvature that a low-rank correction leaves at least.
LEAST_SHARE = 1e-3


@inner
def descend(w, slope, curvature, l1, l2, low, high):
    """Return what minimises along a coordinate, within limits, and what that gains."""
    steep = curvature + l2
    if steep <= 0.0:
        return w, 0.0
    target = w - slope / steep
    reach = l1 / steep
    new = max(target - reach, 0.0) + min(target + reach, 0.0)
    # max and min hide a nan, which the last term does not
    new = min(max(new, low), high) + 0.0 * (slope + steep)
    d = new - w
    return new, -d * (slope + 0.5 * steep * d) - l1 * (abs(new) - abs(w))


@inner
def enter_class(n, share, proba, moved, mean, force, stiffness, step):
    """Write the residuals of a class's model, and how they change with its logits."""
    for i in range(n):
        force[i] = share[i] * (moved[i] - mean[i])
        stiffness[i] = share[i] * (1.0 - proba[i])
        step[i] = 0.0


@inner
def leave_class(n, proba, moved, mean, step):
    """Add up what the logits of a class have moved."""
    for i in range(n):
        moved[i] += step[i]
        mean[i] += proba[i] * step[i]


@inner
def pull(x, rows, begin, end, force):
    """Return the product of a sparse column with a vector, in four partial sums."""
    a = b = c = d = 0.0
    whole = begin + (end - begin) // 4 * 4
    for e in range(begin, whole, 4):
        a += x[e] * force[rows[e]]
        b += x[e + 1] * force[rows[e + 1]]
        c += x[e + 2] * force[rows[e + 2]]
        d += x[e + 3] * force[rows[e + 3]]
    for e in range(whole, end):
        a += x[e] * force[rows[e]]
    return (a + b) + (c + d)


@inner
def pull_dense(x, n, force):
    """Return the product of a dense column with a vector, in two vectors of sums."""
    a = b = spread(0.0, force)
    width = lanes(a)
    whole = n // (2 * width) * (2 * width)
    for i in range(0, whole, 2 * width):
        j = i + width
        a = muladd(widened(load_beside(x, i, a)), load(force, i), a)
        b = muladd(widened(load_beside(x, j, b)), load(force, j), b)
    rest = 0.0
    for i in range(whole, n):
        rest += x[i] * force[i]
    return total(a + b) + rest


@inner
def move(x, rows, begin, end, d, stiffness, force, step):
    """Add ``d`` times a sparse column to the logits."""
    for e in range(begin, end):
        i = rows[e]
        moved = d * x[e]
        step[i] += moved
        force[i] += stiffness[i] * moved


@inner
def move_dense(x, n, d, stiffness, force, step):
    """Add ``d`` times a dense column to the logits."""
    width = lanes(spread(0.0, force))
    whole = n // width * width
    for i in range(0, whole, width):
        old = load(step, i)
        moved = widened(load_beside(x, i, old)) * d
        store(old + moved, step, i)
        store(muladd(load(stiffness, i), moved, load(force, i)), force, i)
    for i in range(whole, n):
        step[i] += d * x[i]
        force[i] += stiffness[i] * (d * x[i])


@inner
def move_intercept(n, slope, stiffness, force, step):
    """Minimise along an intercept; return its step and what that gains."""
    curvature = 0.0
    for i in range(n):
        slope += force[i]
        curvature += stiffness[i]
    if not curvature > 0.0:
        return 0.0, 0.0
    d = -slope / curvature
    for i in range(n):
        step[i] += d
        force[i] += stiffness[i] * d
    return d, -0.5 * slope * d


@inner
def squares(x, rows, begin, end, stiffness):
    """Return the sum of the squares of a sparse column, weighted."""
    sum_of_squares = 0.0
    for e in range(begin, end):
        sum_of_squares += x[e] * x[e] * stiffness[rows[e]]
    return sum_of_squares


@inner
def squares_dense(x, n, stiffness):
    """Return the sum of the squares of a dense column, weighted."""
    sums = spread(0.0, stiffness)
    width = lanes(sums)
    whole = n // width * width
    for i in range(0, whole, width):
        column = widened(load_beside(x, i, sums))
        sums = muladd(column * column, load(stiffness, i), sums)
    rest = 0.0
    for i in range(whole, n):
        rest += x[i] * x[i] * stiffness[i]
    return total(sums) + rest


@alone
def derivatives(
    data,
    indices,
    starts,
    is_dense,
    features,
    classes,
    residual,
    share,
    proba,
    stiffness,
    slope,
    curvature,
):
    """Write the slope of the loss along coordinates, and its curvature.

    Arguments as those of ``descend_rows``.
    """
    n = proba.shape[1]
    x, rows, h = pointer(data), pointer(indices), pointer(stiffness)
    for k in range(classes.size - 1):
        r = advance(pointer(residual), k * n)
        for i in range(n):
            stiffness[i] = share[k, i] * (1.0 - proba[k, i])
        for c in range(classes[k], classes[k + 1]):
            begin, end = starts[features[c]], starts[features[c] + 1]
            if is_dense:
                slope[c] = pull_dense(advance(x, begin), n, r)
                curvature[c] = squares_dense(advance(x, begin), n, h)
            else:
                slope[c] = pull(x, rows, begin, end, r)
                curvature[c] = squares(x, rows, begin, end, h)


@alone
def descend_rows(
    data,
    indices,
    starts,
    is_dense,
    features,
    classes,
    slope,
    curvature,
    start,
    limits,
    weights,
    intercept_slope,
    intercept,
    share,
    proba,
    moved,
    mean,
    force,
    stiffness,
    step,
    l1,
    l2,
    precision,
    max_sweeps,
    state,
    most_work,
):
    """Descend where ``H = sum_i h_i (diag p_i - p_i p_i^T) (x) x_i x_i^T``.

    The columns are those of a CSC matrix, or dense ones one behind the other, where
    ``indices`` is not read. Coordinate ``c`` of class ``k``, for ``c`` in
    ``classes[k]:classes[k + 1]``, belongs to column ``features[c]``; it stays within
    ``limits[c]`` of ``start[c]``, where ``weights[c]`` begins. ``share`` is
    ``h_i p_ik``, (R, n) as ``proba`` and ``moved``, by how much the logits have moved,
    which starts at 0 as does ``mean``, the mean of ``moved`` under ``proba``. The next
    three (n,) are scratch.

    ``state`` is that of :func:`sweeps_of`. Return whether all is done: after
    ``most_work`` numbers the caller is to call again, with all that was written.
    """
    n = mean.size
    x, rows = pointer(data), pointer(indices)
    f, h, u = pointer(force), pointer(stiffness), pointer(step)
    t = pointer(mean)
    sweeps = sweeps_of(state)
    everywhere, gain = sweeps.everywhere, sweeps.gain
    gained_in_all = sweeps.gained_in_all
    work = done = 0
    for sweep in range(sweeps.done, max_sweeps):
        for k in range(sweeps.place if sweep == sweeps.done else 0, classes.size - 1):
            if work > most_work:
                keep(state, Sweeps(sweep, k, everywhere, gain, gained_in_all))
                return False
            work += 4 * n
            p = advance(pointer(proba), k * n)
            z = advance(pointer(moved), k * n)
            enter_class(n, advance(pointer(share), k * n), p, z, t, f, h, u)
            if intercept.size:
                d, gained = move_intercept(n, intercept_slope[k], h, f, u)
                intercept[k] += d
                gain += gained
            for c in range(classes[k], classes[k + 1]):
                w = weights[c]
                if w == 0.0 and not everywhere:
                    continue
                begin, end = starts[features[c]], starts[features[c] + 1]
                work += end - begin if not is_dense else n
                g = slope[c] + l2 * w
                if is_dense:
                    g += pull_dense(advance(x, begin), n, f)
                else:
                    g += pull(x, rows, begin, end, f)
                low, high = start[c] - limits[c], start[c] + limits[c]
                new, gained = descend(w, g, curvature[c], l1, l2, low, high)
                if new != w:
                    d = new - w
                    if is_dense:
                        move_dense(advance(x, begin), n, d, h, f, u)
                    else:
                        move(x, rows, begin, end, d, h, f, u)
                    weights[c] = new
                    gain += gained
            leave_class(n, p, z, t, u)
        gained_in_all += gain
        done = sweep + 1
        again, everywhere = sweep_on(everywhere, gain, gained_in_all, precision)
        gain = 0.0
        if not again:
            break
    keep(state, Sweeps(done, 0, everywhere, gain, gained_in_all))
    return True


@inner
def best_shift(weights, j, l1, l2, places):
    """Return what to take from all weights of a feature for the least penalty.

    It is a median: Y. Li, S. Osher, "A new median formula with applications to PDE
    based denoising", Communications in Mathematical Sciences 7, 2009.
    """
    n = weights.shape[1]
    total = 0.0
    zeros = excess = 0
    for k in range(n):
        w = weights[j, k]
        total += w
        zeros += w == 0.0
        excess += (w > 0.0) - (w < 0.0)
    if abs(l1 * excess + l2 * total) <= l1 * zeros:
        return 0.0
    step = l1 / (n * max(l2, LEAST_L2))
    for k in range(2 * n + 1):
        place = weights[j, k] if k < n else total / n + step * (3 * n - 2 * k)
        m = k
        while m > 0 and places[m - 1] > place:
            places[m] = places[m - 1]
            m -= 1
        places[m] = place
    return places[n]


@inner
def penalty_of(weights, j, l1, l2):
    """Return the penalty of the weights of a feature."""
    penalty = 0.0
    for k in range(weights.shape[1]):
        w = weights[j, k]
        penalty += l1 * abs(w) + 0.5 * l2 * w * w
    return penalty


@inner
def shift_feature(weights, j, l1, l2, places):
    """Shift the weights of a feature for the least penalty; return what that gains."""
    shift = best_shift(weights, j, l1, l2, places)
    if shift == 0.0:
        return 0.0
    before = penalty_of(weights, j, l1, l2)
    for k in range(weights.shape[1]):
        weights[j, k] -= shift
    return before - penalty_of(weights, j, l1, l2)


@alone
def shift_features(weights, l1, l2, places):
    """Shift the weights of each feature for the least penalty; return what that gains.

    ``places`` is scratch for ``2 R + 1`` numbers.
    """
    gain = 0.0
    for j in range(weights.shape[0]):
        gain += shift_feature(weights, j, l1, l2, places)
    return gain


@alone
def descend_moments(
    slope,
    classes,
    moments,
    low_rank,
    answers,
    weights,
    moved,
    shares,
    places,
    n_free,
    l1,
    l2,
    precision,
    max_sweeps,
    state,
    most_work,
):
    """Descend where ``H = A (x) B + U V^T``.

    ``classes`` is A (R, R), whose rows sum to 0 unless R is 1, ``moments`` B (q, q),
    ``low_rank`` U and ``answers`` V (q, R, m), ``slope`` and ``weights`` (q, R). The
    last ``n_free`` features carry no penalty. ``moved`` (R, q) and ``shares`` (m,) are
    ``d^T B`` and ``V^T d``, which start at 0. The last two, and what is returned, are
    as for ``descend_rows``.
    """
    q, n = weights.shape
    m = low_rank.shape[2]
    sweeps = sweeps_of(state)
    everywhere, gain = sweeps.everywhere, sweeps.gain
    gained_in_all = sweeps.gained_in_all
    work = done = 0
    for sweep in range(sweeps.done, max_sweeps):
        for j in range(sweeps.place if sweep == sweeps.done else 0, q):
            if work > most_work:
                keep(state, Sweeps(sweep, j, everywhere, gain, gained_in_all))
                return False
            work += n * (n + m)
            free = j >= q - n_free
            a, b = (0.0, 0.0) if free else (l1, l2)
            touched = False
            for k in range(n):
                w = weights[j, k]
                if w == 0.0 and not everywhere:
                    continue
                g = slope[j, k] + b * w
                for o in range(n):
                    g += classes[k, o] * moved[o, j]
                h = classes[k, k] * moments[j, j]
                for r in range(m):
                    g += low_rank[j, k, r] * shares[r]
                    h += low_rank[j, k, r] * answers[j, k, r]
                h = max(h, LEAST_SHARE * classes[k, k] * moments[j, j])
                new, gained = descend(w, g, h, a, b, -math.inf, math.inf)
                if new != w:
                    d = new - w
                    weights[j, k] = new
                    gain += gained
                    touched = True
                    work += q
                    for i in range(q):
                        moved[k, i] += d * moments[j, i]
                    for r in range(m):
                        shares[r] += d * answers[j, k, r]
            if touched and n > 1 and not free:
                gain += shift_feature(weights, j, l1, l2, places)
        gained_in_all += gain
        done = sweep + 1
        again, everywhere = sweep_on(everywhere, gain, gained_in_all, precision)
        gain = 0.0
        if not again:
            break
    keep(state, Sweeps(done, 0, everywhere, gain, gained_in_all))
    return True

"""Binary targets: one logit or one probability to an element.

Conventions
-----------
- ``logits``, ``probabilities`` (n,), contiguous, float32 or float64; ``target`` (n,) of
  that dtype.
- ``weight``, ``pos_weight`` float64 of any length P: element ``f`` has entry ``f % P``.
  So a number, an entry per class and an entry per element are all read as they are.
- ``q' = on_share q + off_share`` is the smoothed target, and ``1 - q'`` is made from
  ``1 - q`` in the same way. ``t1 = weight pos_weight q'``, ``t0 = weight (1 - q')``.
- ``loss_out`` (n,) of the logits' dtype receives the losses; (0,) for none.
- ``partial_out`` (n_chunks,) float64 receives one sum of losses per chunk of
  ``chunk_size`` elements, the same bits for any number of threads.
- ``gradient_out`` (n,) receives ``scale`` times the gradient of the sum; (0,) for none.
  It may be ``logits`` itself: a vector is read before it is written.
- Arithmetic is in the logits' dtype, sums are float64.
- ``sigmoid_losses`` takes float16 as well, viewed as int16: all that have the logits'
  dtype. ``target`` and ``loss_out`` may be float32 then. Arithmetic is in float32.

Elements are taken a vector at a time, the last ones as part of one. Weights that are
not one number are copied in blocks, their period unrolled. Of blocks without weights
whose losses are added up :mod:`skxent.kernels._sigmoid_sums` does most.
"""

import math

from numba import prange

from skxent.kernels._groups import AHEAD, MOST_LANES, read, write
from skxent.kernels._half import read_floats, write_floats
from skxent.kernels._jit import inner, twins
from skxent.kernels._rules import (
    bernoulli_loss,
    bernoulli_slope,
    binary_targets,
    blend,
    defined,
    sigmoid_curvature,
    sigmoid_loss,
    sigmoid_residual,
)
from skxent.kernels._sigmoid_sums import add_evenly
from skxent.kernels._simd import (
    computed,
    lanes,
    load,
    load_part,
    magnitude,
    pointer,
    prefetch,
    prefetch_to_write,
    scratch,
    select,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._vector import (
    LOG_2,
    accumulate,
    exp_nonpositive,
    joined,
    log1p,
    log1p_of_fraction,
)

GROUPS = 128  # of a block
MOST = GROUPS * MOST_LANES  # elements of a block
SHIFT = 64 * LOG_2


@inner
def fill_periodic(values, first, size, block):
    """Write the entries of the elements from ``first`` on to a block of a size."""
    period = values.size
    if period == 1:
        for r in range(size):
            block[r] = values[0]
        return
    start = first % period
    done = 0
    while done < size:
        run = min(period - start, size - done)
        for r in range(run):
            block[done + r] = values[start + r]
        done += run
        start = 0


@inner
def weights_of_block(n, begin, end):
    """Return how many weights the blocks of a chunk need, whole vectors."""
    return min(GROUPS, (end - begin + n - 1) // n) * n


@inner
def are_ones(values):
    """Return whether the entry of all elements is 1."""
    return values.size == 1 and values[0] == 1.0


@inner
def add_losses(loss, width, sums, lost):
    """Return the sums over lanes with the losses of the first lanes added."""
    if width < lanes(loss):
        some = scratch(loss, 16)
        store(loss, some, 0)
        loss = load_part(some, 0, width, 0.0)
    return accumulate(loss, sums, lost)


@inner
def sigmoid_chunk(
    logits,
    target,
    weight,
    pos_weight,
    on_share,
    off_share,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
):
    """Return the sum of the losses of ``begin:end``; write what is asked for."""
    p, q = pointer(logits), pointer(target)
    losses, gradient = pointer(loss_out), pointer(gradient_out)
    n_losses, n_gradients = loss_out.size, gradient_out.size
    like = computed(p)
    w, w1, exps = scratch(like, MOST), scratch(like, MOST), scratch(like, MOST)
    n = lanes(like)
    block = GROUPS * n
    size = weights_of_block(n, begin, end)
    sums = widened(like)
    lost = sums
    is_even = are_ones(weight) and are_ones(pos_weight) and not n_losses
    for first in range(begin, end, block):
        if weight.size > 1 or first == begin:
            fill_periodic(weight, first, size, w)
        if pos_weight.size > 1 or first == begin:
            fill_periodic(pos_weight, first, size, w1)
        last = min(first + block, end)
        rest = first
        if is_even:
            sums, lost, rest = add_evenly(
                p,
                q,
                on_share,
                off_share,
                scale,
                first,
                last,
                exps,
                n_gradients,
                gradient,
                sums,
                lost,
            )
        for i in range(rest, last, n):
            prefetch(p, i + AHEAD * n)
            x = read_floats(p, i, min(n, end - i), like)
            store(exp_nonpositive(-magnitude(defined(x))), exps, i - first)
        for i in range(rest, last, n):
            r = i - first
            width = min(n, end - i)
            prefetch(q, i + AHEAD * n)
            x = defined(read_floats(p, i, width, like))
            wanted = read_floats(q, i, width, like)
            t0, t1 = binary_targets(
                wanted, load(w, r), load(w1, r), on_share, off_share
            )
            e = load(exps, r)
            loss = sigmoid_loss(t0, t1, x, log1p_of_fraction(e))
            sums, lost = add_losses(loss, width, sums, lost)
            if n_losses:
                write_floats(loss, losses, i, width)
            if n_gradients:
                prefetch_to_write(gradient, i + AHEAD * n)
                slope = scale * sigmoid_residual(t0, t1, x, e)
                write_floats(slope, gradient, i, width)
    return total(joined(sums, lost))


@twins
def sigmoid_losses(
    first_chunk,
    last_chunk,
    logits,
    target,
    weight,
    pos_weight,
    on_share,
    off_share,
    scale,
    chunk_size,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sums of losses per chunk; losses and gradient if asked for."""
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * chunk_size
        partial_out[chunk] = sigmoid_chunk(
            logits,
            target,
            weight,
            pos_weight,
            on_share,
            off_share,
            scale,
            begin,
            min(begin + chunk_size, logits.size),
            loss_out,
            gradient_out,
        )


@inner
def curvature_chunk(
    logits,
    target,
    weight,
    pos_weight,
    on_share,
    off_share,
    vector,
    scale,
    begin,
    end,
    product_out,
):
    """Write ``scale (t0 + t1) p (1 - p) v`` for the elements ``begin:end``."""
    p, q, v = pointer(logits), pointer(target), pointer(vector)
    out = pointer(product_out)
    w, w1 = scratch(p, MOST), scratch(p, MOST)
    n = lanes(p)
    block = GROUPS * n
    size = weights_of_block(n, begin, end)
    for first in range(begin, end, block):
        if weight.size > 1 or first == begin:
            fill_periodic(weight, first, size, w)
        if pos_weight.size > 1 or first == begin:
            fill_periodic(pos_weight, first, size, w1)
        for r in range(0, min(block, end - first), n):
            i = first + r
            width = min(n, end - i)
            t0, t1 = binary_targets(
                read(q, i, width), load(w, r), load(w1, r), on_share, off_share
            )
            e = exp_nonpositive(-magnitude(defined(read(p, i, width))))
            product = sigmoid_curvature(t0 + t1, e, read(v, i, width))
            write(scale * product, out, i, width)


@twins
def sigmoid_curvatures(
    first_chunk,
    last_chunk,
    logits,
    target,
    weight,
    pos_weight,
    on_share,
    off_share,
    vector,
    scale,
    chunk_size,
    product_out,
):
    """Write the product of the Hessian, which is diagonal, with ``vector`` (n,)."""
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * chunk_size
        curvature_chunk(
            logits,
            target,
            weight,
            pos_weight,
            on_share,
            off_share,
            vector,
            scale,
            begin,
            min(begin + chunk_size, logits.size),
            product_out,
        )


@inner
def surprise(p, rest):
    """Return ``-log p`` for ``rest = 1 - p``: no digit is lost near 1, nor near 0."""
    tiny = p < 2.0**-64
    odds = rest / select(tiny, p * 2.0**64, p)
    log = log1p(select(tiny, odds - 1.0, odds)) + select(tiny, p * 0.0 + SHIFT, 0.0)
    return select(p == 0.0, math.inf, log)


@inner
def bernoulli_chunk(
    probabilities,
    target,
    weight,
    on_share,
    off_share,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
):
    """Return the sum of the losses of ``begin:end``; write what is asked for."""
    p, q = pointer(probabilities), pointer(target)
    losses, gradient = pointer(loss_out), pointer(gradient_out)
    w = scratch(p, MOST)
    n = lanes(p)
    block = GROUPS * n
    size = weights_of_block(n, begin, end)
    sums = widened(spread(0.0, p))
    lost = sums
    for first in range(begin, end, block):
        if weight.size > 1 or first == begin:
            fill_periodic(weight, first, size, w)
        for r in range(0, min(block, end - first), n):
            i = first + r
            width = min(n, end - i)
            prefetch(p, i + AHEAD * n)
            prefetch(q, i + AHEAD * n)
            share, wanted = read(p, i, width), read(q, i, width)
            t0, t1 = binary_targets(wanted, load(w, r), 1.0, on_share, off_share)
            s0, s1 = surprise(1.0 - share, share), surprise(share, 1.0 - share)
            loss = bernoulli_loss(t0, t1, s0, s1)
            sums, lost = add_losses(loss, width, sums, lost)
            if loss_out.size:
                write(loss, losses, i, width)
            if gradient_out.size:
                slope = bernoulli_slope(share, blend(on_share, wanted, off_share))
                write(scale * load(w, r) * slope, gradient, i, width)
    return total(joined(sums, lost))


@twins
def bernoulli_losses(
    first_chunk,
    last_chunk,
    probabilities,
    target,
    weight,
    on_share,
    off_share,
    scale,
    chunk_size,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sums of losses per chunk; losses and gradient if asked for."""
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * chunk_size
        partial_out[chunk] = bernoulli_chunk(
            probabilities,
            target,
            weight,
            on_share,
            off_share,
            scale,
            begin,
            min(begin + chunk_size, probabilities.size),
            loss_out,
            gradient_out,
        )

"""Binary targets: one logit or one probability to an element, a block at a time.

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
  It may be ``logits`` itself: a block is read before it is written.
- Arithmetic and sums are float64 whatever the dtype.

A block is passed over in short loops on purpose: the exponential and the logarithm in
one loop take longer than in two.
"""

import math

import numpy as np
from numba import float64, prange

from skxent.kernels._jit import inner, twins
from skxent.kernels._long_rows import BLOCK, tree_sum
from skxent.kernels._rules import (
    bernoulli_loss,
    bernoulli_slope,
    blend,
    defined,
    odds,
    sigmoid_curvature,
    sigmoid_loss,
    sigmoid_residual,
)
from skxent.kernels._vector import exp_nonpositive, log1p_nonnegative


@inner
def fill_periodic(values, first, block):
    """Write the entries of the elements from ``first`` on to the whole block."""
    period = values.size
    done = 0
    while done < BLOCK:
        start = (first + done) % period
        run = min(period - start, BLOCK - done)
        for r in range(run):
            block[done + r] = values[start + r]
        done += run


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
    x = np.empty(BLOCK)
    e = np.empty(BLOCK)
    t0 = np.empty(BLOCK)
    t1 = np.empty(BLOCK)
    loss = np.empty(BLOCK)
    w = np.empty(BLOCK)
    w1 = np.empty(BLOCK)
    total = 0.0
    for first in range(begin, end, BLOCK):
        width = min(BLOCK, end - first)
        if weight.size > 1 or first == begin:
            fill_periodic(weight, first, w)
        if pos_weight.size > 1 or first == begin:
            fill_periodic(pos_weight, first, w1)
        for r in range(width):
            x[r] = defined(float64(logits[first + r]))
            q = float64(target[first + r])
            t1[r] = w[r] * w1[r] * blend(on_share, q, off_share)
            t0[r] = w[r] * blend(on_share, 1.0 - q, off_share)
        for r in range(width):
            e[r] = exp_nonpositive(-math.fabs(x[r]))
        for r in range(width):
            loss[r] = sigmoid_loss(t0[r], t1[r], x[r], log1p_nonnegative(e[r]))
        if loss_out.size:
            for r in range(width):
                loss_out[first + r] = loss[r]
        if gradient_out.size:
            for r in range(width):
                slope = sigmoid_residual(t0[r], t1[r], x[r], e[r])
                gradient_out[first + r] = scale * slope
        total += tree_sum(loss, width)
    return total


@twins
def sigmoid_losses(
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
    for chunk in prange(partial_out.size):
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
    w = np.empty(BLOCK)
    w1 = np.empty(BLOCK)
    for first in range(begin, end, BLOCK):
        width = min(BLOCK, end - first)
        if weight.size > 1 or first == begin:
            fill_periodic(weight, first, w)
        if pos_weight.size > 1 or first == begin:
            fill_periodic(pos_weight, first, w1)
        for r in range(width):
            q = float64(target[first + r])
            share = w1[r] * blend(on_share, q, off_share)
            mass = w[r] * (share + blend(on_share, 1.0 - q, off_share))
            e = exp_nonpositive(-math.fabs(defined(float64(logits[first + r]))))
            product = sigmoid_curvature(mass, e, float64(vector[first + r]))
            product_out[first + r] = scale * product


@twins
def sigmoid_curvatures(
    logits,
    target,
    weight,
    pos_weight,
    on_share,
    off_share,
    vector,
    scale,
    n_chunks,
    chunk_size,
    product_out,
):
    """Write the product of the Hessian, which is diagonal, with ``vector`` (n,)."""
    for chunk in prange(n_chunks):
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
    p = np.empty(BLOCK)
    t0 = np.empty(BLOCK)
    t1 = np.empty(BLOCK)
    s0 = np.empty(BLOCK)
    loss = np.empty(BLOCK)
    w = np.empty(BLOCK)
    total = 0.0
    for first in range(begin, end, BLOCK):
        width = min(BLOCK, end - first)
        if weight.size > 1 or first == begin:
            fill_periodic(weight, first, w)
        for r in range(width):
            p[r] = float64(probabilities[first + r])
            q = float64(target[first + r])
            t1[r] = w[r] * blend(on_share, q, off_share)
            t0[r] = w[r] * blend(on_share, 1.0 - q, off_share)
        for r in range(width):
            s0[r] = log1p_nonnegative(odds(p[r], 1.0 - p[r]))
        for r in range(width):
            s1 = log1p_nonnegative(odds(1.0 - p[r], p[r]))
            loss[r] = bernoulli_loss(t0[r], t1[r], s0[r], s1)
        if loss_out.size:
            for r in range(width):
                loss_out[first + r] = loss[r]
        if gradient_out.size:
            for r in range(width):
                q = blend(on_share, float64(target[first + r]), off_share)
                gradient_out[first + r] = scale * w[r] * bernoulli_slope(p[r], q)
        total += tree_sum(loss, width)
    return total


@twins
def bernoulli_losses(
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
    for chunk in prange(partial_out.size):
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

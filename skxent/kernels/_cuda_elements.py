"""CUDA kernels of binary targets: one logit or one probability to an element.

Conventions are those of :mod:`skxent.kernels._cuda` and, for the targets, those of
:mod:`skxent.kernels._sigmoid`; ``options`` holds the scale, ``on_share`` and
``off_share`` in the dtype that is computed with.

A block has ``block * n_parts * lanes`` neighbouring elements, ``lanes`` to 16 bytes.
``loss_out`` is of dtype ``real`` if losses are to be added up, else of that of memory.
``partial_out`` (n_blocks, 2) receives the sum of its losses, and how many of its
probabilities are none.
"""

import math

from numba import cuda, float64

from skxent.kernels._cuda_groups import WARP, group_sum
from skxent.kernels._cuda_memory import (
    WIDTH,
    pointer_to,
    read_one,
    read_wide,
    write_one,
    write_wide,
)
from skxent.kernels._jit import rule
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

__all__ = ["CURVATURE", "LOGITS", "PROBABILITIES", "elements_loss"]

# What is computed: the loss of logits, the loss of probabilities, the curvature of the
# first times a vector.
LOGITS, PROBABILITIES, CURVATURE = range(3)


@rule
def read_elements(p, i, size, lanes, own, zero):
    """Read the elements from ``i`` on that exist, zeros for others."""
    if i + lanes <= size:
        read_wide(p, i, own, 0)
    else:
        for lane in range(lanes):
            own[lane] = read_one(p, i + lane) if i + lane < size else zero


@rule
def write_elements(own, p, i, size, lanes):
    """Write the elements from ``i`` on that exist."""
    if i + lanes <= size:
        write_wide(own, 0, p, i)
    else:
        for lane in range(lanes):
            if i + lane < size:
                write_one(own[lane], p, i + lane)


@rule
def loss_and_slope(kind, x, q, v, weight, pos_weight, on_share, off_share):
    """Return the loss of an element, and its slope or its curvature times ``v``."""
    t0, t1 = binary_targets(q, weight, pos_weight, on_share, off_share)
    if kind == PROBABILITIES:
        zero = v - v
        loss = bernoulli_loss(t0, t1, zero - math.log1p(-x), zero - math.log(x))
        return loss, weight * bernoulli_slope(x, blend(on_share, q, off_share))
    x = defined(x)
    e = math.exp(-math.fabs(x))
    if kind == CURVATURE:
        product = sigmoid_curvature(t0 + t1, e, v)
        return product, product
    loss = sigmoid_loss(t0, t1, x, math.log1p(e))
    return loss, sigmoid_residual(t0, t1, x, e)


def elements_loss(
    memory, real, n_parts, block, kind, has_gradient, has_real_losses=False
):
    """Return the kernel of losses and gradient, or of the product with a vector.

    ``memory`` is the numba type of arrays, ``real`` that which is computed with.
    """
    lanes = WIDTH * 8 // memory.bitwidth
    n_warps = max(1, block // WARP)

    def kernel(
        values,
        target,
        weight,
        pos_weight,
        vector,
        options,
        loss_out,
        partial_out,
        gradient_out,
        size,
        n_weights,
        n_pos_weights,
        is_per_element,
    ):
        weights, pos_weights = pointer_to(weight, real), pointer_to(pos_weight, real)
        shared_losses = cuda.shared.array(n_warps, float64)
        own = cuda.local.array(lanes, real)
        own_q = cuda.local.array(lanes, real)
        own_v = cuda.local.array(lanes, real)
        losses = cuda.local.array(lanes, real)
        zero, one = real(0), real(1)
        scale = read_one(pointer_to(options, real), 0)
        on_share = read_one(pointer_to(options, real), 1)
        off_share = read_one(pointer_to(options, real), 2)

        total, wrong = float64(zero), float64(zero)
        for part in range(n_parts):
            i = (cuda.blockIdx.x * n_parts + part) * block + cuda.threadIdx.x
            i *= lanes
            if i < size:
                read_elements(pointer_to(values, memory), i, size, lanes, own, zero)
                read_elements(pointer_to(target, memory), i, size, lanes, own_q, zero)
                if kind == CURVATURE:
                    read_elements(
                        pointer_to(vector, memory), i, size, lanes, own_v, zero
                    )
                w = i % n_weights if n_weights > 1 else 0
                w1 = i % n_pos_weights if n_pos_weights > 1 else 0
                of_part, wrong_in_part = zero, zero
                for lane in range(lanes):
                    if kind == PROBABILITIES and i + lane < size:
                        if own[lane] < 0 or own[lane] > 1:
                            wrong_in_part += one
                    v = own_v[lane] if kind == CURVATURE else one
                    loss, slope = loss_and_slope(
                        kind,
                        own[lane],
                        own_q[lane],
                        v,
                        read_one(weights, w),
                        read_one(pos_weights, w1),
                        on_share,
                        off_share,
                    )
                    of_part += loss if i + lane < size else zero
                    losses[lane] = loss
                    own[lane] = scale * slope
                    w = w + 1 if w + 1 < n_weights else 0
                    w1 = w1 + 1 if w1 + 1 < n_pos_weights else 0
                total += float64(of_part)
                wrong += float64(wrong_in_part)
                if is_per_element:
                    if has_real_losses:
                        out = pointer_to(loss_out, real)
                        for lane in range(lanes):
                            if i + lane < size:
                                write_one(losses[lane], out, i + lane)
                    else:
                        write_elements(
                            losses, pointer_to(loss_out, memory), i, size, lanes
                        )
                if has_gradient:
                    write_elements(
                        own, pointer_to(gradient_out, memory), i, size, lanes
                    )
        if kind != CURVATURE:
            partial = pointer_to(partial_out, float64)
            total = group_sum(total, block, shared_losses)
            wrong = group_sum(wrong, block, shared_losses)
            if cuda.threadIdx.x == 0:
                write_one(total, partial, 2 * cuda.blockIdx.x)
                write_one(wrong, partial, 2 * cuda.blockIdx.x + 1)

    return kernel

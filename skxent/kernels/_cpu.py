"""CPU kernels: loss, loss with gradient, and curvature product of softmax rows.

Conventions
-----------
- ``logits`` (n, K), C-contiguous, float32 or float64. ``target`` (n,) int64 class
  indices or (n, K) probabilities of the logits' dtype.
- ``on_value``, ``off_value`` (K,) float64: ``t_k = on_value_k q_k + off_value_k``.
- ``row_weight`` (n,) float64, or (0,) for ones. A row of weight 0 is never read: it
  adds nothing and gets a zero gradient, whatever its logits and its target are.
- ``loss_out`` (n,) of the logits' dtype receives the row losses; (0,) for none.
- ``partial_out`` (n_chunks,) float64 receives one sum of losses per chunk of
  ``rows_per_chunk`` rows. The partition depends on the shape alone, so the sums are the
  same bits for any number of threads.
- Arithmetic and sums are float64 whatever the dtype, so ``z - m`` is exact for float32.
- ``gradient_out`` may be ``logits`` itself: a logit is read for the last time before
  its gradient entry is written.

The largest logit is left out of the sum of exponentials, ``d = 1 + rest``, which gives
``log d = log1p(rest)``: the tiny loss of a confident row keeps all its digits.

A row whose maximum is infinite or nan has no softmax: loss and gradient are nan.
"""

import math

from numba import float64, prange

from skxent.kernels._jit import inner, own_function, twins
from skxent.kernels._rules import (
    clip,
    curvature,
    reciprocal,
    residual,
    surprise,
    target_at,
    weighted,
)
from skxent.kernels._vector import exp_nonpositive, from_ordered, to_ordered

# ---------------------------------------------------------------- one softmax row
# Rows are addressed as (array, i): a slice is reference-counted, which costs more than
# the arithmetic of ten classes.


@inner
def row_max(logits, i):
    """Return the largest logit, not finite if there is no largest finite one."""
    largest = to_ordered(-math.inf)
    for k in range(logits.shape[1]):
        largest = max(largest, to_ordered(logits[i, k]))
    return from_ordered(largest)


@inner
def exp_rest(logits, i, m):
    """Return ``d - 1``, nan if a logit is nan."""
    rest = 0.0
    at_max = 0
    for k in range(logits.shape[1]):
        z = float64(logits[i, k])
        at_max += z == m
        rest += 0.0 if z == m else exp_nonpositive(z - m)
    return rest + (at_max - 1)


@inner
def write_exp(logits, i, m, exp_out):
    """Return ``d - 1`` and write the exponentials to row ``i`` of ``exp_out``."""
    rest = 0.0
    at_max = 0
    for k in range(logits.shape[1]):
        z = float64(logits[i, k])
        e = exp_nonpositive(z - m)
        exp_out[i, k] = e
        at_max += z == m
        rest += 0.0 if z == m else e
    return rest + (at_max - 1)


@inner
def linear_terms(logits, target, on_value, off_value, smooth, i, m):
    """Return ``sum_k t_k (m - z_k)`` and the mass ``sum_k t_k`` of row ``i``."""
    linear = mass = 0.0
    if target.ndim == 1 and not smooth:
        y = target[i]
        mass = on_value[y]
        linear = weighted(mass, m - logits[i, y])
    else:
        for k in range(logits.shape[1]):
            t = target_at(target, on_value, off_value, i, k)
            linear += weighted(t, m - logits[i, k])
            mass += t
    return linear, mass


@inner
def write_residual(
    target, on_value, off_value, smooth, i, mass, d, scale, gradient_out
):
    """Turn row ``i`` of exponentials in ``gradient_out`` into its gradient."""
    if target.ndim == 1 and not smooth:
        y = target[i]
        at_target = scale * residual(mass, gradient_out[i, y] / d, on_value[y])
        factor = scale * mass / d
        for k in range(gradient_out.shape[1]):
            gradient_out[i, k] *= factor
        gradient_out[i, y] = at_target
    else:
        for k in range(gradient_out.shape[1]):
            t = target_at(target, on_value, off_value, i, k)
            gradient_out[i, k] = scale * residual(mass, gradient_out[i, k] / d, t)


@inner
def fill_row(array_out, i, value):
    """Write one value to all of row ``i``."""
    for k in range(array_out.shape[1]):
        array_out[i, k] = value


@inner
def any_nonzero(values):
    """Return whether one of the values is not 0."""
    found = False
    for k in range(values.size):
        found |= values[k] != 0
    return found


# ------------------------------------------------------------ chunks of softmax rows


@inner
def softmax_loss_chunk(
    logits, target, on_value, off_value, row_weight, begin, end, loss_out
):
    """Return the sum of the losses of rows ``begin:end``."""
    own_function()
    smooth = any_nonzero(off_value)
    total = 0.0
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        loss = 0.0
        if weight != 0:
            m = row_max(logits, i)
            if math.isinf(m) or math.isnan(m):
                loss = math.nan
            else:
                linear, mass = linear_terms(
                    logits, target, on_value, off_value, smooth, i, m
                )
                log_d = math.log1p(exp_rest(logits, i, m))
                loss = weight * (linear + mass * log_d)
        if loss_out.size:
            loss_out[i] = loss
        total += loss
    return total


@inner
def softmax_loss_grad_chunk(
    logits,
    target,
    on_value,
    off_value,
    row_weight,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
):
    """Write the gradient of rows ``begin:end``; return the sum of their losses."""
    own_function()
    smooth = any_nonzero(off_value)
    total = 0.0
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        loss = 0.0
        if weight == 0:
            fill_row(gradient_out, i, 0.0)
        else:
            m = row_max(logits, i)
            if math.isinf(m) or math.isnan(m):
                loss = math.nan
                fill_row(gradient_out, i, math.nan)
            else:
                linear, mass = linear_terms(
                    logits, target, on_value, off_value, smooth, i, m
                )
                rest = write_exp(logits, i, m, gradient_out)
                loss = weight * (linear + mass * math.log1p(rest))
                write_residual(
                    target,
                    on_value,
                    off_value,
                    smooth,
                    i,
                    mass,
                    1.0 + rest,
                    scale * weight,
                    gradient_out,
                )
        if loss_out.size:
            loss_out[i] = loss
        total += loss
    return total


@inner
def softmax_curvature_chunk(
    logits, mass, row_weight, vector, scale, begin, end, product_out
):
    """Write ``scale * weight * a * p * (v - <p, v>)`` for rows ``begin:end``."""
    own_function()
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        if weight == 0:
            fill_row(product_out, i, 0.0)
            continue
        m = row_max(logits, i)
        if math.isinf(m) or math.isnan(m):
            fill_row(product_out, i, math.nan)
            continue
        d = 1.0 + write_exp(logits, i, m, product_out)
        mean_v = 0.0
        for k in range(vector.shape[1]):
            mean_v += product_out[i, k] / d * vector[i, k]
        factor = scale * weight * mass[i]
        for k in range(vector.shape[1]):
            product_out[i, k] = curvature(
                factor, product_out[i, k] / d, vector[i, k], mean_v
            )


# ------------------------------------------------------- chunks of probability rows


@inner
def log_loss_of_row(probabilities, target, on_value, off_value, smooth, i, low, high):
    """Return ``sum_k -t_k log p_k`` of row ``i``, ``p`` limited to ``[low, high]``."""
    loss = 0.0
    if target.ndim == 1 and not smooth:
        y = target[i]
        p = clip(float64(probabilities[i, y]), low, high)
        loss = weighted(on_value[y], surprise(p))
    else:
        for k in range(probabilities.shape[1]):
            t = target_at(target, on_value, off_value, i, k)
            p = clip(float64(probabilities[i, k]), low, high)
            loss += weighted(t, surprise(p))
    return loss


@inner
def probability_loss_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    low,
    high,
    begin,
    end,
    loss_out,
):
    """Return the sum of the losses of rows ``begin:end`` of probabilities."""
    own_function()
    smooth = any_nonzero(off_value)
    total = 0.0
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        loss = 0.0
        if weight != 0:
            loss = weight * log_loss_of_row(
                probabilities, target, on_value, off_value, smooth, i, low, high
            )
        if loss_out.size:
            loss_out[i] = loss
        total += loss
    return total


@inner
def probability_grad_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    scale,
    begin,
    end,
    gradient_out,
):
    """Write ``-t / p`` of rows ``begin:end``, times scale and row weight."""
    own_function()
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        factor = -scale * weight
        for k in range(gradient_out.shape[1]):
            slope = 0.0
            if weight != 0:
                t = factor * target_at(target, on_value, off_value, i, k)
                slope = weighted(t, reciprocal(float64(probabilities[i, k])))
            gradient_out[i, k] = slope


# -------------------------------------------------------------------------- kernels


@twins
def softmax_loss(
    logits,
    target,
    on_value,
    off_value,
    row_weight,
    rows_per_chunk,
    loss_out,
    partial_out,
):
    """Write the sums of losses per chunk, and the row losses if asked for."""
    for chunk in prange(partial_out.size):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, logits.shape[0])
        partial_out[chunk] = softmax_loss_chunk(
            logits, target, on_value, off_value, row_weight, begin, end, loss_out
        )


@twins
def softmax_loss_grad(
    logits,
    target,
    on_value,
    off_value,
    row_weight,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write gradient and sums of losses per chunk; the row losses if asked for."""
    for chunk in prange(partial_out.size):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, logits.shape[0])
        partial_out[chunk] = softmax_loss_grad_chunk(
            logits,
            target,
            on_value,
            off_value,
            row_weight,
            scale,
            begin,
            end,
            loss_out,
            gradient_out,
        )


@twins
def softmax_curvature(
    logits, mass, row_weight, vector, scale, n_chunks, rows_per_chunk, product_out
):
    """Write the product of the Hessian with ``vector`` (n, K)."""
    for chunk in prange(n_chunks):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, logits.shape[0])
        softmax_curvature_chunk(
            logits, mass, row_weight, vector, scale, begin, end, product_out
        )


@twins
def probability_loss(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    low,
    high,
    rows_per_chunk,
    loss_out,
    partial_out,
):
    """Write the sums of ``-t log p`` per chunk, and the row losses if asked for."""
    for chunk in prange(partial_out.size):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, probabilities.shape[0])
        partial_out[chunk] = probability_loss_chunk(
            probabilities,
            target,
            on_value,
            off_value,
            row_weight,
            low,
            high,
            begin,
            end,
            loss_out,
        )


@twins
def probability_grad(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    scale,
    n_chunks,
    rows_per_chunk,
    gradient_out,
):
    """Write the gradient of ``-t log p`` with respect to ``p``."""
    for chunk in prange(n_chunks):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, probabilities.shape[0])
        probability_grad_chunk(
            probabilities,
            target,
            on_value,
            off_value,
            row_weight,
            scale,
            begin,
            end,
            gradient_out,
        )

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

from skxent.kernels._jit import inner, twins
from skxent.kernels._rules import (
    clip,
    curvature,
    residual,
    surprise,
    target_at,
    weighted,
)
from skxent.kernels._vector import exp_nonpositive, from_ordered, to_ordered

# ---------------------------------------------------------------- one softmax row


@inner
def row_max(row):
    """Return the largest logit, not finite if there is no largest finite one."""
    largest = to_ordered(-math.inf)
    for k in range(row.size):
        largest = max(largest, to_ordered(row[k]))
    return from_ordered(largest)


@inner
def exp_rest(row, m, exp_out):
    """Return ``d - 1``, nan if a logit is nan; store each exponential if asked for."""
    store = exp_out.size > 0
    rest = 0.0
    at_max = 0
    for k in range(row.size):
        z = float64(row[k])
        e = exp_nonpositive(z - m)
        if store:
            exp_out[k] = e
        at_max += z == m
        rest += 0.0 if z == m else e
    return rest + (at_max - 1)


@inner
def linear_terms(row, target, on_value, off_value, smooth, i, m):
    """Return ``sum_k t_k (m - z_k)`` and the mass ``sum_k t_k`` of row ``i``."""
    if target.ndim == 1:
        if not smooth:
            y = target[i]
            return weighted(on_value[y], m - row[y]), on_value[y]
    linear = mass = 0.0
    for k in range(row.size):
        t = target_at(target, on_value, off_value, i, k)
        linear += weighted(t, m - row[k])
        mass += t
    return linear, mass


@inner
def residual_row(target, on_value, off_value, smooth, i, mass, d, scale, gradient_out):
    """Turn the row of exponentials in ``gradient_out`` into its gradient."""
    if target.ndim == 1:
        if not smooth:
            y = target[i]
            p_y = gradient_out[y] / d
            factor = scale * mass / d
            for k in range(gradient_out.size):
                gradient_out[k] = factor * gradient_out[k]
            gradient_out[y] = scale * residual(mass, p_y, on_value[y])
            return
    for k in range(gradient_out.size):
        t = target_at(target, on_value, off_value, i, k)
        gradient_out[k] = scale * residual(mass, gradient_out[k] / d, t)


@inner
def any_nonzero(values):
    """Return whether one of the values is not 0."""
    for k in range(values.size):  # noqa: SIM110 - numba compiles no generator
        if values[k] != 0:
            return True
    return False


# ------------------------------------------------------------ chunks of softmax rows


@inner
def softmax_loss_chunk(
    logits, target, on_value, off_value, row_weight, begin, end, loss_out
):
    """Return the sum of the losses of rows ``begin:end``."""
    smooth = any_nonzero(off_value)
    total = 0.0
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        loss = 0.0
        if weight != 0:
            row = logits[i]
            m = row_max(row)
            if math.isinf(m) or math.isnan(m):
                loss = math.nan
            else:
                linear, mass = linear_terms(
                    row, target, on_value, off_value, smooth, i, m
                )
                log_d = math.log1p(exp_rest(row, m, row[:0]))
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
    smooth = any_nonzero(off_value)
    total = 0.0
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        row_out = gradient_out[i]
        loss = 0.0
        if weight == 0:
            row_out[:] = 0
        else:
            row = logits[i]
            m = row_max(row)
            if math.isinf(m) or math.isnan(m):
                loss = math.nan
                row_out[:] = math.nan
            else:
                linear, mass = linear_terms(
                    row, target, on_value, off_value, smooth, i, m
                )
                rest = exp_rest(row, m, row_out)
                loss = weight * (linear + mass * math.log1p(rest))
                residual_row(
                    target,
                    on_value,
                    off_value,
                    smooth,
                    i,
                    mass,
                    1.0 + rest,
                    scale * weight,
                    row_out,
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
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        row_out = product_out[i]
        if weight == 0:
            row_out[:] = 0
            continue
        row = logits[i]
        m = row_max(row)
        if math.isinf(m) or math.isnan(m):
            row_out[:] = math.nan
            continue
        d = 1.0 + exp_rest(row, m, row_out)
        mean_v = 0.0
        for k in range(row_out.size):
            mean_v += row_out[k] / d * vector[i, k]
        factor = scale * weight * mass[i]
        for k in range(row_out.size):
            row_out[k] = curvature(factor, row_out[k] / d, vector[i, k], mean_v)


# ------------------------------------------------------- chunks of probability rows


@inner
def log_loss_of_row(row, target, on_value, off_value, smooth, i, low, high):
    """Return ``sum_k -t_k log p_k`` with ``p`` limited to ``[low, high]``."""
    if target.ndim == 1:
        if not smooth:
            y = target[i]
            return weighted(on_value[y], surprise(clip(float64(row[y]), low, high)))
    loss = 0.0
    for k in range(row.size):
        t = target_at(target, on_value, off_value, i, k)
        loss += weighted(t, surprise(clip(float64(row[k]), low, high)))
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
    smooth = any_nonzero(off_value)
    total = 0.0
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        loss = 0.0
        if weight != 0:
            loss = weight * log_loss_of_row(
                probabilities[i], target, on_value, off_value, smooth, i, low, high
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
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        row_out = gradient_out[i]
        if weight == 0:
            row_out[:] = 0
            continue
        factor = -scale * weight
        for k in range(row_out.size):
            t = factor * target_at(target, on_value, off_value, i, k)
            row_out[k] = weighted(t, 1.0 / probabilities[i, k])


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

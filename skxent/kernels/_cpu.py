"""CPU kernels: the drivers that Python calls, a loop over chunks of rows each.

The chunks are those of ``_short_rows`` and ``_long_rows`` for logits and of
``_probability_rows`` for probabilities.

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
- ``gradient_out`` (n, K) receives ``scale`` times the gradient of the sum; (0, K) for
  none. It may be ``logits`` itself: a logit is read for the last time before
  its gradient entry is written.

The largest logit is left out of the sum of exponentials, ``d = 1 + rest``, which gives
``log d = log1p(rest)``: the tiny loss of a confident row keeps all its digits.

A row whose maximum is infinite or nan has no softmax: loss and gradient are nan.
"""

from numba import prange

from skxent.kernels._jit import twins
from skxent.kernels._long_rows import curvature_chunk, long_rows_chunk
from skxent.kernels._probability_rows import (
    probability_grad_chunk,
    probability_loss_chunk,
)
from skxent.kernels._short_rows import MOST_CLASSES, short_rows_chunk


@twins
def softmax_loss(
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
    """Write the sums of losses per chunk; row losses and gradient if asked for."""
    for chunk in prange(partial_out.size):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, logits.shape[0])
        if logits.shape[1] <= MOST_CLASSES:
            partial_out[chunk] = short_rows_chunk(
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
        else:
            partial_out[chunk] = long_rows_chunk(
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
        curvature_chunk(
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

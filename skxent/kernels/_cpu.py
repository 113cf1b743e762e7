"""CPU kernels: the drivers that Python calls, a loop over chunks of rows each.

The chunks are those of ``_short_rows``, ``_long_rows`` and ``_long_planes`` for logits
and of ``_probability_rows`` for probabilities.

Conventions
-----------
- Arrays are C-contiguous. ``logits`` float32 or float64, ``long_rows`` (n, K), else
  planes ``(outer, K, inner)`` of ``n = outer * inner`` rows: row ``i`` is column
  ``i % inner`` of plane ``i // inner``. An array gives the same bits in either layout.
- ``target`` (n,) int64 class indices, or probabilities of the logits' shape and dtype.
- ``on_value``, ``off_value`` (K,) float64: ``t_k = on_value_k q_k + off_value_k``.
  ``on_low`` (K,), or (0,), is what rounding took from ``on_value``: smoothed class
  indices ask for it.
- ``row_weight`` (n,) float64, or (0,) for ones. A row of weight 0 is ignored: it adds
  nothing and gets a zero gradient, whatever its logits and its target are.
- ``ignore_index``: rows with this class index weigh 0, in a loss; ``NO_INDEX`` ignores
  none. Any other index outside [0, K) makes the loss of its row, and the gradient, nan;
  no memory is read for it.
- ``first_chunk``, ``last_chunk``: the chunks that a launch does, the last one excluded.
- ``options``: whether all classes have the same ``on_value`` and ``off_value``, whether
  there is smoothing, the sum of ``off_value``, and ``ignore_index``.
- ``loss_out`` (n,) of the logits' dtype receives the row losses; (0,) for none.
- ``partial_out`` (n_chunks,) float64 receives one sum of losses per chunk. Chunks of
  ``rows_per_chunk`` rows depend on the shape alone, so the sum is the same bits for any
  number of threads.
- ``gradient_out`` of the logits' shape receives ``scale`` times the gradient of the
  sum; of size 0 for none. It may be ``logits`` itself: a logit is read for the last
  time before its gradient entry is written.
- ``rows`` is the record of what a chunk needs of these (``_rows.py``).

Exponentials are made in the logits' dtype, sums over classes and over rows in float64.
The largest logit, or that of the class index, is left out of the sum of exponentials,
``d = 1 + rest``, which gives ``log d = log1p(rest)``: the tiny loss of a confident row
keeps all its digits.

A row whose maximum is infinite or nan has no softmax: loss and gradient are nan.
"""

import math

from numba import prange

from skxent.kernels._gathered_rows import gathered_rows_chunk
from skxent.kernels._jit import twins
from skxent.kernels._long_planes import (
    long_planes_chunk,
    long_planes_curvature_chunk,
)
from skxent.kernels._long_rows import long_rows_chunk, long_rows_curvature_chunk
from skxent.kernels._probability_rows import probability_rows_chunk
from skxent.kernels._rows import Rows
from skxent.kernels._short_rows import short_rows_chunk
from skxent.kernels._targets import options_of
from skxent.kernels._tile_curvature import tile_rows_curvature_chunk
from skxent.kernels._two_classes import two_classes_chunk


@twins
def two_classes_loss(
    first_chunk,
    last_chunk,
    logits,
    target,
    on_value,
    off_value,
    on_low,
    row_weight,
    ignore_index,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sum of losses of each chunk; row losses and gradient if asked for."""
    n_rows = logits.size // logits.shape[1]
    options = options_of(on_value, off_value, ignore_index)
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        rows = Rows(
            logits,
            on_value,
            off_value,
            on_low,
            row_weight,
            options,
            scale,
            loss_out,
            gradient_out,
        )
        partial_out[chunk] = two_classes_chunk(rows, target, begin, end)


@twins
def short_rows_loss(
    first_chunk,
    last_chunk,
    logits,
    target,
    on_value,
    off_value,
    on_low,
    row_weight,
    ignore_index,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sum of losses of each chunk; row losses and gradient if asked for."""
    n_rows = logits.size // logits.shape[1]
    options = options_of(on_value, off_value, ignore_index)
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        rows = Rows(
            logits,
            on_value,
            off_value,
            on_low,
            row_weight,
            options,
            scale,
            loss_out,
            gradient_out,
        )
        partial_out[chunk] = short_rows_chunk(rows, target, begin, end)


@twins
def short_rows_curvature(
    first_chunk,
    last_chunk,
    logits,
    mass,
    row_weight,
    vector,
    scale,
    rows_per_chunk,
    product_out,
):
    """Write the product of the Hessian with ``vector``, of the logits' shape."""
    n_rows = logits.size // logits.shape[1]
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        tile_rows_curvature_chunk(
            logits, mass, row_weight, vector, scale, begin, end, product_out
        )


@twins
def long_rows_loss(
    first_chunk,
    last_chunk,
    logits,
    target,
    on_value,
    off_value,
    on_low,
    row_weight,
    ignore_index,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sum of losses of each chunk; row losses and gradient if asked for."""
    n_rows = logits.size // logits.shape[1]
    options = options_of(on_value, off_value, ignore_index)
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        rows = Rows(
            logits,
            on_value,
            off_value,
            on_low,
            row_weight,
            options,
            scale,
            loss_out,
            gradient_out,
        )
        partial_out[chunk] = long_rows_chunk(rows, target, begin, end)


@twins
def long_rows_curvature(
    first_chunk,
    last_chunk,
    logits,
    mass,
    row_weight,
    vector,
    scale,
    rows_per_chunk,
    product_out,
):
    """Write the product of the Hessian with ``vector``, of the logits' shape."""
    n_rows = logits.size // logits.shape[1]
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        long_rows_curvature_chunk(
            logits, mass, row_weight, vector, scale, begin, end, product_out
        )


@twins
def long_planes_loss(
    first_chunk,
    last_chunk,
    logits,
    target,
    on_value,
    off_value,
    on_low,
    row_weight,
    ignore_index,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sum of losses of each chunk; row losses and gradient if asked for."""
    n_rows = logits.size // logits.shape[1]
    options = options_of(on_value, off_value, ignore_index)
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        rows = Rows(
            logits,
            on_value,
            off_value,
            on_low,
            row_weight,
            options,
            scale,
            loss_out,
            gradient_out,
        )
        partial_out[chunk] = long_planes_chunk(rows, target, begin, end)


@twins
def long_planes_curvature(
    first_chunk,
    last_chunk,
    logits,
    mass,
    row_weight,
    vector,
    scale,
    rows_per_chunk,
    product_out,
):
    """Write the product of the Hessian with ``vector``, of the logits' shape."""
    n_rows = logits.size // logits.shape[1]
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        long_planes_curvature_chunk(
            logits, mass, row_weight, vector, scale, begin, end, product_out
        )


@twins
def picked_loss(
    first_chunk,
    last_chunk,
    log_probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    ignore_index,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sum of losses of each chunk; row losses and gradient if asked for."""
    n_rows = log_probabilities.size // log_probabilities.shape[1]
    uniform, _, _, ignore_index = options_of(on_value, off_value, ignore_index)
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        partial_out[chunk] = gathered_rows_chunk(
            log_probabilities,
            target,
            on_value,
            row_weight,
            uniform,
            ignore_index,
            True,
            -math.inf,
            math.inf,
            scale,
            begin,
            end,
            loss_out,
            gradient_out,
        )


@twins
def probability_loss(
    first_chunk,
    last_chunk,
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    ignore_index,
    low,
    high,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sum of losses of each chunk; row losses and gradient if asked for."""
    n_rows = probabilities.size // probabilities.shape[1]
    options = options_of(on_value, off_value, ignore_index)
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        partial_out[chunk] = probability_rows_chunk(
            probabilities,
            target,
            on_value,
            off_value,
            row_weight,
            options,
            low,
            high,
            scale,
            begin,
            end,
            loss_out,
            gradient_out,
        )

"""Products with the Hessian for rows of few classes, in tiles.

The batches of :mod:`skxent.kernels._tile_rows`, whose exponentials become the product.
Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`.
"""

from skxent.kernels._batches import (
    TILE_SIZE,
    batch_like,
    rows_per_batch,
    share_of,
    sum_with_largest,
)
from skxent.kernels._groups import read_group, read_weights
from skxent.kernels._jit import inner
from skxent.kernels._row_sums import FOUR
from skxent.kernels._rules import curvature, residual
from skxent.kernels._simd import (
    advance,
    lanes,
    load,
    load_beside,
    narrowed,
    pointer,
    scratch,
    select,
    spread,
    store,
    widened,
)
from skxent.kernels._tile_rows import (
    exponentiate_copy,
    lines_after,
    read_batch,
    write_batch,
)
from skxent.kernels._tile_targets import sum_apart
from skxent.kernels._vector import accumulate, joined


@inner
def exponentiate_batch(batch, p, n_classes, n_columns, i, end):
    """Turn the logits of a batch into exponentials; find ``d``."""
    n = lanes(p)
    logits = scratch(p, TILE_SIZE)
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        later, step = lines_after(p, n_classes, n_columns, i + r)
        m = load(batch.m, r)
        e_m = exponentiate_copy(tile, logits, n_classes, m, later, step)
        rest, rest_low, ones = sum_apart(tile, logits, n_classes, m)
        d, d_low = sum_with_largest(rest, rest_low, ones, e_m)
        store(d, batch.d, r)
        store(d_low, batch.d_low, r)


@inner
def curvature_product(tile, vector_tile, n_classes, factor, ignored, high, low):
    """Turn exponentials into ``factor * p * (v - <p, v>)``."""
    n = lanes(tile)
    mean_v = widened(high * 0.0)
    lost = mean_v
    for begin in range(0, n_classes, FOUR):
        four = high * 0.0
        for k in range(begin, min(begin + FOUR, n_classes)):
            p = residual(high, low, load(tile, k * n), 0.0)
            store(p, tile, k * n)
            four = four + p * load(vector_tile, k * n)
        mean_v, lost = accumulate(four, mean_v, lost)
    mean = narrowed(joined(mean_v, lost), high)
    for k in range(n_classes):
        product = curvature(factor, load(tile, k * n), load(vector_tile, k * n), mean)
        store(select(ignored, 0.0, product), tile, k * n)


@inner
def turn_into_curvature(batch, v, mass, scale, n_classes, n_columns, i, end):
    """Turn the exponentials of a batch into products with the Hessian."""
    n = lanes(batch.m)
    for r in range(0, end - i, n):
        width = min(n, end - i - r)
        tile = advance(batch.tile, r * n_classes)
        vector_tile = advance(batch.target_tile, r * n_classes)
        read_group(v, n_classes, n_columns, i + r, width, vector_tile)
        m = load(batch.m, r)
        weight = load_beside(batch.weight, r, m)
        factor = scale * weight * read_weights(mass, 1, i + r, width, m)
        d, d_low = load_beside(batch.d, r, m), load_beside(batch.d_low, r, m)
        one = widened(spread(1.0, m))
        high, low = share_of(one, one, one * 0.0, d, d_low, m)
        slope = narrowed(factor, m)
        ignored = weight == 0.0
        curvature_product(tile, vector_tile, n_classes, slope, ignored, high, low)


@inner
def tile_rows_curvature_chunk(
    logits, mass, row_weight, vector, scale, begin, end, product_out
):
    """Write the product of the Hessian with ``vector`` for rows ``begin:end``."""
    n_classes, n_columns = logits.shape[1], logits.shape[2]
    p, v, a = pointer(logits), pointer(vector), pointer(mass)
    weights, out = pointer(row_weight), pointer(product_out)
    batch = batch_like(p, a)
    step = rows_per_batch(n_classes, lanes(p))
    for i in range(begin, end, step):
        last = min(i + step, end)
        read_batch(batch, p, weights, row_weight.size, n_classes, n_columns, i, last)
        exponentiate_batch(batch, p, n_classes, n_columns, i, last)
        turn_into_curvature(batch, v, a, scale, n_classes, n_columns, i, last)
        write_batch(batch, n_classes, n_columns, i, last, out)

"""Softmax rows of few classes, but not two: which schedule a chunk of them takes.

Conventions are those of :mod:`skxent.kernels._cpu`, with logits, probabilities and
results in planes ``(outer, K, inner)``.
"""

from skxent.kernels._batches import MOST_CLASSES
from skxent.kernels._flat_rows import add_flat_rows
from skxent.kernels._jit import inner
from skxent.kernels._simd import lanes, pointer, spread, total, widened
from skxent.kernels._tile_rows import add_tile_rows
from skxent.kernels._vector import joined

LEAST_COLUMNS = 4  # vectors of columns; in narrower planes few groups lie in one

__all__ = ["MOST_CLASSES", "short_rows_chunk"]


@inner
def short_rows_chunk(rows, target, begin, end):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    sums = widened(spread(0.0, pointer(rows.logits)))
    lost = sums
    middle = begin
    n, n_columns = lanes(pointer(rows.logits)), rows.logits.shape[2]
    is_flat = n_columns == 1 or n_columns >= LEAST_COLUMNS * n
    if (
        rows.logits.shape[1] > 2
        and target.ndim == 1
        and not rows.options[1]
        and is_flat
    ):
        middle = end - (end - begin) % n
        sums, lost = add_flat_rows(rows, target, begin, middle, sums, lost)
    sums, lost = add_tile_rows(rows, target, middle, end, sums, lost)
    return total(joined(sums, lost))

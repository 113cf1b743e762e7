"""Softmax rows of few classes, but not two: which schedule a chunk of them takes.

Conventions are those of :mod:`skxent.kernels._cpu`, with logits, probabilities and
results in planes ``(outer, K, inner)``.
"""

from skxent.kernels._batches import MOST_CLASSES
from skxent.kernels._block_smoothing import is_added_at_once
from skxent.kernels._flat_planes import add_flat_planes
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
    p = pointer(rows.logits)
    n_classes, n_columns, n = rows.logits.shape[1], rows.logits.shape[2], lanes(p)
    sums = widened(spread(0.0, p))
    lost = sums
    middle = begin
    if n_classes > 2 and end - begin >= n:
        whole = end - (end - begin) % n
        if n_columns == 1:
            sums, lost = add_flat_rows(rows, target, begin, whole, sums, lost)
            middle = whole
        elif target.ndim == 1:
            at_once = not rows.options[1] or is_added_at_once(
                rows.options,
                rows.on_value[0],
                rows.row_weight.size,
                rows.loss_out.size,
            )
            if n_columns >= LEAST_COLUMNS * n and at_once:
                sums, lost = add_flat_planes(rows, target, begin, whole, sums, lost)
                middle = whole
    sums, lost = add_tile_rows(rows, target, middle, end, sums, lost)
    return total(joined(sums, lost))

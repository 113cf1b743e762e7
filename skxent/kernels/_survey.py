"""What has to be known of class indices before a loss: one pass over them.

Conventions are those of :mod:`skxent.kernels._cpu`. ``class_weight`` (K,) and
``row_weight`` (n,) float64 are of length 0 where all are 1.
"""

from numba import prange

from skxent.kernels._groups import AHEAD, read_weights
from skxent.kernels._jit import inner, twins
from skxent.kernels._simd import (
    gather,
    lanes,
    load,
    load_part,
    pointer,
    prefetch,
    select,
    spread,
    total,
)

N_COUNTS = 3


@inner
def survey_chunk(target, n_classes, ignore_index, class_weight, row_weight, begin, end):
    """Return how many indices are wrong, how many ignored, and the weight of others."""
    p, weights, rows = pointer(target), pointer(class_weight), pointer(row_weight)
    nothing = spread(0.0, weights)
    wrong, ignored, weight = nothing, nothing, nothing
    n = lanes(weights)
    for i in range(begin, end, n):
        width = min(n, end - i)
        prefetch(p, i + AHEAD * n)
        y = load(p, i) if width == n else load_part(p, i, width, ignore_index)
        is_ignored = y == ignore_index
        outside = (y < 0) | (y >= n_classes)
        wrong = wrong + select(is_ignored, 0.0, select(outside, nothing + 1.0, 0.0))
        ignored = ignored + select(is_ignored, nothing + 1.0, 0.0)
        share = read_weights(rows, row_weight.size, i, width, nothing)
        if class_weight.size:
            of_class = gather(weights, select(outside, 0, y))
            share = select(share == 0.0, 0.0, share * of_class)
        weight = weight + select(is_ignored, 0.0, share)
    # the lanes behind the last row count as ignored
    behind = (begin - end) % n
    return total(wrong), total(ignored) - behind, total(weight)


@twins
def survey_indices(
    first_chunk,
    last_chunk,
    target,
    n_classes,
    ignore_index,
    class_weight,
    row_weight,
    rows_per_chunk,
    counts_out,
):
    """Write (n_chunks, 3) counts: indices wrong, ignored, and what others weigh."""
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, target.size)
        wrong, ignored, weight = survey_chunk(
            target, n_classes, ignore_index, class_weight, row_weight, begin, end
        )
        counts_out[chunk, 0] = wrong
        counts_out[chunk, 1] = ignored
        counts_out[chunk, 2] = weight

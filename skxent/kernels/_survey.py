"""What has to be known of class indices before a loss: one pass over them.

Conventions are those of :mod:`skxent.kernels._cpu`. ``class_weight`` (K,) and
``row_weight`` (n,) float64 are of length 0 where all are 1.
"""

import math

from numba import prange

from skxent.kernels._groups import AHEAD, read_weights
from skxent.kernels._jit import inner, twins
from skxent.kernels._simd import (
    any_lane,
    bits,
    floats,
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
from skxent.kernels._targets import sign_outside

N_COUNTS = 3
BLOCK = 512  # rows that are looked at before one that is no class is noticed


@inner
def class_weights_of(y, outside, class_weight, like):
    """Return the weight of the class of each row."""
    if class_weight.size == 2:  # in a third of the time of a gather
        return select(y == 1, like * 0.0 + class_weight[1], class_weight[0])
    return gather(pointer(class_weight), select(outside, 0, y))


@inner
def sum_of_classes(p, n_classes, begin, end, like):
    """Return the sum of class indices, nan if one of them is no class."""
    n = lanes(like)
    sums = bits(like) - bits(like)
    seen = sums
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        whole = last - (last - first) % n
        for i in range(first, whole, n):
            prefetch(p, i + AHEAD * n)
            y = load(p, i)
            seen = seen | sign_outside(y, n_classes)
            sums = sums + y
        y = load_part(p, whole, last - whole, 0)
        seen = seen | sign_outside(y, n_classes)
        sums = sums + y
        if any_lane(seen < 0):
            return math.nan
    return total(floats(sums))


@inner
def weight_of_classes(class_weight, n_rows, ones):
    """Return what rows weigh of which ``ones`` are of class 1, the others of class 0.

    A class without rows adds nothing to it, whatever it weighs.
    """
    if class_weight.size == 0:
        return float(n_rows)
    weight = 0.0
    if ones < n_rows:
        weight += class_weight[0] * (n_rows - ones)
    if ones > 0:
        weight += class_weight[1] * ones
    return weight


@inner
def survey_chunk(target, n_classes, ignore_index, class_weight, row_weight, begin, end):
    """Return how many indices are wrong, how many ignored, and the weight of others."""
    p, rows = pointer(target), pointer(row_weight)
    nothing = spread(0.0, rows)
    wrong, ignored, weight = nothing, nothing, nothing
    n = lanes(rows)
    is_weighted = class_weight.size or row_weight.size
    ignores_class = 0 <= ignore_index < n_classes
    if row_weight.size == 0 and class_weight.size in (0, 2) and not ignores_class:
        # 0.4 of the time, if nothing is wrong or ignored
        ones = sum_of_classes(p, n_classes, begin, end, nothing)
        if ones == ones:
            return 0.0, 0.0, weight_of_classes(class_weight, end - begin, ones)
    for i in range(begin, end, n):
        width = min(n, end - i)
        prefetch(p, i + AHEAD * n)
        y = load(p, i) if width == n else load_part(p, i, width, ignore_index)
        is_ignored = y == ignore_index
        outside = sign_outside(y, n_classes) < 0
        ignored = ignored + select(is_ignored, nothing + 1.0, 0.0)
        if any_lane(outside & (y != ignore_index)):
            wrong = wrong + select(is_ignored, 0.0, select(outside, nothing + 1.0, 0.0))
        if is_weighted:
            share = nothing + 1.0
            if row_weight.size:
                prefetch(rows, i + AHEAD * n)
                share = read_weights(rows, row_weight.size, i, width, nothing)
            if class_weight.size:
                of_class = class_weights_of(y, outside, class_weight, share)
                share = select(share == 0.0, 0.0, share * of_class)
            weight = weight + select(is_ignored, 0.0, share)
    # the lanes behind the last row count as ignored
    n_ignored = total(ignored) - (begin - end) % n
    kept = total(weight) if is_weighted else end - begin - n_ignored
    return total(wrong), n_ignored, kept


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

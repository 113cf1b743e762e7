"""What the kernels have to know of the values of targets, found once in a call."""

import math

from skxent.kernels import NO_INDEX
from skxent.kernels._jit import inner, rule
from skxent.kernels._simd import any_lane, lanes, load, pointer, select, spread
from skxent.kernels._vector import two_sum


@inner
def are_alike(values):
    """Return whether all numbers of a vector of classes are the same."""
    p = pointer(values)
    n = lanes(p)
    one = spread(values[0], p)
    full = values.size - values.size % (4 * n)
    for k in range(0, full, 4 * n):
        differs = (load(p, k) != one) | (load(p, k + n) != one)
        more = (load(p, k + 2 * n) != one) | (load(p, k + 3 * n) != one)
        if any_lane(differs | more):
            return False
    alike = True
    for k in range(full, values.size):
        alike &= values[k] == values[0]
    return alike


@inner
def options_of(on_value, off_value, ignore_index):
    """Return whether all classes have the same values, whether targets are smoothed.

    And the sum of ``off_value``, and ``ignore_index``.
    """
    if are_alike(on_value) and are_alike(off_value):
        smoothing = off_value[0] * off_value.size
        return True, smoothing != 0, smoothing, ignore_index
    smooth = False
    smoothing = lost = 0.0
    for k in range(off_value.size):
        smooth |= off_value[k] != 0
        smoothing, error = two_sum(smoothing, off_value[k])
        lost += error
    return False, smooth, smoothing + lost, ignore_index


@rule
def sign_outside(y, n_classes):
    """Return integers that are negative where ``y`` is no class, else not.

    Those of many rows are joined by ``|``, which takes less than two comparisons.
    """
    return y | (n_classes - 1 - y)


@rule
def class_and_weight(y, weight, n_classes, ignore_index):
    """Return a class that can be read, ``y`` if it is one, and the weight of the row.

    0 for an ignored row, nan for one whose class does not exist: its loss and its
    gradient, multiples of the weight, are nan as well. Takes numbers and vectors.
    """
    outside = (y < 0) | (y >= n_classes)
    of_class = select(outside, math.nan, weight)
    of_class = select(y == ignore_index, 0.0, of_class)
    of_class = select(y == NO_INDEX, math.nan, of_class)
    return select(outside, 0, y), select(weight == 0.0, weight, of_class)

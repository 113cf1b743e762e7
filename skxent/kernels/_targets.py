"""What the kernels have to know of the values of targets, found once in a call."""

import math

from skxent.kernels import NO_INDEX
from skxent.kernels._jit import inner, rule
from skxent.kernels._simd import select
from skxent.kernels._vector import two_sum


@inner
def options_of(on_value, off_value, ignore_index):
    """Return whether all classes have the same values, whether targets are smoothed.

    And the sum of ``off_value``, and ``ignore_index``.
    """
    uniform, smooth = True, False
    smoothing = lost = 0.0
    for k in range(on_value.size):
        uniform &= on_value[k] == on_value[0] and off_value[k] == off_value[0]
        smooth |= off_value[k] != 0
        smoothing, error = two_sum(smoothing, off_value[k])
        lost += error
    return uniform, smooth, smoothing + lost, ignore_index


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

"""What the kernels have to know of the values of targets, found once in a call."""

from skxent.kernels._jit import inner
from skxent.kernels._vector import two_sum


@inner
def options_of(on_value, off_value):
    """Return whether all classes have the same values, whether targets are smoothed.

    And the sum of ``off_value``.
    """
    uniform, smooth = True, False
    smoothing = lost = 0.0
    for k in range(on_value.size):
        uniform &= on_value[k] == on_value[0] and off_value[k] == off_value[0]
        smooth |= off_value[k] != 0
        smoothing, error = two_sum(smoothing, off_value[k])
        lost += error
    return uniform, smooth, smoothing + lost

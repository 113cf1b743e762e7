"""What class weights and smoothing make of a target: see :mod:`skxent.kernels._cpu`."""

import math

from skxent.kernels._jit import alone, inner
from skxent.kernels._simd import fma
from skxent.kernels._vector import two_sum


@inner
def product_in_parts(x, high, low):
    """Return ``x (high + low)`` rounded once, and what that took from it.

    A share of 0 is no part of an infinite weight either.
    """
    if high == 0:
        return 0.0, 0.0
    product = x * high
    rounded, lost = two_sum(product, fma(x, high, -product) + x * low)
    if math.isfinite(lost):
        return rounded, lost
    return product, 0.0


@alone
def class_values(
    class_weight, on_share, on_share_low, off_share, off_share_low, values_out
):
    """Write ``on_value``, ``off_value`` and ``on_low``, (3, K), of shares in parts."""
    for k in range(class_weight.size):
        on, on_low = product_in_parts(class_weight[k], on_share, on_share_low)
        off, _ = product_in_parts(class_weight[k], off_share, off_share_low)
        values_out[0, k] = on
        values_out[1, k] = off
        values_out[2, k] = on_low

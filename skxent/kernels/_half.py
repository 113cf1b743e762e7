"""float16 numbers, made float32 and back by integer arithmetic on vectors.

Numba has no float16 on the CPU, and LLVM calls a library function that compiled code
lacks where the machine has no instruction for it. Here float16 numbers are int16: what
an array of float16 is viewed as.

float16 has 1 bit of sign, 5 of exponent (bias 15), 10 of mantissa; float32 has 1, 8
(bias 127) and 23. A shift by 13 bits puts exponent and mantissa in place; adding 112 to
the exponent corrects the bias. What is left are the ends of the range.

float32 holds every float16 number. The way back rounds to the nearest, of two as near
to the even one. These are numpy's results, bit for bit.
"""

from skxent.kernels._jit import rule
from skxent.kernels._simd import (
    bits,
    float_of,
    lengthened,
    low_half,
    select,
)

__all__ = ["float_of_half", "half_of_float"]

SHIFT = 13  # bits that the mantissa of float32 has more
ONE_EXPONENT = 1 << 23  # of float32
REBIAS = 112 << 23
INFINITE_HALF = 31 << 23  # the bits of float16 in place
SMALLEST = 113 << 23  # the bits of 2**-14, the smallest normal float16
TOO_LARGE = 143 << 23  # those of 2**16
MAGNITUDE, SIGN = 0x7FFF_FFFF, -0x8000_0000
NAN = 0x7E00


@rule
def float_of_half(h):
    """Return the float32 numbers of float16 numbers, given as int16."""
    i = lengthened(h)
    m = (i & 0x7FFF) << SHIFT
    m = m + select(m >= INFINITE_HALF, m * 0 + 2 * REBIAS, m * 0 + REBIAS)
    # without an exponent the mantissa is what 2**-14 has more than 1
    small = float_of(m + ONE_EXPONENT) - 2.0**-14
    x = select(m < SMALLEST, small, float_of(m))
    return float_of(bits(x) | (i & SIGN))


@rule
def half_of_float(x):
    """Return float32 numbers rounded to float16, as int16."""
    b = bits(x)
    m = b & MAGNITUDE
    m = select(m > TOO_LARGE, TOO_LARGE, m)
    odd = (m >> SHIFT) & 1
    normal = (m + (odd + (0xFFF - REBIAS))) >> SHIFT
    # the last bit of a number next to 1/2 is worth 2**-24, as that of a subnormal
    small = bits(float_of(m) + 0.5) - (126 << 23)
    half = select(m < SMALLEST, small, normal)
    half = select(x != x, NAN, half)
    return low_half(half | ((b >> 16) & 0x8000))

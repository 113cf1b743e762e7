"""float16 numbers, made float32 and back by integer arithmetic on vectors.

Numba has no float16 on the CPU, and LLVM calls a library function, which compiled code
lacks, where the machine has no instruction for it. So float16 numbers are int16 here:
what an array of them can be viewed as. Beside what memory and caches take to deliver
them, the machine's own instruction would be no faster.

float16 has 1 bit of sign, 5 of exponent (bias 15) and 10 of mantissa; float32 has 1, 8
(bias 127) and 23. A shift by 13 bits puts exponent and mantissa in place; 112 more
corrects the bias. What is left are the ends of the range:

- infinity and nan, whose exponent has all bits set, take 112 more again;
- without an exponent, that of 2**-14 stands for a leading digit that is not there. Such
  a float16 is read as 2**-14 too much; one is written by adding 1/2, whose last digit
  is worth 2**-24, as theirs is: so float32's addition rounds it.

float32 holds every float16 number. The way back rounds to the nearest, of two as near
to the even one, and numbers from 65520 on to infinity. No float32 subnormals arise,
which would take a hundred times as long.
"""

from skxent.kernels._jit import by_dtype, inner, rule
from skxent.kernels._simd import (
    bits,
    float_of,
    lanes,
    lengthened,
    load_beside,
    load_part_beside,
    low_half,
    select,
    spread,
    store,
    store_part,
)

__all__ = ["float_of_half", "half_of_float", "read_floats", "write_floats"]

SHIFT = 13  # bits that the mantissa of float32 has more
EXPONENT = 1 << 23  # that of float32, one higher
REBIAS = 112 * EXPONENT
SMALLEST = 113 * EXPONENT  # the bits of 2**-14, the smallest normal float16
BEYOND = 143 * EXPONENT  # those of 2**16, which float16 has no exponent for
ONE_HALF = 126 * EXPONENT  # those of 1/2
ALMOST_HALF = 0xFFF  # what is added before bits are cut off, one more where odd
NAN = 0x7E00


@rule
def float_of_half(h):
    """Return the float32 numbers of float16 numbers, given as int16."""
    i = lengthened(h)
    m = ((i & 0x7FFF) << SHIFT) + REBIAS
    m = select(m >= BEYOND, m + REBIAS, m)
    small = float_of(m + EXPONENT) - 2.0**-14
    x = select(m < SMALLEST, small, float_of(m))
    return float_of(bits(x) | (i & -0x8000_0000))


@rule
def half_of_float(x):
    """Return float32 numbers rounded to float16, as int16."""
    m = bits(x) & 0x7FFF_FFFF
    m = select(m > BEYOND, BEYOND, m)
    odd = (m >> SHIFT) & 1
    normal = (m + (odd + (ALMOST_HALF - REBIAS))) >> SHIFT
    small = bits(float_of(m) + 0.5) - ONE_HALF
    half = select(m < SMALLEST, small, normal)
    half = select(x != x, NAN, half)
    return low_half(half | ((bits(x) >> 16) & 0x8000))


def _kept(x):
    return x


def _float_as_stored(of_memory, x):
    return x


def _half_as_stored(of_memory, x):
    return half_of_float(x)


# What the numbers of memory are computed as, and back for memory of a dtype.
_as_computed = by_dtype(_kept, _kept, float_of_half)
_as_stored = by_dtype(_float_as_stored, _float_as_stored, _half_as_stored)


@inner
def read_floats(p, i, width, like):
    """Return the elements from ``i`` on, 0 behind the last; of float16 as float32."""
    if width == lanes(like):
        return _as_computed(load_beside(p, i, like))
    return _as_computed(load_part_beside(p, i, width, 0, like))


@inner
def write_floats(v, p, i, width):
    """Write the first lanes of a vector, rounded where memory is float16's."""
    stored = _as_stored(spread(0, p), v)
    if width == lanes(v):
        store(stored, p, i)
    else:
        store_part(stored, p, i, width)

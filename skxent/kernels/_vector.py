"""Exponentials, logarithms and sums on the vectors of :mod:`skxent.kernels._simd`.

Knows nothing of cross-entropy.

The exponential
---------------
Arithmetic only, after the usual reduction (W. J. Cody and W. Waite, Software Manual for
the Elementary Functions, 1980, chapter 6): ``x = n log 2 + r`` with integer ``n`` and
``|r| <= log(2) / 2``, then ``exp x = 2**n exp r``.

- ``n`` is rounded by adding ``1.5 * 2**23`` (``2**52`` for float64): the sum has no
  bits left for a fraction, and its low bits are ``n`` as an integer.
- ``n log 2`` is subtracted in two parts by fused multiply-adds, so that nothing of a
  large ``x`` is lost.
- ``exp r`` is a polynomial of degree 6 (11) whose first two coefficients are 1, a
  minimax fit on the interval: off by 0.05 (0.03) ulp. Added up in pairs, that of
  float64 took 6 % less in rows of two classes, but 11 % more in rows of 1000.
- ``2**(n - k)`` is made by shifting ``n - k`` into the exponent field. The number that
  rounds ``n`` has ``bias - k`` added to it, so the low bits of the sum are that field
  already. ``k`` is even: a product between two integers is then rounded to the same
  one for every ``k``.

A softmax needs ``exp(z - m)`` for the largest logit ``m``. Here it is ``exp(z) 2**-k``
with an integer ``k`` near ``m / log 2``. That is exact, where ``z - m`` is rounded: an
error of 2**-24 of a difference of 50 would be 50 times as much of its exponential.
``k`` is lower than that by ``SPARE_BITS``: what is tiny beside the largest exponential
is not subnormal then, and neither are the terms of a sum that is tiny itself.

``offset``, the number that rounds, and ``lowest`` say what ``k`` is: see
:func:`shift_of`. Logits beyond ``far`` have no such ``n``; their maximum is subtracted
first, which is exact for all whose exponential is not 0.

The logarithms of x and of 1 + x
--------------------------------
``u``, which is ``x`` or ``1 + x``, is split into ``2**n`` and ``1 + f`` with ``1 + f``
in [sqrt 1/2, sqrt 2). What rounding took from ``1 + x`` comes back as
``(x - (u - 1)) / u``, the division being a shift and one step of a series.
``log(1 + f)`` is ``f - f**2 / 2`` and a minimax polynomial for float32, the series of
``2 atanh(f / (2 + f))`` with the polynomial of log1p in Sun's fdlibm for float64.

The errors of all are below 1.5 ulp (``tests/kernels/test_vector.py``).
"""

import math

import numpy as np

from skxent.kernels._jit import by_dtype, rule
from skxent.kernels._simd import (
    any_lane,
    bits,
    exchanged,
    first,
    float_of,
    floats,
    fma,
    maximum,
    muladd,
    narrowed,
    select,
    spread,
    total,
    widened,
)

__all__ = [
    "accumulate",
    "add_to_total",
    "divided",
    "exp_nonpositive",
    "exp_of_reduced",
    "exp_shifted",
    "grown",
    "is_far",
    "is_finite",
    "joined",
    "level_of",
    "log",
    "log1p",
    "log1p_of_fraction",
    "power_of",
    "reduced",
    "shift_of",
    "total_in_parts",
    "two_difference",
    "two_sum",
]

LOG2_E = math.log2(math.e)
LOG_2 = math.log(2.0)
LOG_2_LOW = 2.3190468138462996e-17  # what LOG_2 lacks
LOG_2_32 = float(np.float32(LOG_2))
LOG_2_LOW_32 = LOG_2 - LOG_2_32

ROUND_32, MANTISSA_32, BIAS_32, SPARE_BITS_32, FAR_32 = (
    1.5 * 2**23,
    23,
    127,
    30,
    2.0**20,
)
ROUND, MANTISSA, BIAS, SPARE_BITS, FAR = 1.5 * 2**52, 52, 1023, 100, 2.0**30

# log(2) in two parts, the product of the first with an exponent being exact
SHORT_LOG_2_32 = 45426 / 2**16
REST_LOG_2_32 = LOG_2 - SHORT_LOG_2_32
SHORT_LOG_2 = 6.93147180369123816490e-01
REST_LOG_2 = 1.90821492927058770002e-10
SQRT_HALF_32 = 0x3F35_04F3  # the bits of sqrt(1/2)
SQRT_HALF = 0x3FE6_A09E_667F_3BCD
ONE_32 = 0x3F80_0000  # the bits of 1
ONE = 0x3FF0_0000_0000_0000


TINY, HUGE = 2.0**-126, 2.0**126  # where logarithms look closer
TINY_BITS = 64  # make every number normal that is less


# -- exponentials ----------------------------------------------------------------------


def _power_32(m):
    return (muladd(m, LOG2_E / 2, ROUND_32) - ROUND_32) * 2.0


def _power_64(m):
    return (muladd(m, LOG2_E / 2, ROUND) - ROUND) * 2.0


# The ``k`` of :func:`shift_of`, but for the spare bits.
power_of = by_dtype(_power_32, _power_64)


def _shift_32(m):
    n = power_of(m)
    lowest = (n - (BIAS_32 + SPARE_BITS_32 - 0.4)) * LOG_2_32
    return (BIAS_32 + SPARE_BITS_32 + ROUND_32) - n, lowest


def _shift_64(m):
    n = power_of(m)
    lowest = (n - (BIAS + SPARE_BITS - 0.4)) * LOG_2
    return (BIAS + SPARE_BITS + ROUND) - n, lowest


# (offset, lowest) for a finite maximum ``m`` that is not far.
shift_of = by_dtype(_shift_32, _shift_64)


@rule
def _reduced_32(x, offset):
    # Coefficients that are no constants for LLVM stay in registers over a loop; in long
    # functions it reads constants again for every vector, a tenth of the time.
    zero = offset - offset
    t = muladd(x, zero + LOG2_E, offset)
    n = t - offset
    return t, fma(n, zero - LOG_2_LOW_32, fma(n, zero - LOG_2_32, x))


@rule
def _exp_of_reduced_32(t, r, offset):
    zero = offset - offset
    p = muladd(r, zero + 0.0013814537971343034, zero + 0.008368745078931258)
    p = muladd(p, r, zero + 0.0416683908110588)
    p = muladd(p, r, zero + 0.16666520399498505)
    p = muladd(p, r, zero + 0.4999999343212834)
    p = muladd(p, r, zero + 1.0)
    p = muladd(p, r, zero + 1.0)
    return p * float_of(bits(t) << MANTISSA_32)


@rule
def _reduced_64(x, offset):
    zero = offset - offset
    t = muladd(x, zero + LOG2_E, offset)
    n = t - offset
    return t, fma(n, zero - LOG_2_LOW, fma(n, zero - LOG_2, x))


@rule
def _exp_of_reduced_64(t, r, offset):
    zero = offset - offset
    p = muladd(r, zero + 2.5000018833187373e-08, zero + 2.7630306250293600e-07)
    p = muladd(p, r, zero + 2.7557586803895324e-06)
    p = muladd(p, r, zero + 2.4801492949633869e-05)
    p = muladd(p, r, zero + 1.9841269505773775e-04)
    p = muladd(p, r, zero + 1.3888888943759965e-03)
    p = muladd(p, r, zero + 8.3333333334949773e-03)
    p = muladd(p, r, zero + 4.1666666666529728e-02)
    p = muladd(p, r, zero + 1.6666666666666412e-01)
    p = muladd(p, r, zero + 0.5000000000000011)
    p = muladd(p, r, zero + 1.0)
    p = muladd(p, r, zero + 1.0)
    return p * float_of(bits(t) << MANTISSA)


# (t, r): the number that ``n`` is rounded in, and ``r``, of logits that are not far.
reduced = by_dtype(_reduced_32, _reduced_64)
# ``exp_shifted`` of these.
exp_of_reduced = by_dtype(_exp_of_reduced_32, _exp_of_reduced_64)


@rule
def exp_shifted(z, offset, lowest):
    """Return ``exp(z)`` times the power of 2 of `shift_of`: 0 for -inf, nan for nan."""
    t, r = reduced(maximum(lowest, z), offset)
    return exp_of_reduced(t, r, offset)


def _exp_nonpositive_32(x):
    offset, lowest = shift_of(spread(0.0, x))
    return exp_shifted(x, offset, lowest) * 2.0**-SPARE_BITS_32


def _exp_nonpositive_64(x):
    offset, lowest = shift_of(spread(0.0, x))
    return exp_shifted(x, offset, lowest) * 2.0**-SPARE_BITS


# ``exp(x)`` for ``x <= 0``, not far or -inf; subnormal where it is that small.
exp_nonpositive = by_dtype(_exp_nonpositive_32, _exp_nonpositive_64)


def _is_far_32(m):
    return (m > FAR_32) | (m < -FAR_32)


def _is_far_64(m):
    return (m > FAR) | (m < -FAR)


# Whether a logit is too large for :func:`shift_of`, infinite ones included.
is_far = by_dtype(_is_far_32, _is_far_64)


# -- logarithms ------------------------------------------------------------------------


@rule
def _split_32(u):
    """Return ``n``, ``f`` and the bits that take ``n`` from the exponent."""
    power = (bits(u) - SQRT_HALF_32) >> MANTISSA_32
    shift = power << MANTISSA_32
    return floats(power), float_of(bits(u) - shift) - 1.0, shift


@rule
def _split_64(u):
    """Do as `_split_32`."""
    power = (bits(u) - SQRT_HALF) >> MANTISSA
    shift = power << MANTISSA
    return floats(power), float_of(bits(u) - shift) - 1.0, shift


@rule
def _log_of_parts_32(n, f, low):
    """Return ``n`` times the long part of log 2, ``log(1 + f)`` and ``low``."""
    p = muladd(f, -0.07634501932495551, 0.12761579087746946)
    p = muladd(p, f, -0.13160181261873277)
    p = muladd(p, f, 0.14201757715270555)
    p = muladd(p, f, -0.16623357457235938)
    p = muladd(p, f, 0.2000122688903589)
    p = muladd(p, f, -0.2500082103007602)
    p = muladd(p, f, 0.3333333170736911)
    square = f * f
    low = low + (square * f) * p
    return muladd(n, SHORT_LOG_2_32, f + muladd(square, -0.5, low))


@rule
def _log_of_parts_64(n, f, low):
    """Do as `_log_of_parts_32`."""
    s = f / (f + 2.0)
    z = s * s
    p = muladd(z, 1.479819860511658591e-01, 1.531383769920937332e-01)
    p = muladd(p, z, 1.818357216161805012e-01)
    p = muladd(p, z, 2.222219843214978396e-01)
    p = muladd(p, z, 2.857142874366239149e-01)
    p = muladd(p, z, 3.999999999940941908e-01)
    p = muladd(p, z, 6.666666666666735130e-01)
    half = f * f * 0.5
    return muladd(n, SHORT_LOG_2, f - (half - (muladd(z, p, half) * s + low)))


def _log1p_32(x):
    u = x + 1.0
    n, f, shift = _split_32(u)
    lost = (x - (u - 1.0)) * float_of(ONE_32 - shift)
    lost = lost - lost * f
    return _log_of_parts_32(n, f, muladd(n, REST_LOG_2_32, lost))


def _log1p_64(x):
    u = x + 1.0
    n, f, shift = _split_64(u)
    lost = (x - (u - 1.0)) * float_of(ONE - shift)
    lost = lost - lost * f
    return _log_of_parts_64(n, f, muladd(n, REST_LOG_2, lost))


# ``log(1 + x)`` for ``x >= 0`` that is not huge; nan for nan.
log1p = by_dtype(_log1p_32, _log1p_64)


@rule
def grown(product, x):
    """Return ``(1 + product) (1 + x) - 1``, whose ``log1p`` is the sum of theirs."""
    return muladd(product, x + 1.0, x)


def _log1p_of_fraction_32(x):
    p = muladd(x, -0.0033184374672251098, 0.020204417266998436)
    p = muladd(p, x, -0.057664107638557636)
    p = muladd(p, x, 0.10680518715305821)
    p = muladd(p, x, -0.15355372568292472)
    p = muladd(p, x, 0.19695391408305787)
    p = muladd(p, x, -0.2495858541048062)
    p = muladd(p, x, 0.33330511093867693)
    p = muladd(p, x, -0.4999993275397793)
    return muladd(p, x * x, x)


def _log1p_of_fraction_64(x):
    x2 = x * x
    x4 = x2 * x2
    x8 = x4 * x4
    a = muladd(x, 0.3333333333333333, -0.5)
    b = muladd(x, 0.19999999999879056, -0.24999999999999178)
    c = muladd(x, 0.1428571406291742, -0.1666666665955038)
    d = muladd(x, 0.11111055596842798, -0.12499995707819807)
    e = muladd(x, 0.09087433233277974, -0.09999489446931818)
    f = muladd(x, 0.0761932631187189, -0.08315293402254427)
    g = muladd(x, 0.06061944803668478, -0.06908669593699845)
    h = muladd(x, 0.036672598805900535, -0.04976892288128595)
    i = muladd(x, 0.011968364911072362, -0.02317474770837094)
    j = muladd(x, 0.0013715145666543924, -0.004780308065566416)
    k = muladd(x, 2.1611108104749426e-05, -0.0002498554919183404)
    low = muladd(muladd(d, x2, c), x4, muladd(b, x2, a))
    middle = muladd(muladd(h, x2, g), x4, muladd(f, x2, e))
    high = muladd(k, x4, muladd(j, x2, i))
    return muladd(muladd(muladd(high, x8, middle), x8, low), x2, x)


# ``log(1 + x)`` for ``x`` in [0, 1]: one polynomial through Chebyshev's nodes, 0.1 ulp
# off; that of float64 is added up in pairs, since 22 steps one after another are slow.
log1p_of_fraction = by_dtype(_log1p_of_fraction_32, _log1p_of_fraction_64)


def _log_normal_32(x):
    n, f, _ = _split_32(x)
    return _log_of_parts_32(n, f, n * REST_LOG_2_32)


def _log_normal_64(x):
    n, f, _ = _split_64(x)
    return _log_of_parts_64(n, f, n * REST_LOG_2)


_log_normal = by_dtype(_log_normal_32, _log_normal_64)


@rule
def log(x):
    """Return ``log x``: -inf for 0, nan for what is negative or nan."""
    if any_lane((x < TINY) | (x > HUGE) | (x != x)):
        tiny = x < TINY
        scaled = _log_normal(select(tiny, x * 2.0**TINY_BITS, x))
        result = scaled - select(tiny, x * 0.0 + TINY_BITS * LOG_2, 0.0)
        result = select(x == 0.0, -math.inf, result)
        result = select(x == math.inf, x, result)
        return select(x >= 0.0, result, math.nan)
    return _log_normal(x)


def _level_32(guess, d):
    offset = power_of(guess) - SPARE_BITS_32
    n, f, _ = _split_32(narrowed(d, guess))
    exact = widened(n + offset) * LOG_2
    level = narrowed(exact, guess)
    log_of_rest = widened(_log_of_parts_32(n * 0.0, f, n * 0.0))
    return level, (exact - widened(level)) + log_of_rest


def _level_64(guess, d):
    n, f, _ = _split_64(d)
    n = n + (power_of(guess) - SPARE_BITS)
    level = n * SHORT_LOG_2
    lost = fma(n, SHORT_LOG_2, -level) + n * REST_LOG_2
    return level, _log_of_parts_64(n * 0.0, f, lost)


# (level, rest): the logarithm of a float64 sum of what :func:`exp_shifted` gives with
# ``guess`` as the largest logit; ``level`` of its dtype, and a multiple of log 2.
level_of = by_dtype(_level_32, _level_64)


# -- sums ------------------------------------------------------------------------------


@rule
def two_sum(a, b):
    """Return ``a + b`` rounded, and what the rounding took from it."""
    rounded = a + b
    added = rounded - a
    return rounded, (a - (rounded - added)) + (b - added)


@rule
def two_difference(a, b):
    """Return ``a - b`` rounded, and what the rounding took from it."""
    rounded = a - b
    added = rounded - a  # -b, but for what was lost
    return rounded, (a - (rounded - added)) - (b + added)


@rule
def divided(a, a_low, d, d_low):
    """Return ``a / d`` in two parts, of numbers in two parts."""
    inverse = spread(1.0, d) / d
    quotient = a * inverse
    remainder = fma(-quotient, d, a) + (a_low - quotient * d_low)
    return quotient, remainder * inverse


@rule
def is_finite(x):
    """Return whether numbers are neither infinite nor nan."""
    return x - x == 0.0


@rule
def joined(rounded, lost):
    """Return the sum of the parts; the first alone where it is infinite."""
    return select(is_finite(rounded), rounded + lost, rounded)


def _accumulate_32(term, rounded, lost):
    return rounded + widened(term), lost


def _accumulate_64(term, rounded, lost):
    rounded, error = two_sum(rounded, term)
    return rounded, lost + error


# (rounded, lost), float64, with a term added. float64 holds sums of float32 numbers as
# they are, and ``lost`` stays as it is.
accumulate = by_dtype(_accumulate_32, _accumulate_64)


def _add_to_total_32(like, term, rounded, lost):
    return rounded + term, lost


def _add_to_total_64(like, term, rounded, lost):
    rounded, error = two_sum(rounded, term)
    return rounded, lost + error


# (rounded, lost), float64, with a float64 term added that comes of numbers of a dtype.
add_to_total = by_dtype(_add_to_total_32, _add_to_total_64)


def _total_32(like, rounded, lost):
    return total(rounded) + total(lost), 0.0


def _total_64(like, rounded, lost):
    rounded, error = two_sum(rounded, exchanged(rounded, 4))
    lost = lost + exchanged(lost, 4) + error
    rounded, error = two_sum(rounded, exchanged(rounded, 2))
    lost = lost + exchanged(lost, 2) + error
    rounded, error = two_sum(rounded, exchanged(rounded, 1))
    lost = lost + exchanged(lost, 1) + error
    return two_sum(first(rounded), first(lost))


# The sum over the lanes of ``accumulate``, in two parts, for numbers of a dtype.
total_in_parts = by_dtype(_total_32, _total_64)

"""Exponentials, logarithms and sums of vectors, compiled and as plain Python."""

import math
from fractions import Fraction

import mpmath
import numba
import numpy as np
import pytest

from skxent.kernels import _vector
from skxent.kernels._simd import (
    float_of,
    lanes,
    load,
    load_beside,
    pointer,
    select,
    spread,
    store,
    total,
    widened,
)
from skxent.kernels._vector import (
    accumulate,
    exp_nonpositive,
    exp_shifted,
    is_far,
    is_finite,
    joined,
    level_of,
    log,
    log1p,
    log1p_of_fraction,
    power_of,
    shift_of,
    two_difference,
    two_sum,
)

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
SPARE_BITS = {"float32": _vector.SPARE_BITS_32, "float64": _vector.SPARE_BITS}
FAR = {"float32": _vector.FAR_32, "float64": _vector.FAR}


def even_power(m):
    """Return the even power of 2 that is nearest to ``exp m``."""
    return 2 * int(mpmath.nint(mpmath.mpf(float(m)) / (2 * mpmath.log(2))))


def shifted(x, m, out):
    p, q = pointer(x), pointer(out)
    offset, lowest = shift_of(spread(m, p))
    for i in range(0, x.size, lanes(p)):
        store(exp_shifted(load(p, i), offset, lowest), q, i)


def nonpositive(x, out):
    p, q = pointer(x), pointer(out)
    for i in range(0, x.size, lanes(p)):
        store(exp_nonpositive(load(p, i)), q, i)


def logarithm(x, out):
    p, q = pointer(x), pointer(out)
    for i in range(0, x.size, lanes(p)):
        store(log1p(load(p, i)), q, i)


def both_ways(function, x, *args):
    """Return what machine code and plain Python make of whole vectors."""
    results = []
    for run in (numba.njit(function), function):
        out = np.empty_like(x)
        with np.errstate(all="ignore"):
            run(x, *args, out)
        results.append(out)
    return results


def ulps(got, x, exact):
    """Return the largest error in ulp of the dtype."""
    worst = 0.0
    with mpmath.workprec(160):
        for value, argument in zip(got, x.tolist(), strict=True):
            right = exact(mpmath.mpf(argument))
            ulp = mpmath.mpf(float(np.spacing(abs(got.dtype.type(float(right))))))
            worst = max(worst, float(abs(mpmath.mpf(float(value)) - right) / ulp))
    return worst


@every_dtype
@pytest.mark.parametrize("m", [0.0, 3.7, -81.0, 9999.5, -1e4, 1e6])
def test_exp_is_within_1_5_ulp_whatever_the_largest_logit(dtype, m):
    m = float(np.dtype(dtype).type(m))
    rng = np.random.default_rng(0)
    depth = 100 if dtype == "float32" else 700
    below = np.concatenate([rng.uniform(0, depth, 800), rng.exponential(1, 160)])
    x = np.minimum(m - below, m).astype(dtype)
    got, plain = both_ways(shifted, x, m)
    scale = mpmath.mpf(2) ** (SPARE_BITS[dtype] - even_power(m))
    assert ulps(got, x, lambda z: mpmath.exp(z) * scale) <= 1.5
    np.testing.assert_allclose(plain, got, rtol=4 * np.finfo(dtype).eps)


@every_dtype
def test_exp_has_the_same_digits_whatever_the_largest_logit(dtype):
    # halfway between two integers, where a product is rounded before the sum
    log2_e = np.dtype(dtype).type(math.log2(math.e))
    halves = ((np.arange(-60, 0) + 0.5) / math.log2(math.e)).astype(dtype)
    near = halves * (1 + np.arange(-8, 9)[:, None] * np.finfo(dtype).eps)
    near = near.astype(dtype).ravel()
    ties = near[(near * log2_e) % 1 == 0.5]
    assert ties.size > 40
    x = np.random.default_rng(1).uniform(-60, 0, 4096).astype(dtype)
    x[: ties.size] = ties
    all_powers = [both_ways(shifted, x, m) for m in (0.0, 0.7, 1.4, 2.1, 9.0)]
    for powers in zip(*all_powers, strict=True):
        digits = {np.frexp(each)[0].tobytes() for each in powers}
        assert len(digits) == 1


@every_dtype
def test_exp_of_what_is_too_low_or_nan(dtype):
    x = np.array([-math.inf, -1e4, math.nan, 0.0] * 4, dtype=dtype)
    for got in both_ways(shifted, x, 0.0):
        expected = [0.0, 0.0, math.nan, 2.0 ** SPARE_BITS[dtype]] * 4
        np.testing.assert_array_equal(got, expected)


@every_dtype
def test_exp_nonpositive_is_within_1_5_ulp_and_may_be_subnormal(dtype):
    rng = np.random.default_rng(0)
    depth = 103 if dtype == "float32" else 744
    x = -np.concatenate([rng.uniform(0, depth, 800), rng.exponential(1, 160)])
    x[0] = 0.0
    x = x.astype(dtype)
    got, plain = both_ways(nonpositive, x)
    assert got[0] == 1.0
    assert 0 < got.min() < np.finfo(dtype).tiny
    assert ulps(got, x, mpmath.exp) <= 1.5
    tiny = np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(plain, got, rtol=4 * np.finfo(dtype).eps, atol=tiny)
    for got in both_ways(nonpositive, np.full(16, -math.inf, dtype=dtype)):
        assert np.all(got == 0)


@every_dtype
def test_log1p_is_within_1_5_ulp(dtype):
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    x = np.concatenate(
        [
            10 ** rng.uniform(math.log10(info.tiny) + 1, 6, 480),
            rng.uniform(0, 3, 240),
            # around the powers of 2 times sqrt(1/2), where n changes
            np.sqrt(0.5) * 2.0 ** np.repeat(np.arange(1, 16), 16) - 1,
        ]
    ).astype(dtype)
    x[:3] = [0.0, info.smallest_subnormal, 1.0]
    got, plain = both_ways(logarithm, x)
    assert got[0] == 0.0
    assert got[1] == info.smallest_subnormal
    assert ulps(got, x, mpmath.log1p) <= 1.5
    tiny = info.smallest_subnormal
    np.testing.assert_allclose(plain, got, rtol=4 * info.eps, atol=tiny)
    for got in both_ways(logarithm, np.full(16, math.nan, dtype=dtype)):
        assert np.all(np.isnan(got))


def logarithm_of_fraction(x, out):
    p, q = pointer(x), pointer(out)
    for i in range(0, x.size, lanes(p)):
        store(log1p_of_fraction(load(p, i)), q, i)


@every_dtype
def test_log1p_of_fractions_is_within_1_5_ulp(dtype):
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    exponents = rng.uniform(math.log10(info.tiny) + 1, 0, 480)
    x = np.concatenate([10**exponents, rng.random(480)]).astype(dtype)
    x[:3] = [0.0, info.smallest_subnormal, 1.0]
    got, plain = both_ways(logarithm_of_fraction, x)
    assert got[0] == 0.0
    assert got[1] == info.smallest_subnormal
    assert ulps(got, x, mpmath.log1p) <= 1.5
    tiny = info.smallest_subnormal
    np.testing.assert_allclose(plain, got, rtol=4 * info.eps, atol=tiny)
    for got in both_ways(logarithm_of_fraction, np.full(16, math.nan, dtype=dtype)):
        assert np.all(np.isnan(got))


def plain_logarithm(x, out):
    p, q = pointer(x), pointer(out)
    for i in range(0, x.size, lanes(p)):
        store(log(load(p, i)), q, i)


@every_dtype
def test_log_is_within_1_5_ulp(dtype):
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    x = np.concatenate(
        [
            10 ** rng.uniform(math.log10(info.tiny), math.log10(info.max) - 1, 480),
            rng.uniform(0, 2, 240),
            1 + rng.normal(size=160) * 1e-3,
            # around the powers of 2 times sqrt(1/2), where n changes
            np.sqrt(0.5) * 2.0 ** np.repeat(np.arange(-7, 8), 16),
            # below the normal numbers
            info.smallest_subnormal * 2.0 ** rng.uniform(0, info.nmant, 160),
        ]
    ).astype(dtype)
    x[:5] = [1.0, info.smallest_subnormal, info.tiny, info.max, 1 - info.epsneg]
    got, plain = both_ways(plain_logarithm, x)
    assert got[0] == 0.0
    assert ulps(got, x, mpmath.log) <= 1.5
    np.testing.assert_allclose(plain, got, rtol=4 * info.eps)


@every_dtype
def test_log_of_what_has_none(dtype):
    x = np.array([0.0, -0.0, -1.0, -1e-40, math.nan, math.inf, -math.inf, 1.0] * 2)
    expected = [-math.inf, -math.inf, *[math.nan] * 3, math.inf, math.nan, 0.0] * 2
    for got in both_ways(plain_logarithm, x.astype(dtype)):
        np.testing.assert_array_equal(got, expected)


def level_and_rest(m, d, out):
    p, q = pointer(m), pointer(out)
    for i in range(0, m.size, lanes(p)):
        like = load(p, i)
        level, rest = level_of(like, load_beside(pointer(d), i, like))
        store(widened(level), q, 2 * i)
        store(rest, q, 2 * i + lanes(p))


def levels(m, d):
    """Return levels and what is above them, float64, compiled and plain."""
    for run in (numba.njit(level_and_rest), level_and_rest):
        out = np.empty(2 * m.size)
        run(m, d, out)
        pairs = out.reshape(-1, 2, 64 // m.itemsize)
        yield pairs[:, 0].ravel(), pairs[:, 1].ravel()


def sums_and_guesses(dtype):
    """Return sums of exponentials for guesses, and the power of 2 of each."""
    rng = np.random.default_rng(0)
    n = 960
    far = 1e4 * np.sign(rng.normal(size=n))
    m = np.where(np.arange(n) % 4 == 0, far, rng.normal(0, 30, n)).astype(dtype)
    # the largest exponential may be 13 off the guess, and there may be many of it
    d = 2.0 ** SPARE_BITS[dtype] * np.exp(rng.uniform(-13, 20, n))
    d[:320] = 2.0 ** np.repeat(np.arange(-16, 16), 10) * 2.0 ** SPARE_BITS[dtype]
    d[:320] *= np.tile([1.0, 0.75, np.sqrt(0.5), np.sqrt(2), 1 + 1e-9], 64)
    return m, d, np.array([even_power(x) for x in m])


@every_dtype
def test_levels_are_multiples_of_log_2_and_the_rest_is_right(dtype):
    m, d, powers = sums_and_guesses(dtype)
    eps = float(np.finfo(dtype).eps)
    off = eps if dtype == "float32" else 3e-10  # of a shortened log 2
    for level, rest in levels(m, d):
        np.testing.assert_array_equal(level, level.astype(dtype))
        assert np.all(abs(rest) < 0.36 + abs(level) * off)
        with mpmath.workprec(160):
            for i in range(m.size):
                power = int(powers[i]) - SPARE_BITS[dtype]
                exact = mpmath.log(mpmath.mpf(d[i])) + power * mpmath.log(2)
                got = mpmath.mpf(level[i]) + mpmath.mpf(rest[i])
                # a sum of float32 numbers is rounded to one
                assert abs(got - exact) <= 0.75 * eps
                count = mpmath.nint(mpmath.mpf(level[i]) / mpmath.log(2))
                assert abs(level[i] - count * mpmath.log(2)) <= off * abs(level[i])


@every_dtype
def test_levels_do_not_depend_on_the_guess(dtype):
    m, d, powers = sums_and_guesses(dtype)
    expected = list(levels(m, d))
    for step in (-20, -4, 2, 8, 18):
        other = ((powers + step) * math.log(2)).astype(dtype)
        for got, right in zip(levels(other, d * 2.0**-step), expected, strict=True):
            assert got[0].tobytes() == right[0].tobytes()
            assert got[1].tobytes() == right[1].tobytes()


@every_dtype
@pytest.mark.parametrize("m", [3.0, -40.0, 9999.0, -1e4])
def test_power_says_how_the_scale_changes(dtype, m):
    def run(x, out):
        store(power_of(load(pointer(x), 0)), pointer(out), 0)

    for out in both_ways(run, np.full(16, m, dtype=dtype)):
        assert out[0] == even_power(m)


@every_dtype
def test_what_is_far_and_what_is_finite(dtype):
    def run(x, out):
        z = load(pointer(x), 0)
        store(select(is_far(z), 1.0, z * 0.0), pointer(out), 0)
        store(select(is_finite(z), 1.0, spread(0.0, z)), pointer(out), 16)

    x = np.zeros(32, dtype=dtype)
    far = FAR[dtype]
    x[:8] = [far, -far, 2 * far, -2 * far, math.inf, -math.inf, 1.0, 0.0]
    for out in both_ways(run, x):
        assert out[:8].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
        assert out[16:24].tolist() == [1, 1, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("a", "b"),
    [(1.0, 1e-20), (1e-20, 1.0), (0.1, 0.2), (-1e10, 1e-10), (3.0, -3.0)],
)
def test_sum_and_difference_in_two_parts_lose_nothing(a, b):
    rounded, lost = two_sum(a, b)
    assert rounded == a + b
    assert Fraction(rounded) + Fraction(lost) == Fraction(a) + Fraction(b)
    assert two_difference(a, -b) == (rounded, lost)


@every_dtype
def test_running_sums_keep_what_rounding_takes(dtype):
    def run(x, out):
        p = pointer(x)
        rounded = widened(spread(0.0, p))
        lost = rounded
        for i in range(0, x.size, lanes(p)):
            rounded, lost = accumulate(load(p, i), rounded, lost)
        out[0] = total(joined(rounded, lost))

    x = np.zeros(16 * 1001)
    x[::16] = 1.0
    x[16::16] = 2.0**-54
    x = x.astype(dtype)
    for run_ in (run, numba.njit(run)):
        out = np.empty(1)
        run_(x, out)
        if dtype == "float64":
            assert out[0] == 1 + 1000 * 2.0**-54
        else:  # float64 sums of float32 numbers are rounded late, not never
            assert out[0] == pytest.approx(1.0, abs=1e-13)


def test_infinite_sums_stay_infinite():
    def run(x, out):
        rounded = load_beside(pointer(x), 0, spread(0.0, pointer(x)))
        store(joined(rounded, load(pointer(x), 8)), pointer(out), 0)

    x = np.array([math.inf, -math.inf, 1.0, math.nan] * 2 + [math.nan, 1, 2, 0] * 2)
    for out in both_ways(run, x):
        np.testing.assert_array_equal(out[:4], [math.inf, -math.inf, 3.0, math.nan])


def test_bits_of_constants():
    for bits, value in [
        (np.int32(_vector.ONE_32), 1.0),
        (np.int64(_vector.ONE), 1.0),
        (np.int32(_vector.SQRT_HALF_32), math.sqrt(0.5)),
        (np.int64(_vector.SQRT_HALF), math.sqrt(0.5)),
    ]:
        got = float_of(np.array([bits]))[0]
        assert float(got) == pytest.approx(value, rel=float(np.finfo(got.dtype).eps))
    with mpmath.workprec(200):
        exact = mpmath.mpf(_vector.LOG_2) + mpmath.mpf(_vector.LOG_2_LOW)
        assert abs(exact - mpmath.log(2)) < mpmath.mpf(2) ** -105

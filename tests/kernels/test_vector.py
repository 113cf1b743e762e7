"""The vectorisable arithmetic, as plain Python and compiled."""

import math
from fractions import Fraction

import mpmath
import numba
import numpy as np
import pytest

from skxent.kernels._vector import (
    EXP_SCALE,
    exp_nonpositive,
    from_ordered,
    joined,
    log1p_nonnegative,
    scaled_exp_difference,
    to_ordered,
    two_sum,
)


@numba.njit
def exp_all(x, out):
    for i in range(x.size):
        out[i] = exp_nonpositive(x[i])


@numba.njit
def scaled_exp_all(z, m, narrow, out):
    for i in range(z.size):
        out[i] = scaled_exp_difference(z[i], m[i], narrow)


@numba.njit
def log1p_all(x, out):
    for i in range(x.size):
        out[i] = log1p_nonnegative(x[i])


@pytest.fixture
def arguments():
    rng = np.random.default_rng(0)
    return np.concatenate(
        [
            -rng.exponential(1.0, 20_000),
            -rng.uniform(0, 708, 20_000),
            -np.logspace(-300, 0, 1000),
            # around the halves of log 2, where the rounding of n changes
            -(np.arange(1000) + 0.5) * math.log(2) * np.repeat([1 - 1e-15, 1], 500),
            -rng.uniform(708, 746, 1000),  # subnormal
            [0.0, -0.0, -708.0],
        ]
    )


def test_exp_is_within_one_ulp(arguments):
    got = np.empty_like(arguments)
    exp_all(arguments, got)
    with mpmath.workprec(120):
        for x, value in zip(arguments[::7].tolist(), got[::7].tolist(), strict=True):
            exact = mpmath.exp(x)
            assert abs(value - exact) <= mpmath.mpf(math.ulp(float(exact))), x


def test_exp_of_python_and_of_machine_code_differ_by_fused_products_only(arguments):
    # the machine code may keep the unrounded product in a fused multiply-add
    got = np.empty_like(arguments)
    exp_all(arguments, got)
    plain = np.array([exp_nonpositive(x) for x in arguments.tolist()])
    np.testing.assert_allclose(plain, got, rtol=4 * np.finfo(float).eps)


@pytest.mark.parametrize("x", [-745.2, -777.1, -1000.0, -1e300, -math.inf])
def test_exp_below_the_range_is_zero(x):
    got = np.empty(1)
    exp_all(np.array([x]), got)
    assert got[0] == exp_nonpositive(x) == 0.0


def exact_scaled_exp(z, m):
    return EXP_SCALE * mpmath.exp(mpmath.mpf(z) - mpmath.mpf(m))


def test_exp_of_a_difference_does_not_see_its_rounding():
    rng = np.random.default_rng(0)
    z = rng.uniform(-1e4, 1e4, 3000)
    m = z + rng.uniform(0, 776, 3000)
    got = np.empty_like(z)
    scaled_exp_all(z, m, False, got)
    plain = [scaled_exp_difference(*zm, False) for zm in zip(z, m, strict=True)]
    with mpmath.workprec(120):
        for *zm, value in zip(z.tolist(), m.tolist(), got.tolist(), strict=True):
            exact = exact_scaled_exp(*zm)
            assert abs(value - exact) <= mpmath.mpf(math.ulp(float(exact))), zm
    np.testing.assert_allclose(plain, got, rtol=4 * np.finfo(float).eps)


def test_exp_of_a_difference_of_float32_needs_no_correction():
    rng = np.random.default_rng(0)
    z = rng.uniform(-1e4, 1e4, 1000).astype(np.float32)
    m = z + rng.uniform(0, 200, 1000).astype(np.float32)
    got = np.empty(z.size)
    scaled_exp_all(z.astype(float), m.astype(float), True, got)
    with mpmath.workprec(120):
        for *zm, value in zip(z.tolist(), m.tolist(), got.tolist(), strict=True):
            exact = exact_scaled_exp(*zm)
            assert abs(value - exact) <= mpmath.mpf(2.0**-44) * exact, zm


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize(
    ("z", "m", "expected"),
    [
        (2.5, 2.5, EXP_SCALE),
        (-math.inf, 1.0, 0.0),
        (-1e308, 1e308, 0.0),
        (math.nan, 1.0, math.nan),
        (1.0, math.nan, math.nan),
        (-math.inf, -math.inf, math.nan),
        (1.0, math.inf, 0.0),
    ],
)
def test_exp_of_a_difference_at_the_ends(z, m, expected, narrow):
    got = np.empty(1)
    scaled_exp_all(np.array([z]), np.array([m]), narrow, got)
    np.testing.assert_array_equal(got, expected)


def test_two_parts_hold_a_sum_exactly():
    rng = np.random.default_rng(0)
    for a, b in (rng.normal(size=(1000, 2)) * [1.0, 1e-9]).tolist():
        total, lost = two_sum(a, b)
        assert total == a + b
        assert Fraction(total) + Fraction(lost) == Fraction(a) + Fraction(b)


def test_parts_of_an_infinite_sum_are_joined_to_infinity():
    assert joined(*two_sum(1.0, math.inf)) == math.inf
    assert joined(1.0, 2.0**-52) == 1.0 + 2.0**-52


def test_exp_of_zero_is_one_and_of_nan_is_nan():
    got = np.empty(2)
    exp_all(np.array([0.0, math.nan]), got)
    assert got[0] == exp_nonpositive(0.0) == 1.0
    assert math.isnan(got[1])
    assert math.isnan(exp_nonpositive(math.nan))


def test_ordered_integers_have_the_order_of_the_floats():
    values = [-math.inf, -1e300, -1.5, -1.0, -5e-324, 0.0, 5e-324, 1.0, 2.0, math.inf]
    codes = [int(to_ordered(v)) for v in values]
    assert codes == sorted(codes)
    assert len(set(codes)) == len(codes)
    assert [float(from_ordered(c)) for c in codes] == values
    assert int(to_ordered(math.nan)) > codes[-1]


def test_log1p_is_within_one_ulp():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            np.exp(rng.uniform(-40, 15, 5000)),
            rng.uniform(0, 3, 5000),
            [0.0, 5e-324, 1e-300, 2.0**-53, 1.0, 2.0**52, 1e300],
        ]
    )
    got = np.empty_like(x)
    log1p_all(x, got)
    with mpmath.workprec(120):
        for argument, value in zip(x.tolist(), got.tolist(), strict=True):
            exact = mpmath.log1p(argument)
            assert abs(value - exact) <= mpmath.mpf(math.ulp(float(exact))), argument
    plain = np.array([log1p_nonnegative(v) for v in x.tolist()])
    np.testing.assert_allclose(plain, got, rtol=4 * np.finfo(float).eps)


def test_log1p_of_nan_is_nan():
    got = np.empty(1)
    log1p_all(np.array([math.nan]), got)
    assert math.isnan(got[0])
    assert math.isnan(log1p_nonnegative(math.nan))

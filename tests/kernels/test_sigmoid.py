"""The rules and the blocks of binary targets, as plain Python."""

import math

import mpmath
import numba
import numpy as np
import pytest

from skxent.kernels import _rules, _sigmoid
from skxent.kernels._sigmoid import MOST
from skxent.kernels._simd import load, pointer, store

LOGITS = [-800.0, -40.0, -1.5, -1e-9, 0.0, 0.3, 17.0, 40.0, 800.0]


@pytest.mark.parametrize("x", LOGITS)
@pytest.mark.parametrize(("t0", "t1"), [(0.0, 2.0), (1.5, 0.0), (0.25, 0.75)])
def test_loss_residual_and_curvature_are_derivatives_of_one_another(x, t0, t1):
    e = math.exp(-abs(x))
    with mpmath.workdps(60):

        def loss(z):
            down, up = mpmath.log1p(mpmath.exp(-z)), mpmath.log1p(mpmath.exp(z))
            return t1 * down + t0 * up

        got = _rules.sigmoid_loss(t0, t1, x, math.log1p(e))
        assert got == pytest.approx(float(loss(x)), rel=1e-15, abs=1e-300)
        slope = float(mpmath.diff(loss, x))
        got = _rules.sigmoid_residual(t0, t1, x, e)
        assert got == pytest.approx(slope, rel=1e-14, abs=1e-30)
        bend = 3.0 * float(mpmath.diff(loss, x, 2))
        got = _rules.sigmoid_curvature(t0 + t1, e, 3.0)
        assert got == pytest.approx(bend, rel=1e-14, abs=1e-30)


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_no_softmax_no_loss(t):
    assert math.isnan(_rules.defined(math.inf))
    assert _rules.defined(-math.inf) == -math.inf
    assert _rules.defined(2.0) == 2.0
    assert math.isnan(_rules.sigmoid_loss(t, t, math.nan, math.nan))
    assert math.isnan(_rules.sigmoid_residual(t, t, math.nan, math.nan))


def test_minus_infinity_costs_what_the_target_has_there():
    assert _rules.sigmoid_loss(1.0, 0.0, -math.inf, 0.0) == 0.0
    assert _rules.sigmoid_loss(1.0, 1e-300, -math.inf, 0.0) == math.inf
    assert _rules.sigmoid_residual(0.25, 0.75, -math.inf, 0.0) == -0.75


def surprise(p):
    """Return ``-log p`` by machine code and by plain Python."""

    @numba.njit
    def run(x, out):
        p = load(pointer(x), 0)
        store(_sigmoid.surprise(p, 1.0 - p), pointer(out), 0)

    x, out = np.full(16, p), np.empty(16)
    run(x, out)
    with np.errstate(all="ignore"):
        plain = _sigmoid.surprise.py_func(load(x, 0), 1.0 - load(x, 0))
    return float(out[0]), float(plain[0])


@pytest.mark.parametrize("p", [5e-324, 1e-60, 1e-20, 2.0**-64, 0.25, 0.9, 1 - 2.0**-53])
def test_surprise_keeps_its_digits(p):
    assert surprise(p) == pytest.approx(2 * (-math.log(p),), rel=1e-15)


def test_surprise_of_certainty_and_of_the_impossible():
    assert surprise(1.0) == (0.0, 0.0)
    assert surprise(0.0) == (math.inf, math.inf)
    assert all(map(math.isnan, surprise(math.nan)))


def test_loss_of_a_probability_limits_both_surprises():
    assert _rules.bernoulli_loss(0.5, 2.0, 115.0, 3.0) == 56.0
    assert _rules.bernoulli_loss(0.5, 2.0, 3.0, 115.0) == 201.5
    assert _rules.bernoulli_loss(0.0, 1.0, math.inf, 0.0) == 0.0
    assert _rules.bernoulli_loss(1.0, 0.0, 0.0, math.inf) == 0.0
    assert math.isnan(_rules.bernoulli_loss(1.0, 0.0, math.nan, math.nan))


def test_slope_of_a_probability_divides_by_no_less_than_1e_12():
    assert _rules.bernoulli_slope(0.25, 1.0) == -4.0
    assert _rules.bernoulli_slope(0.0, 1.0) == -1e12
    assert _rules.bernoulli_slope(1.0, 1.0) == 0.0
    assert math.isnan(_rules.bernoulli_slope(math.nan, 1.0))


@pytest.mark.parametrize("period", [1, 2, 127, 128, 129, 300])
@pytest.mark.parametrize("first", [0, 1, 255, 256])
@pytest.mark.parametrize("size", [MOST // 2, MOST])
def test_block_is_filled_around_the_end_of_the_period(period, first, size):
    values, block = np.arange(float(period)), np.zeros(size + 1)
    _sigmoid.fill_periodic.py_func(values, first, size, block)
    np.testing.assert_array_equal(block[:-1], (first + np.arange(size)) % period)
    assert block[-1] == 0


@pytest.mark.parametrize("n", [1, 127, 128, 300])
def test_both_twins_add_up_the_losses_of_each_chunk(n):
    rng = np.random.default_rng(0)
    x, q, vector = rng.normal(size=n), rng.random(n), rng.normal(size=n)
    one, chunk_size = np.ones(1), 100
    n_chunks = -(-n // chunk_size)
    results = []
    for twin in _sigmoid.sigmoid_losses:
        losses, slopes, sums = np.empty(n), np.empty(n), np.empty(n_chunks)
        arguments = (x, q, one, one, 1.0, 0.0, 2.0, chunk_size, losses, sums, slopes)
        twin(0, n_chunks, *arguments)
        p = 1 / (1 + np.exp(-x))
        expected = -q * np.log(p) - (1 - q) * np.log1p(-p)
        np.testing.assert_allclose(losses, expected, rtol=1e-12)
        np.testing.assert_allclose(slopes, 2 * (p - q), rtol=1e-12, atol=1e-14)
        bounds = range(0, n, chunk_size)
        np.testing.assert_allclose(sums, np.add.reduceat(losses, bounds), rtol=1e-14)
        results.append([losses, slopes, sums])
    for twin, result in zip(_sigmoid.sigmoid_curvatures, results, strict=True):
        product = np.empty(n)
        twin(0, n_chunks, x, q, one, one, 1.0, 0.0, vector, 2.0, chunk_size, product)
        np.testing.assert_allclose(product, 2 * p * (1 - p) * vector, rtol=1e-12)
        result.append(product)
    for a, b in zip(*results, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_twins_add_up_losses_alone_to_the_same_bits(dtype):
    rng = np.random.default_rng(1)
    x, q = rng.normal(size=(2, 9000)).astype(dtype)
    one, none, chunk_size = np.ones(1), np.empty(0, dtype), 4000
    results = []
    for twin in _sigmoid.sigmoid_losses:
        sums, slopes = np.empty(3), np.empty_like(x)
        arguments = (x, q, one, one, 0.9, 0.05, 2.0, chunk_size, none, sums)
        twin(0, 3, *arguments, slopes)
        alone = np.empty(3)
        twin(0, 3, *arguments[:-1], alone, none)
        assert alone.tobytes() == sums.tobytes()
        results.append(sums.tobytes() + slopes.tobytes())
    assert results[0] == results[1]

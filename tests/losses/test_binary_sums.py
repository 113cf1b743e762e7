"""Sums of binary losses without weights: one logarithm for many elements."""

import math

import numpy as np
import pytest

from skxent.losses import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_value_and_grad,
)

SIZES = [1, 7, 16, 33, 1024, 1040, 2048, 5000, 70_000]
FLOATS = ["float32", "float64"]
every_float = pytest.mark.parametrize("dtype", FLOATS)
SMOOTHING = [0.0, 0.1]


def exact_losses(x, q, label_smoothing=0.0):
    """The losses in the longest floats that numpy has."""
    x, q = x.astype(np.longdouble), q.astype(np.longdouble)
    t1 = (1 - label_smoothing) * q + label_smoothing / 2
    t0 = (1 - label_smoothing) * (1 - q) + label_smoothing / 2
    t = np.where(x > 0, t0, t1)
    far = np.multiply(t, abs(x), out=np.zeros_like(x), where=t != 0)
    return far + np.log1p(np.exp(-abs(x)))


def make_elements(n, spread, dtype, soft=False):
    """Logits that are right by ``spread``, and labels; or probabilities."""
    rng = np.random.default_rng(n)
    q = rng.random(n) if soft else rng.integers(0, 2, n)
    x = rng.normal(size=n) + np.where(q > 0.5, spread, -spread)
    return x.astype(dtype), q.astype(dtype)


@every_float
@pytest.mark.parametrize("spread", [0.0, 3.0, 60.0])  # the last has tiny losses alone
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("label_smoothing", SMOOTHING)
def test_a_sum_has_all_its_digits(spread, soft, label_smoothing, dtype):
    options = {"label_smoothing": label_smoothing}
    tolerance = {"rtol": 4 * np.finfo(dtype).eps}
    for n in SIZES:
        x, q = make_elements(n, spread, dtype, soft)
        expected = exact_losses(x, q, **options)
        total = binary_cross_entropy_with_logits(x, q, reduction="sum", **options)
        np.testing.assert_allclose(total, expected.sum(), **tolerance)
        mean, _ = binary_cross_entropy_with_logits_value_and_grad(x, q, **options)
        np.testing.assert_allclose(mean, expected.mean(), **tolerance)


@every_float
@pytest.mark.parametrize("label_smoothing", SMOOTHING)
def test_products_of_the_most_that_a_factor_can_be(label_smoothing, dtype):
    x = np.zeros(70_000, dtype)
    options = {"label_smoothing": label_smoothing}
    loss = binary_cross_entropy_with_logits(x, x, **options)
    np.testing.assert_allclose(loss, math.log(2), rtol=np.finfo(dtype).eps)


@every_float
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("label_smoothing", SMOOTHING)
def test_weights_of_1_leave_the_gradient_as_it_is(label_smoothing, soft, dtype):
    x, q = make_elements(5000, 1.0, dtype, soft)
    options = {"label_smoothing": label_smoothing}
    loss, gradient = binary_cross_entropy_with_logits_value_and_grad(x, q, **options)
    options["weight"] = np.ones(len(x))
    one, same = binary_cross_entropy_with_logits_value_and_grad(x, q, **options)
    np.testing.assert_allclose(loss, one, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(gradient, same)


@every_float
@pytest.mark.parametrize("place", [0, 1030, 4999])  # the last is in no whole group
def test_infinite_losses_among_others(place, dtype):
    x, q = make_elements(5000, 3.0, dtype)
    x[place], q[place] = -math.inf, 0.0
    loss, gradient = binary_cross_entropy_with_logits_value_and_grad(x, q)
    expected = exact_losses(x, q).mean()
    np.testing.assert_allclose(loss, expected, rtol=4 * np.finfo(dtype).eps)
    assert gradient[place] == 0
    assert np.isfinite(gradient).all()
    for target in (1.0, 0.5, 1e-30):
        q[place] = target
        loss, gradient = binary_cross_entropy_with_logits_value_and_grad(x, q)
        assert loss == math.inf
        assert np.isfinite(gradient).all()
    assert binary_cross_entropy_with_logits(x, q, weight=0.0) == 0


@every_float
@pytest.mark.parametrize("name", ["logit", "target"])
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_sum_is_what_its_elements_say(bad, name, dtype):
    x, q = make_elements(5000, 3.0, dtype)
    (x if name == "logit" else q)[1030] = bad
    with np.errstate(invalid="ignore"):
        expected = binary_cross_entropy_with_logits(x, q, reduction="none").sum()
    loss = binary_cross_entropy_with_logits(x, q, reduction="sum")
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    expected = binary_cross_entropy_with_logits_grad(x, q)
    out = x.copy()  # written in the place of the logits, which are looked at twice
    got = binary_cross_entropy_with_logits_grad(out, q, out=out)
    np.testing.assert_array_equal(got, expected)


@every_float
def test_losses_whose_sum_is_beyond_the_dtype(dtype):
    most = np.finfo(dtype).max
    x = np.full(64, most, dtype)
    loss = binary_cross_entropy_with_logits(x, np.zeros_like(x))
    assert loss == (math.inf if dtype == "float64" else most)

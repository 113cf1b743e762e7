"""Sums over rows of two classes: one logarithm of a product of many rows."""

import math

import numpy as np
import pytest

from skxent.losses import cross_entropy, cross_entropy_value_and_grad

SIZES = [1, 7, 16, 33, 1024, 1040, 5000]
OPTIONS = {
    "plain": {},
    "class weights": {"weight": [0.3, 1.7]},
    "smoothing": {"label_smoothing": 0.1},
    "ignored": {"ignore_index": 1},
    "all": {"weight": [0.3, 1.7], "label_smoothing": 0.1, "ignore_index": -7},
}


def exact_losses(z, y, weight=(1.0, 1.0), label_smoothing=0.0, ignore_index=-100):
    """The losses in the longest floats that numpy has."""
    z = z.astype(np.longdouble)
    t = np.eye(2)[np.where(y < 0, 0, y)] * (1 - label_smoothing) + label_smoothing / 2
    t = t * np.asarray(weight, np.longdouble)
    t[y == ignore_index] = 0
    x = z[:, 1] - z[:, 0]
    far = np.stack([np.maximum(x, 0), np.maximum(-x, 0)], axis=1)
    return (t * (far + np.log1p(np.exp(-abs(x)))[:, None])).sum(axis=1)


def make_rows(n, spread, dtype, options):
    rng = np.random.default_rng(n)
    z = rng.normal(0, 1, (n, 2)).astype(dtype)
    y = rng.integers(0, 2, n)
    z[np.arange(n), y] += spread
    if options.get("ignore_index") == -7:
        y[::3] = -7
        z[::6] = math.nan
    return z, y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [0.0, 3.0, 60.0])  # the last has tiny losses alone
@pytest.mark.parametrize("name", OPTIONS)
def test_a_sum_has_all_its_digits(name, spread, dtype):
    options = OPTIONS[name]
    for n in SIZES:
        z, y = make_rows(n, spread, dtype, options)
        kept = y != options.get("ignore_index")
        expected = exact_losses(z[kept], y[kept], **options).sum()
        rows = cross_entropy(z, y, reduction="sum", **options)
        columns = cross_entropy(np.asfortranarray(z), y, reduction="sum", **options)
        np.testing.assert_allclose(rows, expected, rtol=4 * np.finfo(dtype).eps)
        assert columns == rows


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIONS)
def test_weights_of_1_leave_the_gradient_as_it_is(name, dtype):
    options = OPTIONS[name] | {"reduction": "sum"}  # weights may add up otherwise
    z, y = make_rows(5000, 1.0, dtype, options)
    loss, gradient = cross_entropy_value_and_grad(z, y, **options)
    ones = np.ones(len(y))
    one, same = cross_entropy_value_and_grad(z, y, sample_weight=ones, **options)
    np.testing.assert_allclose(loss, one, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(gradient, same)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinite_losses_among_others(dtype):
    z, y = make_rows(3000, 3.0, dtype, {})
    expected = exact_losses(z, y)
    z[1500, 1 - y[1500]] = -np.inf  # a loss of 0
    expected[1500] = 0
    loss = cross_entropy(z, y, reduction="sum")
    np.testing.assert_allclose(loss, expected.sum(), rtol=4 * np.finfo(dtype).eps)
    z[1500] = z[1500, ::-1]
    assert cross_entropy(z, y, reduction="sum") == math.inf
    weight = np.ones(2)
    weight[y[1500]] = 0
    expected[y == y[1500]] = 0
    loss = cross_entropy(z, y, reduction="sum", weight=weight)
    np.testing.assert_allclose(loss, expected.sum(), rtol=4 * np.finfo(dtype).eps)
    assert cross_entropy(z, y, reduction="sum", weight=[0.0, 0.0]) == 0


def test_losses_whose_sum_is_beyond_float32_have_a_mean():
    z = np.zeros((64, 2), np.float32)
    z[:, 1] = 2e38
    assert cross_entropy(z, np.zeros(64, int)) == np.float32(2e38)
    assert cross_entropy(z, np.zeros(64, int), reduction="sum") == math.inf
    assert cross_entropy(z, np.ones(64, int)) == 0

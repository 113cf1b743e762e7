"""Smoothing of short rows, which ``kernels/_block_smoothing.py`` adds up for a block.

A sum alone shows it: losses of each row, and weighted ones, take another way.
"""

import numpy as np
import pytest

from skxent.losses import cross_entropy, cross_entropy_value_and_grad
from tests.losses import cases

DTYPES = ["float32", "float64"]
CLASSES = [3, 8, 10, 16, 17, 37, 64, 100, 256]
# What a row is measured from, and how far its logits are apart.
PLACES = {"near 0": (0, 1), "wide": (0, 20), "far": (3e4, 3), "low": (-2e5, 1)}
SMOOTHINGS = [1e-6, 0.1, 0.5]
ULP = {"float32": 2.0**-24, "float64": 2.0**-53}


def make_rows(n_classes, dtype, place="near 0", n=500):
    rng = np.random.default_rng(n_classes)
    level, spread = PLACES[place]
    z = (level + rng.normal(0, spread, (n, n_classes))).astype(dtype)
    y = rng.integers(0, n_classes, n)
    ignored = np.where(rng.random(n) < 0.2, -100, y)
    return z, y, ignored


def exact_sum(z, y, smoothing):
    """Return the sum of the losses of rows, to 64 bits or more."""
    z = z[y >= 0].astype(np.longdouble)
    z = z - z.max(axis=1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=1, keepdims=True)) - z
    of_index = np.take_along_axis(losses, y[y >= 0][:, np.newaxis], axis=1)
    smoothing = np.longdouble(smoothing)
    return ((1 - smoothing) * of_index[:, 0] + smoothing * losses.mean(axis=1)).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("place", PLACES)
def test_sums_are_right_to_the_last_digit(place, n_classes, dtype):
    z, y, ignored = make_rows(n_classes, dtype, place)
    for target in (y, ignored):
        for smoothing in SMOOTHINGS:
            exact = exact_sum(z, target, smoothing)
            options = {"label_smoothing": smoothing, "reduction": "sum"}
            value = cross_entropy(z, target, **options)
            assert abs(value - exact) <= 4 * ULP[dtype] * exact
            both = cross_entropy_value_and_grad(z, target, **options)
            assert cases.same_bits(both[0], value)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", CLASSES)
def test_same_bits_in_any_memory_order(n_classes, dtype):
    for target in make_rows(n_classes, dtype, n=640)[1:]:
        z = make_rows(n_classes, dtype, n=640)[0]
        options = {"label_smoothing": 0.1}
        rows = cross_entropy_value_and_grad(z, target, **options)
        planes = cross_entropy_value_and_grad(np.asfortranarray(z), target, **options)
        assert cases.same_bits(rows[0], planes[0])
        assert cases.same_bits(rows[1], np.ascontiguousarray(planes[1]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [3, 10, 21, 100])
@pytest.mark.parametrize("columns", [60, 64, 100])
def test_planes_agree_with_rows(columns, n_classes, dtype):
    """Groups at the end of a plane have classes in the lines of two."""
    z, y, ignored = make_rows(n_classes, dtype, n=5 * columns)
    planes = z.reshape(5, columns, n_classes).transpose(0, 2, 1).copy()
    for target in (y, ignored):
        options = {"label_smoothing": 0.1, "reduction": "sum"}
        value, gradient = cross_entropy_value_and_grad(z, target, **options)
        got, slopes = cross_entropy_value_and_grad(
            planes, target.reshape(5, columns), **options
        )
        np.testing.assert_allclose(got, value, rtol=2 * ULP[dtype])
        slopes = slopes.transpose(0, 2, 1).reshape(z.shape)
        assert cases.same_bits(slopes, gradient)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_classes", [3, 10, 37, 100])
@pytest.mark.parametrize("odd", [-1e3, -1e9, -np.inf, np.inf, np.nan, 1e9])
def test_rows_that_are_not_plain(odd, n_classes, order, dtype):
    """Their blocks are added up row by row, beside those of the others."""
    z, y, _ = make_rows(n_classes, dtype)
    z[130, (y[130] + 1) % n_classes] = odd
    z = np.asarray(z, order=order)
    options = {"label_smoothing": 0.1}
    losses = cross_entropy(z, y, reduction="none", **options)
    value, gradient = cross_entropy_value_and_grad(z, y, reduction="sum", **options)
    expected = losses.astype(float).sum()
    np.testing.assert_allclose(value, expected, rtol=len(y) * ULP[dtype])
    assert np.isfinite(value) == (np.isfinite(odd))
    # ignored, it counts for nothing
    y[130] = -100
    value, gradient = cross_entropy_value_and_grad(z, y, reduction="sum", **options)
    expected = np.delete(losses, 130).astype(float).sum()
    np.testing.assert_allclose(value, expected, rtol=len(y) * ULP[dtype])
    assert not gradient[130].any()

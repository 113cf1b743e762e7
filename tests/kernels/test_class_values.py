"""Products of class weights and smoothing, against rational arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest

from skxent.losses._targets import encode_targets


def encoded(weight, smoothing):
    """The record for one row of class 0."""
    return encode_targets(
        np.zeros(1, np.int64),
        len(weight),
        dtype=np.dtype(float),
        weight=weight,
        label_smoothing=smoothing,
    )


@pytest.mark.parametrize("smoothing", [0.1, 1e-3, 0.7, 1 / 3])
@pytest.mark.parametrize("n_classes", [2, 7, 1000])
def test_products_are_rounded_once(n_classes, smoothing):
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.25, 4.0, n_classes)
    weight[:2] = 0.0, 1e300
    targets = encoded(weight, smoothing)
    share = Fraction(smoothing)
    for w, on, low, off in zip(
        map(Fraction, weight.tolist()),
        targets.on_value.tolist(),
        targets.on_low.tolist(),
        targets.off_value.tolist(),
        strict=True,
    ):
        assert on == float(w * (1 - share))
        assert off == float(w * share / n_classes)
        missing = w * (1 - share) - Fraction(on)
        assert abs(Fraction(low) - missing) <= abs(w) / 2**100


@pytest.mark.parametrize("smoothing", [0.5, 1.0])
def test_an_infinite_weight_has_no_share_of_nothing(smoothing):
    targets = encoded(np.array([math.inf, 1.0]), smoothing)
    on = 0.0 if smoothing == 1 else math.inf
    np.testing.assert_array_equal(targets.on_value, [on, 1.0 - smoothing])
    np.testing.assert_array_equal(targets.off_value, [math.inf, smoothing / 2])
    np.testing.assert_array_equal(targets.on_low, [0.0, 0.0])


def test_without_smoothing_weights_are_copied():
    weight = np.array([1.0, 2.0, 3.0])[::-1]
    targets = encoded(weight, 0.0)
    assert targets.on_value.flags.carray
    assert not np.shares_memory(targets.on_value, weight)
    np.testing.assert_array_equal(targets.on_value, [3.0, 2.0, 1.0])
    np.testing.assert_array_equal(targets.off_value, np.zeros(3))
    assert targets.on_low.size == 0

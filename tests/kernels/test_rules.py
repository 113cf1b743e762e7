"""The scalar rules as plain Python: the source that CPU and CUDA share."""

import math

import numpy as np
import pytest

from skxent.kernels import _rules


@pytest.mark.parametrize("x", [math.inf, -math.inf, math.nan, 3.0])
def test_zero_target_adds_nothing_whatever_the_loss(x):
    assert _rules.weighted(0.0, x) == 0.0


def test_target_at_reads_indices_and_probabilities_alike():
    on, off = np.array([0.9, 1.8, 2.7]), np.array([0.03, 0.06, 0.09])
    index, one_hot = np.array([2]), np.array([[0.0, 0.0, 1.0]])
    for k in range(3):
        expected = on[k] * one_hot[0, k] + off[k]
        assert _rules.target_at(index, on, off, 0, k) == pytest.approx(expected)
        assert _rules.target_at(one_hot, on, off, 0, k) == pytest.approx(expected)


def test_residual_and_curvature_are_the_derivatives_of_the_loss():
    z, t, v = (
        np.array([0.3, -1.2, 2.0]),
        np.array([0.2, 0.5, 0.6]),
        np.array([1, 2, -1]),
    )

    def loss(z):
        return t.sum() * np.log(np.exp(z).sum()) - t @ z

    p = np.exp(z) / np.exp(z).sum()
    for k in range(3):
        h = 1e-5 * np.eye(3)[k]
        difference = (loss(z + h) - loss(z - h)) / 2e-5
        assert _rules.residual(t.sum(), p[k], t[k]) == pytest.approx(difference)

    hessian = t.sum() * (np.diag(p) - np.outer(p, p))
    product = [_rules.curvature(t.sum(), p[k], v[k], p @ v) for k in range(3)]
    np.testing.assert_allclose(product, hessian @ v, rtol=1e-14)


def test_clip_limits_and_lets_nan_through():
    assert _rules.clip(-1.0, 0.0, 1.0) == 0.0
    assert _rules.clip(2.0, 0.0, 1.0) == 1.0
    assert _rules.clip(0.5, 0.0, 1.0) == 0.5
    assert math.isnan(_rules.clip(math.nan, 0.0, 1.0))


def test_surprise_of_certainty_is_a_positive_zero():
    assert math.copysign(1.0, _rules.surprise(1.0)) == 1.0

"""The scalar rules as plain Python: the source that CPU and CUDA share."""

import math

import numpy as np
import pytest

from skxent.kernels import _rules


@pytest.mark.parametrize("x", [math.inf, -math.inf, math.nan, 3.0])
def test_zero_target_adds_nothing_whatever_the_loss(x):
    assert _rules.weighted(0.0, x) == 0.0
    assert _rules.weighted(2.0, 1.5) == 3.0


def test_blend_folds_class_weight_and_smoothing_into_the_target():
    weight, q, smoothing, n_classes = 1.8, 0.3, 0.1, 3
    got = _rules.blend((1 - smoothing) * weight, q, smoothing * weight / n_classes)
    assert got == pytest.approx(weight * ((1 - smoothing) * q + smoothing / n_classes))


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
        share = t.sum() / np.exp(z).sum()
        parts = np.float64(np.float32(share)), share - np.float64(np.float32(share))
        slope = _rules.residual(*parts, np.exp(z[k]), t[k])
        assert slope == pytest.approx(difference)

    hessian = t.sum() * (np.diag(p) - np.outer(p, p))
    product = [_rules.curvature(t.sum(), p[k], v[k], p @ v) for k in range(3)]
    np.testing.assert_allclose(product, hessian @ v, rtol=1e-14)


def test_clip_limits_and_lets_nan_through():
    assert _rules.clip(-1.0, 0.0, 1.0) == 0.0
    assert _rules.clip(2.0, 0.0, 1.0) == 1.0
    assert _rules.clip(0.5, 0.0, 1.0) == 0.5
    assert math.isnan(_rules.clip(math.nan, 0.0, 1.0))


@pytest.mark.parametrize(
    ("t", "p", "expected"),
    [
        (0.5, 0.25, 2.0),
        (0.5, 0.0, math.inf),
        (-0.5, 0.0, -math.inf),
        (0.0, 0.0, 0.0),
        (-0.0, math.nan, 0.0),
        (0.5, -0.25, math.nan),
        (0.5, math.nan, math.nan),
        (math.nan, 0.5, math.nan),
    ],
)
def test_ratio_is_the_slope_of_the_logarithm(t, p, expected):
    with np.errstate(divide="ignore", invalid="ignore"):
        got = _rules.ratio(np.float64(t), np.float64(p))
    np.testing.assert_array_equal(got, expected)

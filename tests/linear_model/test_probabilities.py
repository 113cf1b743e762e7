"""Probabilities from logits beside mpmath."""

import mpmath
import numpy as np
import pytest

from skxent.linear_model._probabilities import log_softmax, softmax

ROWS = {
    "alike": [0.0, 0.0, 0.0],
    "apart": [0.0, 1.5, -2.25],
    "sure": [40.0, 0.0, -1.0],
    "tails": [0.0, -700.0, -745.0],
    "beyond": [1e4, -1e4, 0.0],
    "large": [1e38, 1e38, 0.0],
    "excluded": [-np.inf, 0.5, 0.25],
}


def exact(row):
    with mpmath.workdps(700):
        powers = [mpmath.exp(mpmath.mpf(float(z)) - max(map(float, row))) for z in row]
        total = mpmath.fsum(powers)
        log_total = mpmath.log(total)
        logs = [float(z) - max(map(float, row)) - log_total for z in row]
        return [float(p / total) for p in powers], [float(x) for x in logs]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_digit_is_right(row, dtype):
    logits = np.array([row, row[::-1]], dtype=dtype)
    eps = np.finfo(dtype).eps
    proba, log_proba = softmax(logits), log_softmax(logits)
    assert proba.dtype == log_proba.dtype == dtype
    for z, p, log_p in zip(logits, proba, log_proba, strict=True):
        expected, expected_log = exact(z)
        tiny = np.finfo(dtype).tiny
        np.testing.assert_allclose(p, expected, rtol=4 * eps, atol=tiny)
        np.testing.assert_allclose(log_p, expected_log, rtol=4 * eps, atol=tiny)


def test_what_is_no_distribution_is_nan():
    logits = np.array([[np.nan, 0.0], [np.inf, 0.0], [0.0, 1.0]])
    assert np.isnan(softmax(logits)).any(axis=1).tolist() == [True, True, False]
    assert np.isnan(log_softmax(logits)).any(axis=1).tolist() == [True, True, False]

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


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_classes", [2, 3, 17, 256, 257, 1003])
def test_rows_of_any_length_in_any_layout(n_classes, dtype):
    random = np.random.default_rng(n_classes)
    logits = random.normal(scale=3.0, size=(77, n_classes)).astype(dtype)
    logits[5] += 1e5  # too far from 0 for a shift by powers of 2
    logits[7, 1:] = -np.inf
    rows = logits.astype(np.longdouble)
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    proba = softmax(logits)
    np.testing.assert_allclose(proba, expected, rtol=6 * np.finfo(dtype).eps)
    for other in (np.asfortranarray(logits), np.repeat(logits, 2, axis=0)[::2]):
        np.testing.assert_array_equal(softmax(other), proba)
    assert softmax(logits, out=logits) is logits
    np.testing.assert_array_equal(logits, proba)


def test_the_bits_of_a_row_do_not_depend_on_how_many_there_are():
    logits = np.random.default_rng(0).normal(size=(100_003, 3))
    some = softmax(logits[:1001])
    np.testing.assert_array_equal(softmax(logits)[:1001], some)
    assert softmax(logits[:0]).shape == (0, 3)


@pytest.mark.parametrize("n_classes", [3, 300])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_row_without_a_softmax_is_nan_alone(wrong, n_classes):
    logits = np.zeros((20, n_classes))
    logits[3, 1] = wrong
    if wrong < 0:
        logits[3] = wrong
    proba = softmax(logits)
    assert np.isnan(proba[3]).all()
    np.testing.assert_array_equal(np.delete(proba, 3, axis=0), 1.0 / n_classes)


def test_what_is_no_distribution_is_nan():
    logits = np.array([[np.nan, 0.0], [np.inf, 0.0], [0.0, 1.0]])
    assert np.isnan(softmax(logits)).any(axis=1).tolist() == [True, True, False]
    assert np.isnan(log_softmax(logits)).any(axis=1).tolist() == [True, True, False]

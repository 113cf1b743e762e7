"""The one pass over probabilities: how far row sums are from 1, and what is outside."""

import math

import numpy as np
import pytest

from skxent.backends import _numpy
from skxent.kernels._row_checks import check_rows

DTYPES = [np.float32, np.float64]
BELOW_0, ABOVE_1 = -5e-324, np.nextafter(1.0, 2.0)


def distributions(n_rows, n_classes, dtype=np.float64):
    rows = np.random.default_rng(n_classes).random((n_rows, n_classes), dtype=dtype)
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [1, 2, 3, 10, 37, 2047, 2048, 9000, 50257])
def test_distance_is_that_of_exact_sums(n_classes, dtype):
    rows = distributions(7, n_classes, dtype) * dtype(0.999)
    rows[4] *= dtype(0.9)
    exact = max(abs(math.fsum(row.tolist()) - 1) for row in rows)
    bound = n_classes * max(1, 2 * n_classes / 2048) * 2.0**-53
    assert _numpy.worst_row_sum(rows, 1.0) == pytest.approx(exact, rel=0, abs=bound)


@pytest.mark.parametrize("row", [0, 3000, 4999])
def test_the_worst_row_may_be_any(row):
    rows = distributions(5000, 10)
    rows[row] *= 0.75
    assert _numpy.worst_row_sum(rows, 1.0) == pytest.approx(0.25, rel=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [3, 50])
@pytest.mark.parametrize(
    "bad", [math.nan, -math.nan, math.inf, -math.inf, -1e-30, -0.0, -1.0, 1.1, 1e30]
)
def test_values_outside_are_infinitely_far(dtype, n_classes, bad):
    for row, k in [(0, 0), (999, n_classes - 1), (500, 1)]:
        rows = distributions(1000, n_classes, dtype)
        rows[row, k] = bad
        assert _numpy.worst_row_sum(rows, 1.0) == math.inf


@pytest.mark.parametrize(
    ("value", "most", "fits"),
    [
        (1.0, 1.0, True),
        (ABOVE_1, 1.0, False),
        (ABOVE_1, ABOVE_1, True),
        (5e-324, 1.0, True),
        (BELOW_0, 1.0, False),
    ],
)
def test_limits_belong_to_the_range(value, most, fits):
    rows = np.array([[0.5, 0.5, 0.0], [value, 0.0, 0.0]])
    assert math.isfinite(_numpy.worst_row_sum(rows, most)) is fits


def test_a_limit_between_two_numbers_admits_the_lower_one():
    below, above = np.float32(1.0001), np.nextafter(np.float32(1.0001), np.float32(2))
    for most in (float(below), float(below) * 0.1 + float(above) * 0.9):
        for value, fits in [(below, True), (above, False)]:
            rows = np.array([[value, 0.0]], dtype=np.float32)
            assert math.isfinite(_numpy.worst_row_sum(rows, most)) is fits


@pytest.mark.parametrize("n_classes", [2049, 4097])
def test_a_sum_of_many_ones_does_not_come_round_to_1(n_classes):
    assert _numpy.worst_row_sum(np.ones((2, n_classes)), 1.0) == n_classes - 1


@pytest.mark.parametrize("n_classes", [2, 10, 3000])
def test_both_twins_give_the_same_bits(n_classes):
    rows = distributions(40_000 // n_classes, n_classes)
    outs = np.empty((2, 13))
    rows_per_chunk = -(-len(rows) // outs.shape[1])
    for twin, out in zip(check_rows, outs, strict=True):
        twin(0, len(out), rows, 1.0, rows_per_chunk, out)
    np.testing.assert_array_equal(*outs)

"""Log loss and checks of rows in one pass, beside numpy."""

import math

import numpy as np
import pytest

from skxent.backends import _numpy
from skxent.kernels._log_loss import log_losses

NONE = np.empty(0)
NO_COLUMNS = np.empty(0, dtype=np.int64)
LOW, HIGH = 1e-3, 0.75


def distributions(n_rows, n_classes, dtype):
    rows = np.random.default_rng(n_classes).exponential(size=(n_rows, n_classes))
    return (rows / rows.sum(axis=1, keepdims=True)).astype(dtype)


def run(rows, labels, least=0, columns=NO_COLUMNS, row_weight=NONE, most=1.0):
    return _numpy.checked_log_loss(
        rows, labels, least, columns, row_weight, most, LOW, HIGH
    )


def expected(rows, columns, weight=1.0):
    share = rows[np.arange(len(rows)), columns].astype(np.float64)
    return float((-np.log(share.clip(LOW, HIGH)) * weight).sum())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 2), (50, 2), (5003, 10), (40, 300)], ids=str)
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int16])
def test_labels_that_are_columns(shape, dtype, kind):
    rows = distributions(*shape, dtype)
    labels = (np.arange(shape[0]) % min(shape[1], 100)).astype(kind)
    loss, worst = run(rows, labels)
    assert loss == pytest.approx(expected(rows, labels), rel=1e-13)
    assert worst == _numpy.worst_row_sum(rows, 1.0)
    weight = np.arange(shape[0]) % 3 * 0.5
    loss, _ = run(rows, labels, row_weight=weight)
    assert loss == pytest.approx(expected(rows, labels, weight), rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_labels_are_looked_up(dtype):
    rows = distributions(100, 3, dtype)
    columns = np.array([2, -1, 0, -1, 1])
    index = np.random.default_rng(0).choice([0, 2, 4], 100)
    loss, _ = run(rows, index - 7, -7, columns)
    assert loss == pytest.approx(expected(rows, columns[index]), rel=1e-13)
    assert run(rows, index + 2**60, 2**60, columns)[0] == loss
    for wrong in (-8, -6, -2, 2**40, -(2**63)):
        for place in (0, 50, 99):
            labels = index - 7
            labels[place] = wrong
            assert math.isnan(run(rows, labels, -7, columns)[0])


@pytest.mark.parametrize("wrong", [-1, 3, 2**40, -(2**63)])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_a_label_without_a_column_makes_the_loss_nan(place, wrong):
    rows = distributions(1000, 3, "float32")
    labels = np.arange(1000) % 3
    labels[place] = wrong
    assert math.isnan(run(rows, labels)[0])


@pytest.mark.parametrize(("bad", "most"), [(-1e-9, 1.0), (1.5, 1.0), (math.nan, 9.0)])
def test_values_outside_are_found(bad, most):
    rows = distributions(1000, 10, "float64")
    rows[777, 3] = bad
    assert run(rows, np.zeros(1000, dtype=int), most=most)[1] == math.inf


def test_nan_is_not_clipped():
    rows = distributions(40, 3, "float64")
    rows[20, 1] = math.nan
    assert math.isnan(run(rows, np.ones(40, dtype=int))[0])


def test_both_twins_give_the_same_bits():
    rows = distributions(1000, 10, "float32")
    labels = np.arange(1000) % 10
    outs = np.empty((2, 2, 63))
    for twin, out in zip(log_losses, outs, strict=True):
        twin(0, 63, rows, labels, 0, NO_COLUMNS, NONE, 1.0, LOW, HIGH, 16, *out)
    np.testing.assert_array_equal(*outs)

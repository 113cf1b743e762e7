"""Sums of rows in either arrangement, compiled and as plain Python: the same bits."""

import math
from fractions import Fraction

import numba
import numpy as np
import pytest

from skxent.kernels._row_sums import (
    PARTS_SIZE,
    parts_of_columns,
    parts_of_rows,
    sums_of_columns,
    sums_of_others,
    sums_of_rows,
)
from skxent.kernels._simd import pointer, scratch, store

LENGTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 255, 256]


def along(x, n_classes, out):
    store(sums_of_rows(pointer(x), n_classes), pointer(out), 0)


def across(x, n_classes, out):
    store(sums_of_columns.py_func(pointer(x), n_classes), pointer(out), 0)


@numba.njit
def compiled_across(x, n_classes, out):
    store(sums_of_columns(pointer(x), n_classes), pointer(out), 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", LENGTHS)
def test_rows_are_added_up_in_one_order(n_classes, dtype):
    n = 64 // np.dtype(dtype).itemsize
    x = np.exp(np.random.default_rng(0).normal(0, 8, (n, n_classes))).astype(dtype)
    columns = np.ascontiguousarray(x.T)
    sums = []
    for function, rows in [
        (along, x),
        (numba.njit(along), x),
        (across, columns),
        (compiled_across, columns),
    ]:
        out = np.empty(n)
        function(rows, n_classes, out)
        sums.append(out)
    for out in sums[1:]:
        np.testing.assert_array_equal(out, sums[0])
    exact = [math.fsum(row.tolist()) for row in x]
    # the terms of a lane one after another, then a tree
    steps = math.ceil(n_classes / n) + 4
    np.testing.assert_allclose(sums[0], exact, rtol=steps * np.finfo(dtype).eps / 2)


def parts_along(x, n_classes, out):
    high, low = parts_of_rows(pointer(x), n_classes)
    store(high, pointer(out), 0)
    store(low, pointer(out), 16)


@numba.njit
def parts_across(x, wide, n_classes, out):
    p, q = pointer(x), pointer(wide)
    parts, lost = scratch(q, PARTS_SIZE), scratch(q, PARTS_SIZE)
    high, low = parts_of_columns(p, n_classes, parts, lost)
    store(high, pointer(out), 0)
    store(low, pointer(out), 16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", LENGTHS)
def test_rows_are_added_up_in_two_parts(n_classes, dtype):
    n = 64 // np.dtype(dtype).itemsize
    x = np.exp(np.random.default_rng(0).normal(0, 8, (n, n_classes))).astype(dtype)
    columns = np.ascontiguousarray(x.T)
    sums = []
    for function, rows in [
        (parts_along, (x,)),
        (numba.njit(parts_along), (x,)),
        (parts_across, (columns, np.empty(0))),
    ]:
        out = np.zeros(32)
        function(*rows, n_classes, out)
        sums.append(out)
    for out in sums[1:]:
        np.testing.assert_array_equal(out, sums[0])
    high, low = sums[0][:n], sums[0][16 : 16 + n]
    # what is rounded away is that of the few terms which are added before the others
    steps = 0 if n_classes <= n else 4
    for row, a, b in zip(x, high, low, strict=True):
        exact = sum(map(Fraction, row.tolist()))
        error = abs(Fraction(float(a)) + Fraction(float(b)) - exact)
        assert error <= exact * (steps * np.finfo(dtype).eps / 2 + 2.0**-50 * (n == 16))


def along_but_one(x, n_classes, index, out):
    store(sums_of_others(pointer(x), n_classes, pointer(index)), pointer(out), 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [1, 3, 7, 8, 10, 16])
def test_sums_leave_out_an_entry(n_classes, dtype):
    n = 64 // np.dtype(dtype).itemsize
    if n_classes > n:
        pytest.skip("of rows no longer than a vector")
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(0, 8, (n, n_classes))).astype(dtype)
    index = rng.integers(0, n_classes, n)
    expected, left, compiled = np.empty((3, n))
    without = x.copy()
    without[np.arange(n), index] = 0
    along(without, n_classes, expected)
    along_but_one(x, n_classes, index, left)
    numba.njit(along_but_one)(x, n_classes, index, compiled)
    np.testing.assert_array_equal(left, expected)
    np.testing.assert_array_equal(compiled, expected)

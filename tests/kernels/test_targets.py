"""What kernels find out about the values of classes before they begin."""

import math

import numba
import numpy as np
import pytest

from skxent.kernels._targets import are_alike, options_of

SIZES = [1, 2, 7, 8, 31, 32, 33, 63, 64, 65, 100, 257]


def alike(values):
    return are_alike(values)


def options(on_value, off_value, ignore_index):
    return options_of(on_value, off_value, ignore_index)


@pytest.mark.parametrize("size", SIZES)
def test_one_other_number_is_found_wherever_it_is(size):
    compiled = numba.njit(alike)
    values = np.full(size, 0.1)
    assert compiled(values)
    assert are_alike.py_func(values)
    for k in range(size) if size > 1 else ():
        for other in (0.2, -0.1, np.nextafter(0.1, 1), math.inf, math.nan):
            values[k] = other
            assert not compiled(values)
            values[k] = 0.1
        values[k] = 0.2
        assert not are_alike.py_func(values)
        values[k] = 0.1


@pytest.mark.parametrize("size", SIZES)
def test_numbers_that_are_equal_are_alike_and_nan_is_not(size):
    zeros = np.zeros(size)
    zeros[::2] = -0.0
    for function in (numba.njit(alike), are_alike.py_func):
        assert function(zeros)
        assert function(np.full(size, math.inf))
        assert not function(np.full(size, math.nan))


@pytest.mark.parametrize("size", SIZES)
def test_options_say_what_the_values_of_classes_are(size):
    rng = np.random.default_rng(size)
    ones, zeros = np.ones(size), np.zeros(size)
    weight = rng.random(size)
    compiled = numba.njit(options)
    assert compiled(ones, zeros, -100) == (True, False, 0.0, -100)
    some = compiled(0.9 * ones, zeros + 0.1 / size, 3)
    assert some == (True, True, 0.1 / size * size, 3)
    if size == 1:
        return
    assert compiled(weight, zeros, -1) == (False, False, 0.0, -1)
    some = compiled(ones, 0.1 * weight, -1)
    assert some[:2] == (False, True)
    assert some[2] == pytest.approx(math.fsum(0.1 * weight), rel=3e-16)
    last = zeros.copy()
    last[-1] = 0.5
    assert compiled(ones, last, -1) == (False, True, 0.5, -1)

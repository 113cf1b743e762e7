"""Tiles of products, compiled and as plain Python: nothing else is read or written."""

import numba
import numpy as np
import pytest

from skxent.kernels._products import FOUR, TWO, add_dots, add_multiples
from skxent.kernels._simd import advance, pointer

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_count = pytest.mark.parametrize("n_classes", [1, 2, 3, 4])


def dots(x, stride, last, size, a, step, n_classes, out, of_class):
    add_dots(
        advance(pointer(x), 1),
        stride,
        last,
        size,
        pointer(a),
        step[0],
        step[1],
        n_classes,
        pointer(x),
        5,
        -3,
        advance(pointer(out), 1),
        of_class,
    )


def multiples(x, stride, n_lines, size, a, step, n_classes, out, of_class, of_vector):
    add_multiples(
        advance(pointer(x), 1),
        stride,
        n_lines,
        size,
        pointer(a),
        step[0],
        step[1],
        n_classes,
        -3,
        advance(pointer(out), 1),
        of_class,
        of_vector,
    )


COMPILED = {function: numba.njit(function) for function in (dots, multiples)}


def assert_same(function, x, out, *args):
    """The compiled function adds what the plain one does, within rounding."""
    results = [out.copy(), out.copy()]
    function(x, *args[:-1], results[0], *args[-1])
    COMPILED[function](x, *args[:-1], results[1], *args[-1])
    plain, compiled = results
    assert np.array_equal(np.isnan(plain), np.isnan(compiled))
    np.testing.assert_allclose(compiled, plain, rtol=64 * np.finfo(x.dtype).eps)
    assert not np.array_equal(plain, out, equal_nan=True)


def lines(dtype, n_lines, size):
    """Return lines of positive numbers between nan, and how far apart they are."""
    rng = np.random.default_rng(0)
    x = np.full((n_lines, size + 2), np.nan, dtype)
    x[:, 1:-1] = rng.uniform(0.5, 2, (n_lines, size))
    return x, size + 2


@every_dtype
@every_count
@pytest.mark.parametrize("size", [1, 7, 8, 16, 17, 50])
def test_dots_of_four_lines(n_classes, size, dtype):
    n = 64 // np.dtype(dtype).itemsize
    x, stride = lines(dtype, FOUR, size)
    out = np.full((n_classes, 7), 3.0)  # float64, whatever the dtype of the lines
    width = -(-size // n) * n
    a = np.zeros((n_classes, width), dtype)
    a[:, :size] = np.random.default_rng(1).uniform(1, 2, (n_classes, size))
    for last in (0, 2, 3):
        few = x[: last + 1].copy()  # there are no more lines
        assert_same(dots, few, out, stride, last, size, a, (width, n), n_classes, (7,))
    tiles = np.zeros((width // n, n_classes + 1, n), dtype)
    tiles[:, :n_classes] = a.reshape(n_classes, -1, n).swapaxes(0, 1)
    step = n, (n_classes + 1) * n
    out = out.astype(dtype)
    assert_same(dots, x, out, stride, 3, size, tiles, step, n_classes, (7,))


@every_dtype
@every_count
@pytest.mark.parametrize("vectors", [0.2, 1.0, 1.5, float(TWO), float(FOUR)])
def test_multiples_of_lines(n_classes, vectors, dtype):
    n = 64 // np.dtype(dtype).itemsize
    size = max(1, int(vectors * n))
    n_lines = 2 * n + 3
    x, stride = lines(dtype, n_lines, size)
    a = np.random.default_rng(1).uniform(1, 2, (n_classes, 3 * n)).astype(dtype)
    out = np.full((n_classes, FOUR * n + 2), 3.0)
    args = stride, n_lines, size, a, (3 * n, n), n_classes
    assert_same(multiples, x, out, *args, (FOUR * n + 2, n))
    tiles = np.ascontiguousarray(a.reshape(n_classes, 3, n).swapaxes(0, 1))
    args = stride, n_lines, size, tiles, (n, n_classes * n), n_classes
    out = np.full(FOUR * n_classes * n + 2, 3.0, dtype)
    assert_same(multiples, x, out, *args, (n, n_classes * n))

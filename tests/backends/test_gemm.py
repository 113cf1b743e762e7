"""Products that BLAS adds to what is there: of rows, of columns, and of parts."""

import numpy as np
import pytest

from skxent.backends import _gemm
from skxent.backends._gemm import add_product

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=[True, False], ids=["small", "large"])
def size(request, monkeypatch):
    """Let products be done by numpy, or by BLAS."""
    monkeypatch.setattr(_gemm, "MOST_SMALL", 1 << 40 if request.param else 0)


def operands(shape, dtype):
    """Return a matrix in rows, in columns, and both as parts of larger ones."""
    rng = np.random.default_rng(sum(shape))
    whole = rng.integers(-9, 9, (shape[0] + 3, shape[1] + 5)).astype(dtype)
    part = whole[2:-1, 3:-2]
    columns = np.asfortranarray(whole)[2:-1, 3:-2]
    return [part, columns, np.ascontiguousarray(part), np.asfortranarray(part)]


@every_dtype
@pytest.mark.parametrize(
    ("n_rows", "n_terms", "n_columns"), [(7, 5, 3), (1, 4, 6), (6, 1, 1)]
)
def test_products_are_added(n_rows, n_terms, n_columns, dtype, size):
    for A in operands((n_rows, n_terms), dtype):
        for B in operands((n_terms, n_columns), dtype):
            for total in operands((n_rows, n_columns), dtype)[::2]:
                expected = total + A @ B  # of integers, so exact
                add_product(A, B, total)
                np.testing.assert_array_equal(total, expected)


@every_dtype
def test_what_is_beside_the_total_stays(dtype, size):
    whole = np.full((8, 9), 7.0, dtype)
    add_product(np.ones((4, 2), dtype), np.ones((2, 5), dtype), whole[2:6, 1:6])
    expected = np.full((8, 9), 7.0)
    expected[2:6, 1:6] = 9
    np.testing.assert_array_equal(whole, expected)


@every_dtype
def test_nan_is_added(dtype, size):
    total = np.zeros((2, 2), dtype)
    total[0, 0] = np.nan
    A = np.array([[1, np.inf], [0, 1]], dtype)
    with np.errstate(invalid="ignore"):  # as where it is called
        add_product(A, np.array([[1, 2], [0, 3]], dtype), total)
    np.testing.assert_array_equal(total, [[np.nan, np.inf], [0, 3]])

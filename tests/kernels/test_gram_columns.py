"""Products of few vectors with X X^T."""

import numpy as np
import pytest

from skxent.kernels._gram_columns import add_gram_of_columns


@pytest.mark.parametrize("n_vectors", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (33, 16), (70, 61), (8, 100)])
def test_sums_of_products(shape, n_vectors):
    n, p = shape
    rng = np.random.default_rng(n)
    within = rng.normal(size=(n, p + 5))  # rows that lie apart
    a = rng.normal(size=(n_vectors, n))
    expected = 1.0 + (a @ within[:, :p]) @ within[:, :p].T
    sums = np.full((n_vectors, -(-p // 16) * 16), np.nan)
    out = np.ones((n_vectors, -(-n // 16) * 16))
    add_gram_of_columns(within.reshape(-1), p + 5, p, a, sums, out)
    np.testing.assert_allclose(out[:, :n], expected, rtol=1e-12, atol=1e-12)

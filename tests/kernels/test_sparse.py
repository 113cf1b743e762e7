"""Products with compressed matrices of every kind, beside dense numpy in float64."""

import numpy as np
import pytest
import scipy.sparse

from skxent.backends import _sparse as backend
from skxent.backends._sparse import (
    compress,
    gather_products,
    scatter_products,
    share_out,
)
from tests.sparse_data import draw_sparse, untidy, with_indices

N, P = 230, 170
COLUMNS = [1, 2, 7, 8, 9, 15, 16, 17, 20, 24, 31, 32, 33, 64, 65, 100]


def sample(dtype=np.float64, density=0.15):
    X = draw_sparse(N, P, density, np.random.default_rng(0))
    X.data -= 0.5
    X = X.astype(dtype).tolil()
    X[[3, 4, N - 1]] = 0  # empty rows
    X[:, [0, 5]] = 0
    return X.tocsr()


def compressed(X):
    return compress(X.data, X.indices, X.indptr, P)


def products(X, n_columns, dtype):
    rng = np.random.default_rng(1)
    matrix = compressed(X)
    dense = rng.normal(size=(P, n_columns)).astype(dtype)
    across = rng.normal(size=(N, n_columns)).astype(dtype)
    gathered = np.full((N, n_columns), np.nan, dtype)
    scattered = np.full((P, n_columns), np.nan, dtype)
    gather_products(matrix, dense, gathered)
    scatter_products(matrix, share_out(matrix), across, scattered)
    return (dense, gathered), (across, scattered)


def check(X, n_columns, dtype):
    whole = X.toarray().astype(np.float64)
    rounding = 8 * np.finfo(dtype).eps
    for A, (factor, product) in zip(
        (whole, whole.T), products(X, n_columns, dtype), strict=True
    ):
        exact = A @ factor.astype(np.float64)
        size = np.abs(A) @ np.abs(factor) + 1e-300
        assert (np.abs(product - exact) <= rounding * size).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_columns", COLUMNS)
def test_products(n_columns, dtype):
    check(sample(dtype), n_columns, dtype)


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize(
    ("stored", "computed"), [("float64", "float32"), ("float32", "float64")]
)
def test_any_indices_and_other_dtypes(index, stored, computed):
    check(with_indices(sample(stored), index), 5, computed)


@pytest.mark.parametrize("n_columns", [1, 3, 20])
def test_untidy_matrices(n_columns):
    X = untidy(sample())
    np.testing.assert_allclose(X.toarray(), sample().toarray(), atol=1e-15)
    check(X, n_columns, np.float64)
    check(X, n_columns, np.float32)


def test_nothing_is_copied():
    X = sample()
    matrix = compressed(X)
    assert np.shares_memory(matrix.data, X.data)
    assert np.shares_memory(matrix.indices, X.indices)
    X.data.flags.writeable = False
    assert np.shares_memory(compressed(X).data, X.data)


@pytest.mark.parametrize("n_columns", [1, 5, 20])
def test_threads_change_no_bit(n_columns, monkeypatch):
    monkeypatch.setattr(backend, "ENTRIES_PER_PART", 1)
    monkeypatch.setattr(backend, "CHUNK_ENTRIES", 64)
    monkeypatch.setattr("skxent.backends._threads.PARALLEL_MIN_SIZE", 1)
    monkeypatch.setattr(backend, "threads_to_use", lambda: 3)
    X = sample(density=0.3)
    assert len(share_out(compressed(X)).bounds) == 4
    results = [products(X, n_columns, np.float64)]
    monkeypatch.setattr(backend, "threads_to_use", lambda: 1)
    assert len(share_out(compressed(X)).bounds) == 2
    results.append(products(X, n_columns, np.float64))
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first[1], second[1])


def test_no_entries_and_no_rows():
    for shape in ((4, P), (0, P)):
        X = scipy.sparse.csr_array(shape)
        matrix = compress(X.data, X.indices, X.indptr, P)
        out = np.full((shape[0], 3), np.nan)
        gather_products(matrix, np.ones((P, 3)), out)
        back = np.full((P, 3), np.nan)
        scatter_products(matrix, share_out(matrix), np.ones((shape[0], 3)), back)
        assert not out.any()
        assert not back.any()


@pytest.mark.parametrize("wrong", [-1, P, 2**31 - 1])
@pytest.mark.parametrize("place", [0, 1000, -1])
def test_an_index_outside_is_refused(wrong, place):
    X = sample()
    X.indices[place] = wrong
    with pytest.raises(ValueError, match=rf"must lie in \[0, 170\); got {wrong}"):
        compressed(X)


def test_bad_starts_are_refused():
    X = sample()
    for indptr in (X.indptr[::-1].copy(), X.indptr + 1):
        with pytest.raises(ValueError, match=r"must rise from 0|must have"):
            compress(X.data, X.indices, indptr, P)
    with pytest.raises(ValueError, match="got 10 and"):
        compress(X.data[:10], X.indices, X.indptr, P)


def test_sums_of_squares():
    X, whole = untidy(sample()), sample()
    X.sum_duplicates()
    weight, across = np.linspace(0, 1, P), np.linspace(1, 2, N)
    squares = whole.toarray() ** 2
    np.testing.assert_allclose(
        backend.gather_squares(compressed(X), weight), squares @ weight, rtol=1e-12
    )
    np.testing.assert_allclose(
        backend.scatter_squares(compressed(X), across), squares.T @ across, rtol=1e-12
    )


def test_squared_norms_of_rows_with_duplicates():
    exact = (sample().toarray() ** 2).sum(axis=1)
    for X in (sample(), untidy(sample())):
        norms = backend.squared_norms(compressed(X))
        np.testing.assert_allclose(norms, exact, rtol=1e-12, atol=1e-15)

"""Sparse data at random, and as others may store it."""

import numpy as np
import scipy.sparse

__all__ = ["draw_sparse", "untidy", "with_indices"]


def draw_sparse(n_rows, n_columns, density, rng):
    """Return uniform numbers in some places, CSR."""
    # scipy has `random_array` from 1.12 on only
    drawn = scipy.sparse.random(
        n_rows, n_columns, density=density, random_state=rng, format="csr"
    )
    return scipy.sparse.csr_array(drawn)


def with_indices(X, dtype):
    """Return a copy whose indices are of a dtype."""
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(dtype), X.indptr.astype(dtype)
    return X


def untidy(X):
    """Return the same matrix with lines upside down, duplicates and explicit zeros."""
    indices, data, indptr = [], [], [0]
    for i in range(len(X.indptr) - 1):
        line = slice(X.indptr[i], X.indptr[i + 1])
        own = X.indices[line][::-1].tolist()
        values = X.data[line][::-1].tolist()
        data += [*values, *(0.25 * v for v in values), *(-0.25 * v for v in values), 0]
        indices += [*own, *own, *own, 1]
        indptr.append(len(indices))
    return type(X)(
        (np.array(data, X.dtype), np.array(indices, np.int32), indptr), X.shape
    )

"""Sparse data at random."""

import scipy.sparse

__all__ = ["draw_sparse"]


def draw_sparse(n_rows, n_columns, density, rng):
    """Return uniform numbers in some places, CSR."""
    # scipy has `random_array` from 1.12 on only
    drawn = scipy.sparse.random(
        n_rows, n_columns, density=density, random_state=rng, format="csr"
    )
    return scipy.sparse.csr_array(drawn)

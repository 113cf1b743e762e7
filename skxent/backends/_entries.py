"""Whether the arrays of a sparse matrix fit its shape, which scipy takes on trust.

A product with an index outside of the matrix reads, or writes, foreign memory.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_entries", "check_pointers", "outside"]


def check_pointers(data: NDArray[Any], indices: NDArray[Any], starts: Any) -> None:
    """Raise unless `indptr` numbers the entries that there are."""
    entries = int(starts[-1])
    if starts[0] != 0 or (np.diff(starts) < 0).any():
        raise ValueError("indptr of a sparse matrix must rise from 0; got another one.")
    if min(len(data), len(indices)) < entries:
        raise ValueError(
            f"data and indices of a sparse matrix must have {entries} entries, the "
            f"last number of indptr; got {len(data)} and {len(indices)}."
        )


def outside(index: Any, size: int) -> ValueError:
    """Return the error for an index outside of a matrix."""
    return ValueError(
        f"indices of a sparse matrix must lie in [0, {size}); got {index}."
    )


def check_entries(matrix: Any) -> None:
    """Raise unless every entry of a CSR or CSC matrix lies within it.

    Raises
    ------
    ValueError
        If `indptr` does not number the entries, or an index is out of range.
    """
    check_pointers(matrix.data, matrix.indices, matrix.indptr)
    size = matrix.shape[1 if matrix.format == "csr" else 0]
    used = matrix.indices[: matrix.indptr[-1]]
    if used.size:
        for index in (used.min(), used.max()):
            if not 0 <= index < size:
                raise outside(index, size)

"""Sparse matrices in host memory: checked once, then multiplied by the CPU kernels."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.backends._entries import check_pointers, outside
from skxent.backends._numpy import _operand
from skxent.backends._threads import LAUNCH_SIZE, launch, threads_to_use
from skxent.kernels import _dual_rows, _sparse
from skxent.kernels._groups import MOST_LANES

__all__ = [
    "Compressed",
    "DualValues",
    "Parts",
    "compress",
    "dual_epoch",
    "dual_values",
    "gather_products",
    "gather_squares",
    "scatter_products",
    "scatter_squares",
    "share_out",
    "squared_norms",
]

# Entries of a chunk of lines, at least.
CHUNK_ENTRIES = 1 << 14
LARGEST_INT32 = 2**31 - 1
MOST_CHUNKS = 256
# Entries that a line has on average for each thread that goes through all lines; the
# splits then take less than 10 % of the memory of the matrix.
ENTRIES_PER_PART = 6


class Compressed(NamedTuple):
    """A compressed matrix that has been checked, and how its lines are shared out."""

    data: NDArray[Any]  # (entries,) float32 or float64
    indices: NDArray[Any]  # (entries,) int32 or int64
    starts: NDArray[np.int64]  # (lines + 1,)
    size: int  # of a line
    chunks: NDArray[np.int64]  # of lines, with about as many entries each
    is_canonical: bool  # whether the indices of every line rise


class Parts(NamedTuple):
    """Parts of all lines, which threads add up to on their own."""

    bounds: NDArray[np.int64]  # (parts + 1,)
    splits: NDArray[Any]  # (lines, parts - 1): where they begin, see the kernel


def compress(
    data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], size: int
) -> Compressed:
    """Check a matrix of ``len(indptr) - 1`` lines of a size; nothing is copied.

    Raises
    ------
    ValueError
        If `indptr` does not number the entries, or an index is not in [0, size).
    """
    starts = indptr.astype(np.int64)
    check_pointers(data, indices, starts)
    entries = int(starts[-1])
    data, indices = _operand(data[:entries]), _operand(indices[:entries])
    n_chunks = max(1, min(MOST_CHUNKS, entries // CHUNK_ENTRIES))
    chunks = np.searchsorted(starts, np.linspace(0, entries, n_chunks + 1))
    chunks[0], chunks[-1] = 0, len(starts) - 1
    is_canonical = _survey(indices, starts, size, chunks)
    return Compressed(data, indices, starts, size, chunks, is_canonical)


def share_out(matrix: Compressed) -> Parts:
    """Cut the lines for as many threads as there are."""
    n_lines = len(matrix.starts) - 1
    bounds = np.array([0, matrix.size])
    most = matrix.data.size // (ENTRIES_PER_PART * max(1, n_lines))
    n_parts = min(threads_to_use(), most)
    if matrix.is_canonical and n_parts > 1:
        bounds = _bounds(matrix.indices, matrix.size, n_parts)
    # a sorted line has as many entries as its size at the most
    dtype = np.int32 if matrix.size <= LARGEST_INT32 else np.int64
    splits = np.empty((n_lines, len(bounds) - 2), dtype)
    if splits.size:
        launch(
            _sparse.split_lines,
            matrix.data.size,
            len(matrix.chunks) - 1,
            matrix.indices,
            matrix.starts,
            bounds,
            matrix.chunks,
            splits,
        )
    return Parts(bounds, splits)


def _survey(
    indices: NDArray[Any],
    starts: NDArray[np.int64],
    size: int,
    chunks: NDArray[np.int64],
) -> bool:
    """Return whether indices rise in every line; raise for one outside of it."""
    wrong, unsorted = np.empty((2, len(chunks) - 1), np.int64)
    launch(
        _sparse.survey_lines,
        indices.size,
        len(chunks) - 1,
        indices,
        starts,
        size,
        chunks,
        wrong,
        unsorted,
    )
    if wrong.any():
        raise outside(indices[(indices < 0) | (indices >= size)][0], size)
    return not unsorted.any()


def _bounds(indices: NDArray[Any], size: int, n_parts: int) -> NDArray[np.int64]:
    """Return where to cut lines so that the parts have about as many entries each."""
    before = np.cumsum(np.bincount(indices, minlength=size))
    inner = np.searchsorted(before, np.arange(1, n_parts) * (len(indices) / n_parts))
    return np.concatenate([[0], np.minimum(inner + 1, size), [size]])


def gather_products(matrix: Compressed, dense: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the matrix (lines, size) times ``dense`` (size, R), C-contiguous."""
    launch(
        _sparse.gather_products,
        matrix.data.size * out.shape[1],
        len(matrix.chunks) - 1,
        matrix.data,
        matrix.indices,
        matrix.starts,
        dense,
        matrix.chunks,
        out,
    )


def scatter_products(
    matrix: Compressed, parts: Parts, dense: NDArray[Any], out: NDArray[Any]
) -> None:
    """Write the transposed matrix times ``dense`` (lines, R), C-contiguous."""
    launch(
        _sparse.scatter_products,
        matrix.data.size * out.shape[1],
        len(matrix.starts) - 1,
        matrix.data,
        matrix.indices,
        matrix.starts,
        dense,
        parts.bounds,
        parts.splits,
        out,
    )


def _short_calls(matrix: Compressed) -> Iterator[slice]:
    """Yield lines for kernels of the calling thread, between which Ctrl-C is seen."""
    n_lines = len(matrix.starts) - 1
    step = max(1, n_lines * LAUNCH_SIZE // max(1, matrix.data.size))
    for begin in range(0, n_lines, step):
        yield slice(begin, min(begin + step, n_lines))


def gather_squares(
    matrix: Compressed, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sums of squares of each line, their places weighted (size,)."""
    out = np.empty(len(matrix.starts) - 1)
    for lines in _short_calls(matrix):
        starts = matrix.starts[lines.start : lines.stop + 1]
        _sparse.gather_squares(*matrix[:2], starts, weight, out[lines])
    return out


def scatter_squares(
    matrix: Compressed, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sums of squares of each place, the lines weighted (lines,)."""
    out = np.zeros(matrix.size)
    for lines in _short_calls(matrix):
        starts = matrix.starts[lines.start : lines.stop + 1]
        _sparse.scatter_squares(*matrix[:2], starts, weight[lines], out)
    return out


def squared_norms(matrix: Compressed) -> NDArray[np.float64]:
    """Return the squared norm of each line."""
    norms = np.empty(len(matrix.starts) - 1)
    work = np.zeros(0 if matrix.is_canonical else matrix.size)
    for lines in _short_calls(matrix):
        starts = matrix.starts[lines.start : lines.stop + 1]
        _dual_rows.squared_norms(*matrix[:2], starts, work, norms[lines])
    return norms


def dual_epoch(
    matrix: Compressed,
    order: NDArray[np.intp],
    mass: NDArray[np.float64],
    curvature: NDArray[np.float64],
    rates: NDArray[np.float64],
    coef: NDArray[Any],
    bias: NDArray[Any],
    shares: NDArray[Any],
) -> None:
    """Solve the rows of the dual in an order; see the kernel. Ctrl-C gets through."""
    work = np.empty(4 * (max(2, coef.shape[1]) + MOST_LANES), coef.dtype)
    n_calls = 1 + matrix.data.size * coef.shape[1] // LAUNCH_SIZE
    for some in np.array_split(order, n_calls):
        _dual_rows.dual_epoch(
            *matrix[:3],
            some,
            mass,
            curvature,
            rates,
            coef,
            bias,
            shares,
            work,
        )


class DualValues(NamedTuple):
    """Sums over the rows of the dual."""

    loss: float
    gap: float  # mass times divergence of the shares from the softmax
    pulled: float  # product of the logits, without bias, and what the rows pull them by


def dual_values(
    matrix: Compressed,
    coef: NDArray[Any],
    bias: NDArray[np.float64],
    shares: NDArray[Any],
    target: NDArray[np.float64],
    mass: NDArray[np.float64],
) -> DualValues:
    """Return what the coefficients and the shares are worth."""
    n_chunks = len(matrix.chunks) - 1
    sums = np.empty((n_chunks, 3))
    launch(
        _dual_rows.dual_values,
        matrix.data.size * coef.shape[1],
        n_chunks,
        *matrix[:3],
        coef,
        bias,
        shares,
        target,
        mass,
        matrix.chunks,
        sums,
    )
    return DualValues(*sums.sum(axis=0).tolist())

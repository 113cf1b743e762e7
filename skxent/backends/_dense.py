"""Dense data as the kernels of linear models take it: lines, blocks, whole vectors."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Blocks",
    "aligned",
    "blocks_of",
    "in_lines",
    "in_rows",
    "lines_of",
    "padded",
    "rows_of_share",
]

VECTOR_SIZE = 64  # bytes
# Bytes of a block, and groups. Rows are read faster where the first cache holds them
# (200000 x 50, float64, 5 classes: 13 ms, and 16 ms in blocks of 128 KiB), but the
# gradient is read and written once for each block: of 32 rows at least (784 features,
# 20 classes: 0.5 us a row, 1.0 in blocks of 8), as long as the second cache holds them.
SMALL_BLOCK, LARGE_BLOCK = 1 << 15, 1 << 19
FEW_GROUPS = 4
# Of what is turned from columns into rows at a time: columns are read faster where more
# of each lies side by side (70000 x 784: 44 ms for 64 rows, 57 ms for 32), but there
# must be room for what is asked for meanwhile.
SMALL_TURN, FEW_TURNED = 1 << 18, 8
MOST_GROUPS = 64  # of a block
MOST_CHUNKS = 16
# Rows of a chunk, at least, for each class: a chunk has a gradient of its own.
ROWS_PER_CLASS = 16


class Blocks(NamedTuple):
    """How rows are divided: blocks stay in a cache, chunks are the unit of threads."""

    block_rows: int
    turned_rows: int  # whole blocks that are made of columns at a time
    rows_per_chunk: int
    n_chunks: int


@lru_cache(maxsize=64)
def blocks_of(shape: tuple[int, int], n_others: int, itemsize: int) -> Blocks:
    """Return the partition, which depends on shapes and dtype alone."""
    n_rows, n_features = shape
    groups = _groups_in(SMALL_BLOCK, FEW_GROUPS, n_features)
    block_rows = VECTOR_SIZE // itemsize * groups
    least = max(-(-n_rows // MOST_CHUNKS), ROWS_PER_CLASS * n_others)
    rows_per_chunk = -(-least // block_rows) * block_rows
    turned = _groups_in(SMALL_TURN, FEW_TURNED, n_features) // groups * block_rows
    turned_rows = min(turned, rows_per_chunk)
    return Blocks(block_rows, turned_rows, rows_per_chunk, -(-n_rows // rows_per_chunk))


def _groups_in(size: int, few: int, n_features: int) -> int:
    """Return the groups that so many bytes hold, or a few that a larger block holds."""
    group_size = max(1, n_features) * VECTOR_SIZE
    groups = max(size // group_size, min(few, LARGE_BLOCK // group_size))
    return min(max(1, groups), MOST_GROUPS)


def rows_of_share(blocks: Blocks, n_shares: int) -> int:
    """Return the rows of about so many shares of a chunk, whole blocks."""
    n_blocks = blocks.rows_per_chunk // blocks.block_rows
    return max(1, n_blocks // max(1, n_shares)) * blocks.block_rows


def in_lines(X: NDArray[Any]) -> NDArray[Any]:
    """Return X, or a copy if the numbers of neither a row nor a column lie together.

    numpy's own loops over others take long. What is in C order gets the strides that
    go with it, which those of a single row or column need not be.
    """
    of_row, of_column = X.strides
    by_rows = of_column == X.itemsize and of_row >= 0 and not of_row % X.itemsize
    by_columns = of_row == X.itemsize and of_column >= 0 and not of_column % X.itemsize
    if X.flags.c_contiguous or not (by_rows or by_columns):
        return np.ascontiguousarray(X).reshape(-1).reshape(X.shape)
    return X


def in_rows(X: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return part of X as BLAS reads it in one way, copied if need be.

    The numbers of a row lie side by side, and rows do not overlap.
    """
    of_row, of_column = X.strides
    apart = of_row >= X.itemsize * X.shape[1]
    if X.dtype == dtype and of_column == X.itemsize and apart:
        return X
    return in_lines(np.ascontiguousarray(X, dtype))


def lines_of(X: NDArray[Any]) -> tuple[NDArray[Any], int, bool]:
    """Return the memory of X as one line, the step from row to row, and False.

    Or the step from column to column and True. X is copied only if neither the numbers
    of a row nor those of a column lie side by side.
    """
    X = in_lines(X)
    in_columns = X.strides[1] != X.itemsize
    lines = X.T if in_columns else X
    step = lines.strides[0] // X.itemsize
    length = (len(lines) - 1) * step + lines.shape[1] if X.size else 0
    flat = np.lib.stride_tricks.as_strided(lines, (length,), (X.itemsize,))
    return flat, step, in_columns


def padded(length: int, itemsize: int) -> int:
    """Return the length of as many whole vectors as hold ``length`` numbers."""
    lanes = VECTOR_SIZE // itemsize
    return -(-length // lanes) * lanes


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return memory whose first element begins a vector."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + VECTOR_SIZE, np.uint8)
    begin = -memory.__array_interface__["data"][0] % VECTOR_SIZE
    return memory[begin : begin + size].view(dtype).reshape(shape)

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
    "lines_of",
    "padded",
    "rows_of_share",
]

VECTOR_SIZE = 64  # bytes
# Bytes of a block. Rows side by side are read faster where the first cache holds them
# (200000 x 50, float64, 5 classes: 13 ms, and 16 ms in blocks of 128 KiB), but the
# gradient is read and written once for each block: of 32 rows at least (784 features,
# 20 classes: 0.5 us a row, 1.0 in blocks of 8), as long as the second cache holds them.
# Columns are read faster where a block has more of each (20000 x 784: 72 ms, 116 ms in
# blocks of 256 KiB).
SMALL_BLOCK, LARGE_BLOCK = 1 << 15, 1 << 19
FEW_GROUPS = 4
MOST_GROUPS = 64  # of a block
MOST_CHUNKS = 16
# Rows of a chunk, at least, for each class: a chunk has a gradient of its own.
ROWS_PER_CLASS = 16


class Blocks(NamedTuple):
    """How rows are divided: blocks stay in a cache, chunks are the unit of threads."""

    block_rows: int
    rows_per_chunk: int
    n_chunks: int


@lru_cache(maxsize=64)
def blocks_of(
    shape: tuple[int, int], n_others: int, itemsize: int, in_columns: bool
) -> Blocks:
    """Return the partition, which depends on shapes, dtype and memory order alone."""
    n_rows, n_features = shape
    group_size = max(1, n_features) * VECTOR_SIZE
    groups = LARGE_BLOCK // group_size
    if not in_columns:
        groups = max(SMALL_BLOCK // group_size, min(FEW_GROUPS, groups))
    block_rows = VECTOR_SIZE // itemsize * min(max(1, groups), MOST_GROUPS)
    least = max(-(-n_rows // MOST_CHUNKS), ROWS_PER_CLASS * n_others)
    rows_per_chunk = -(-least // block_rows) * block_rows
    return Blocks(block_rows, rows_per_chunk, -(-n_rows // rows_per_chunk))


def rows_of_share(blocks: Blocks, n_shares: int) -> int:
    """Return the rows of about so many shares of a chunk, whole blocks."""
    n_blocks = blocks.rows_per_chunk // blocks.block_rows
    return max(1, n_blocks // max(1, n_shares)) * blocks.block_rows


def in_lines(X: NDArray[Any]) -> NDArray[Any]:
    """Return X, or a copy if the numbers of neither a row nor a column lie together.

    BLAS reads no other arrays, and numpy's own loops take long.
    """
    of_row, of_column = X.strides
    by_rows = of_column == X.itemsize and of_row >= 0
    by_columns = of_row == X.itemsize and of_column >= 0
    return X if by_rows or by_columns else np.ascontiguousarray(X)


def lines_of(X: NDArray[Any]) -> tuple[NDArray[Any], int, bool]:
    """Return the memory of X as one line, the step from row to row, and False.

    Or the step from column to column and True. X is copied only if neither the numbers
    of a row nor those of a column lie side by side.
    """
    size = X.itemsize
    of_row, of_column = X.strides
    in_columns = of_row == size and (of_column != size or X.shape[1] == 1)
    lines = X.T if in_columns else X
    step = lines.strides[0]
    if lines.strides[1] != size or step < 0 or step % size:
        lines = np.ascontiguousarray(lines)
        step = lines.strides[0]
    if lines.flags.c_contiguous:
        return lines.reshape(-1), lines.shape[1], in_columns
    length = (len(lines) - 1) * (step // size) + lines.shape[1]
    flat = np.lib.stride_tricks.as_strided(lines, (length,), (size,))
    return flat, step // size, in_columns


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

"""Chunks of rows: as many of the same size as threads can share."""

import math

import pytest

from skxent.backends._numpy import CHUNK_SIZE, _partition_of

SHAPES = [
    (0, 3),
    (1, 1),
    (32, 3),
    (3277, 10),
    (CHUNK_SIZE, 1),
    (CHUNK_SIZE + 1, 1),
    (100_000, 2),
    (5000, 1000),
    (3, 100_000),
    (8, 21, 100, 100),
    (0, 2, 5),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_have_all_rows(shape):
    rows_per_chunk, n_chunks = _partition_of(shape)
    n_rows = shape[0] * math.prod(shape[2:])
    assert rows_per_chunk > 0
    assert (n_chunks - 1) * rows_per_chunk < n_rows <= n_chunks * rows_per_chunk or (
        n_rows == n_chunks == 0
    )
    assert rows_per_chunk * shape[1] <= max(CHUNK_SIZE, 16 * shape[1])


@pytest.mark.parametrize("n_threads", [2, 4])
@pytest.mark.parametrize("n_classes", [1, 2, 10, 100])
def test_threads_share_evenly(n_classes, n_threads):
    for size in range(2 * CHUNK_SIZE, 20 * CHUNK_SIZE, CHUNK_SIZE // 3):
        n_rows = size // n_classes
        rows_per_chunk, n_chunks = _partition_of((n_rows, n_classes))
        # as numba's threads share a range
        most = -(-n_chunks // n_threads) * rows_per_chunk
        assert most <= 1.1 * n_rows / n_threads + 16

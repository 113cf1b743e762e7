"""Dense data as lines: every memory order, the partition, whole vectors."""

import numpy as np
import pytest

from skxent.backends import _dense, _numpy
from skxent.kernels import _linear_rows
from skxent.losses._targets import encode_targets

BASE = np.arange(60.0).reshape(6, 10)

VIEWS = {
    "C": (BASE, 10, False),
    "F": (np.asfortranarray(BASE), 6, True),
    "columns of rows": (BASE[:, 2:7], 10, False),
    "every other row": (BASE[::2], 20, False),
    "rows of columns": (BASE.T[2:7], 10, True),
    "one row": (BASE[2:3, 3:], 7, False),
    "one row of columns": (BASE.T[2:3], 10, True),
    "one column": (BASE[:, 3:4], 10, False),
    "one column alone": (np.arange(5.0)[:, np.newaxis], 1, False),
    "windows": (np.lib.stride_tricks.sliding_window_view(BASE[0], 4), 1, False),
    "the same row": (np.broadcast_to(BASE[1], (4, 10)), 0, False),
}
COPIED = {
    "every other column": BASE[:, ::2],
    "rows backwards": BASE[::-1],
    "columns backwards": BASE[:, ::-1],
    "unaligned steps": np.zeros(4, [("a", "f4"), ("b", "f8", 2)])["b"],
}


def element(lines, i, j):
    flat, step, in_columns = lines
    return flat[j * step + i] if in_columns else flat[i * step + j]


@pytest.mark.parametrize("name", VIEWS)
def test_lines_are_where_the_numbers_are(name):
    X, step, in_columns = VIEWS[name]
    lines = _dense.lines_of(X)
    assert lines[1:] == (step, in_columns)
    assert np.shares_memory(lines[0], X)
    for i, j in np.ndindex(X.shape):
        assert element(lines, i, j) == X[i, j]
    assert lines[0].size == 1 + (len(X) - 1) * abs(X.strides[0]) // 8 + (
        X.shape[1] - 1
    ) * (X.strides[1] // 8)


@pytest.mark.parametrize("name", COPIED)
def test_other_strides_are_copied(name):
    X = COPIED[name]
    lines = _dense.lines_of(X)
    for i, j in np.ndindex(X.shape):
        assert element(lines, i, j) == X[i, j]


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize(
    ("shape", "n_others"),
    [((0, 5), 2), ((1, 1), 1), ((10**6, 50), 4), ((2000, 20000), 3), ((999, 7), 24)],
)
def test_the_partition_covers_every_row_once(shape, n_others, itemsize):
    blocks = _dense.blocks_of(shape, n_others, itemsize)
    assert blocks.block_rows % (64 // itemsize) == 0
    assert blocks.rows_per_chunk % blocks.block_rows == 0
    assert blocks.turned_rows % blocks.block_rows == 0
    assert 0 < blocks.turned_rows <= max(blocks.rows_per_chunk, blocks.block_rows)
    assert blocks.n_chunks <= _dense.MOST_CHUNKS
    end = blocks.n_chunks * blocks.rows_per_chunk
    assert end - blocks.rows_per_chunk < shape[0] <= end or end == shape[0] == 0


def test_aligned_memory_begins_a_vector():
    for n in range(1, 9):
        array = _dense.aligned((n, 3), np.dtype(np.float32))
        assert array.shape == (n, 3)
        assert array.ctypes.data % 64 == 0
        assert array.flags.carray
    assert [_dense.padded(n, 8) for n in (1, 8, 9)] == [8, 8, 16]


def test_read_only_and_strided_data_compile_nothing_new():
    rng = np.random.default_rng(0)
    X, target = rng.normal(size=(40, 6)), np.arange(40) % 3
    coef, gradient = rng.normal(size=(2, 7)), np.empty((2, 7))
    targets = encode_targets(target, 3, dtype=X.dtype)
    value = _numpy.linear_softmax_loss(X, coef, targets, 1.0, gradient)
    signatures = list(_linear_rows.linear_rows_loss.sequential.signatures)
    for array in (X, np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]):
        array.flags.writeable = False
        again = _numpy.linear_softmax_loss(array, coef, targets, 1.0, gradient)
        assert again == pytest.approx(value, rel=1e-14)
    assert list(_linear_rows.linear_rows_loss.sequential.signatures) == signatures


def test_no_rows_add_nothing():
    targets = encode_targets(np.empty(0, np.int64), 3, dtype=np.dtype(np.float64))
    gradient = np.full((2, 5), 7.0)
    X = np.empty((0, 4))
    assert _numpy.linear_softmax_loss(X, np.ones((2, 5)), targets, 1.0, gradient) == 0
    assert not gradient.any()

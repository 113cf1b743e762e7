"""Gradients that are written past the caches, and results at any address.

More than 32 MiB (``kernels/_groups.py``) are written by other instructions, whole cache
lines at a time: the same bits as of the same rows in a small call are to come of it.
"""

import numpy as np
import pytest

from skxent.kernels._groups import STREAMED_LINES
from skxent.losses import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_value_and_grad,
)

LINE = 64
LEAST = STREAMED_LINES * LINE
N_DISTINCT = 37

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_target = pytest.mark.parametrize(
    "targets", ["indices", "weighted", "smoothed", "probabilities"]
)


def make_rows(n_classes, dtype, targets):
    """Return rows, some of them ignored, some without a softmax, and options."""
    rng = np.random.default_rng(n_classes)
    z = rng.normal(0, 3, (N_DISTINCT, n_classes))
    z[4, 0], z[9], z[17, :2] = np.nan, -np.inf, -np.inf
    y = rng.integers(0, n_classes, N_DISTINCT)
    y[[5, 11]] = -100
    z[11] = np.nan
    options = {"reduction": "sum"}
    if targets == "weighted":
        options["weight"] = rng.random(n_classes) + 0.1
    if targets == "smoothed":
        options["label_smoothing"] = 0.1
    if targets == "probabilities":
        y = rng.random(z.shape)
        y = (y / y.sum(axis=1, keepdims=True)).astype(dtype)
        y[17, :2] = 0
    return z.astype(dtype), y, options


def many(z, y):
    """Return the rows again and again, more than fit the caches, no round number."""
    times = LEAST // z.nbytes + 2
    rows = np.resize(np.arange(len(z)), len(z) * times - 5)
    return z[rows], y[rows], rows


def room(size, dtype, offset):
    """Return an array whose address is ``offset`` bytes behind a cache line."""
    memory = np.full(size * np.dtype(dtype).itemsize + 2 * LINE, 99, dtype=np.uint8)
    begin = -memory.ctypes.data % LINE + offset
    out = memory[begin : begin + size * np.dtype(dtype).itemsize].view(dtype)
    return out, memory[:begin], memory[begin + out.nbytes :]


@every_dtype
@pytest.mark.parametrize("n_classes", [3, 10, 37, 256, 257, 1000, 5000])
@every_target
def test_large_gradients_have_the_bits_of_small_ones(targets, n_classes, dtype):
    z, y, options = make_rows(n_classes, dtype, targets)
    small = cross_entropy_grad(z, y, **options)
    losses = cross_entropy(z, y, **options | {"reduction": "none"})
    large_z, large_y, rows = many(z, y)
    large = cross_entropy_grad(large_z, large_y, **options)
    assert large.nbytes > LEAST
    assert large.tobytes() == small[rows].tobytes()

    options["reduction"] = "none"
    assert cross_entropy(large_z, large_y, **options).tobytes() == (
        losses[rows].tobytes()
    )
    options["reduction"] = "sum"
    loss = cross_entropy(large_z, large_y, **options)
    both = cross_entropy_value_and_grad(large_z, large_y, out=large_z, **options)
    assert both[1] is large_z
    assert large_z.tobytes() == large.tobytes()
    assert np.asarray(both[0]).tobytes() == np.asarray(loss).tobytes()


@every_dtype
@pytest.mark.parametrize("n_classes", [37, 1001])
@every_target
def test_large_gradients_may_begin_anywhere(targets, n_classes, dtype):
    z, y, options = make_rows(n_classes, dtype, targets)
    small = cross_entropy_grad(z, y, **options)
    z, y, rows = many(z, y)
    expected = small[rows].tobytes()
    for offset in range(0, LINE, np.dtype(dtype).itemsize):
        flat, before, behind = room(z.size, dtype, offset)
        out = flat.reshape(z.shape)
        assert cross_entropy_grad(z, y, out=out, **options) is out
        assert out.tobytes() == expected
        assert np.all(before == 99)
        assert np.all(behind == 99)


@every_dtype
@pytest.mark.parametrize("n_classes", [37, 100])
@pytest.mark.parametrize("targets", ["indices", "probabilities"])
def test_blocks_that_are_written_with_the_next(targets, n_classes, dtype):
    rng = np.random.default_rng(n_classes)
    n_rows = LEAST // (n_classes * np.dtype(dtype).itemsize) + 999
    z = rng.normal(0, 3, (n_rows, n_classes)).astype(dtype)
    z[n_rows // 3 : n_rows // 2] += 200  # exponentials are made twice
    z[n_rows // 2 + 500, 7] = np.nan  # and a block is in parts
    y = rng.integers(0, n_classes, n_rows)
    if targets == "probabilities":
        y = rng.dirichlet(np.ones(n_classes), n_rows).astype(dtype)
    parts = np.array_split(np.arange(n_rows), 7)
    small = [cross_entropy_grad(z[i], y[i], reduction="sum") for i in parts]
    expected = np.concatenate(small).tobytes()
    for offset in (0, 16, 40):
        flat, before, behind = room(z.size, dtype, offset)
        out = flat.reshape(z.shape)
        cross_entropy_grad(z, y, reduction="sum", out=out)
        assert out.tobytes() == expected
        assert np.all(before == 99)
        assert np.all(behind == 99)
    cross_entropy_grad(z, y, reduction="sum", out=z)
    assert z.tobytes() == expected


@every_dtype
@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("n_classes", [3, 37, 1001])
@every_target
def test_results_at_odd_addresses(targets, n_classes, is_large, dtype):
    z, y, options = make_rows(n_classes, dtype, targets)
    small = cross_entropy_grad(z, y, **options)
    rows = np.arange(len(z))
    if is_large:
        z, y, rows = many(z, y)
    memory = bytearray(z.nbytes + 16)
    for offset in (1, 7) if is_large else (1, 2, 3, 7):
        out = np.frombuffer(memory, dtype, z.size, offset).reshape(z.shape)
        assert not out.flags.aligned
        assert cross_entropy_grad(z, y, out=out, **options) is out
        assert out.tobytes() == small[rows].tobytes()
        out[...] = z
        cross_entropy_value_and_grad(out, y, out=out, **options)
        assert out.tobytes() == small[rows].tobytes()


@every_dtype
def test_large_binary_gradients_at_odd_addresses(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 5, LEAST // np.dtype(dtype).itemsize + 7).astype(dtype)
    y = rng.integers(0, 2, x.size).astype(dtype)
    expected = binary_cross_entropy_with_logits_grad(x, y, reduction="sum")
    some = binary_cross_entropy_with_logits_grad(x[:1000], y[:1000], reduction="sum")
    assert some.tobytes() == expected[:1000].tobytes()
    losses = binary_cross_entropy_with_logits(x, y, reduction="none")
    some = binary_cross_entropy_with_logits(x[:1000], y[:1000], reduction="none")
    assert some.tobytes() == losses[:1000].tobytes()
    memory = bytearray(x.nbytes + 16)
    for offset in (1, 8):
        out = np.frombuffer(memory, dtype, x.size, offset)
        binary_cross_entropy_with_logits_grad(x, y, reduction="sum", out=out)
        assert out.tobytes() == expected.tobytes()
    out = x
    binary_cross_entropy_with_logits_grad(x, y, reduction="sum", out=out)
    assert out.tobytes() == expected.tobytes()

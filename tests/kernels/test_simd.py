"""Each primitive compiled and as plain Python: the same source, the same bits."""

import math

import numba
import numpy as np
import pytest

from skxent.kernels import _simd as simd
from skxent.kernels._simd import (
    advance,
    all_lanes,
    any_lane,
    apart,
    bits,
    computed,
    exchanged,
    fence,
    first,
    float_of,
    floats,
    fma,
    gather,
    keep,
    lanes,
    largest,
    lengthened,
    load,
    load_beside,
    load_part,
    load_part_beside,
    low_half,
    magnitude,
    maximum,
    minimum,
    muladd,
    narrowed,
    numbers,
    permuted,
    pointer,
    prefetch,
    prefetch_to_write,
    scatter,
    scratch,
    select,
    shortened,
    slots,
    spread,
    store,
    store_part,
    stream,
    to_next_line,
    total,
    widened,
)
from skxent.kernels._transpose import (
    alternating,
    evens_and_odds,
    transpose,
    transpose_back,
    widest_block,
)

SPECIAL = [0.0, -0.0, 1.0, -2.5, math.inf, -math.inf, math.nan, 3e-39, 2.0**60]


def operators(p, q, out):
    x, y = load(p, 0), load(p, 16)
    store(x + y, out, 0)
    store(x - 2.5, out, 16)
    store(3 * x, out, 32)
    store(x / y, out, 48)
    store(-x, out, 64)
    store(magnitude(x), out, 80)


def comparisons(p, q, out):
    x, y = load(p, 0), load(p, 16)
    store(select(x < y, 1.0, 0.0 * q[0] + x), out, 0)
    store(select(x == y, x, 7.0), out, 16)
    store(select((x > y) | (x != x), x, y), out, 32)
    store(select((x >= 0.0) & (x <= 1.0), 1.0, spread(2.0, p)), out, 48)
    out[64] = any_lane(x > y)
    out[65] = any_lane(x > math.inf)
    out[66] = select(out[64] > 0, 5.0, out[65])
    out[67] = all_lanes(x > y)
    out[68] = all_lanes(bits(x) == bits(x))


def memory(p, q, out):
    n = lanes(p)
    store(load_part(p, 3, 5, -1.0) + computed(p), out, 0)
    store_part(load(p, 1), out, 16, 3)
    store(load(advance(p, 2), 3), out, 32)
    some = scratch(p, 16)
    store(load(p, 0), some, 0)
    prefetch(some, 4)
    prefetch_to_write(some, 10**6)
    out[48] = some[n - 1]
    store(load_beside(p, n, load(p, 0)), out, 64)
    store(load_part_beside(p, 5, n - 1, 2.0, load(p, 0)), out, 80)


def past_the_caches(p, q, out):
    n = lanes(p)
    for k in range(0, 48, n):
        stream(load(p, k) * 2.0, out, k)
    fence()
    apart()
    store(load(out, 16) + 1.0, out, 64)
    some = slots(3)
    for k in range(3):
        some[k] = k - 2**40
    more = slots(3)
    more[0] = 2**40 + 5
    out[48] = some[2] + more[0]
    for k in range(12):
        out[49 + k] = to_next_line(advance(p, k))


def pairs(p, q, out):
    n = lanes(p)
    evens, odds = evens_and_odds(load(p, 0), load(p, n))
    store(evens, out, 0)
    store(odds, out, 16)
    low, high = alternating(evens, odds)
    store(low, out, 32)
    store(high, out, 48)
    store(exchanged(low, 2), out, 64)
    store(permuted(low, (numbers(low) * 5 + 3) & (n - 1)), out, 80)


def reductions(p, q, out):
    x = load(p, 0)
    out[0] = total(x)
    out[1] = largest(maximum(x, load(p, 16)))
    out[2] = first(x)
    store(maximum(x, load(p, 16)), out, 16)
    out[32] = total(widened(x))
    store(minimum(x, load(p, 16)), out, 48)


def integers(p, q, out):
    x = load(p, 0)
    i = bits(x)
    store(float_of(i), out, 0)
    store(floats(((i >> 3) ^ 5) & 1023), out, 16)
    store(floats(numbers(x) << 2), out, 32)
    y = shortened(load_beside(q, 0, x), x)
    store(gather(p, y + 1), out, 48)
    store(select(y == 3, 1.0, x), out, 64)
    scatter(x, advance(out, 80), (numbers(x) * 3) & (lanes(x) - 1))


def products(p, q, out):
    x, y = load(p, 0), load(p, 16)
    store(fma(x, y, -1.0), out, 0)
    out[32] = fma(p[0], p[1], p[2])
    store(narrowed(widened(x) * widened(y) + 1.0, p), out, 16)


def halves(p, q, out):
    low = low_half(bits(load(p, 0)))
    store(floats(lengthened(low)) + computed(q), out, 0)
    store(low, q, 0)
    store(floats(lengthened(load_beside(q, 3, load(p, 0)))), out, 16)
    store(floats(lengthened(load_part_beside(q, 3, 5, -7, load(p, 0)))), out, 32)
    store_part(low, q, 20, 5)
    store(floats(lengthened(load_beside(q, 16, load(p, 0)))), out, 48)


PROGRAMS = [
    *(operators, comparisons, memory, past_the_caches),
    *(pairs, reductions, integers, products),
]


@pytest.mark.parametrize(
    ("program", "dtype"),
    [(p, d) for p in PROGRAMS for d in ("float32", "float64")] + [(halves, "float32")],
)
def test_compiled_and_plain_give_the_same_bits(program, dtype):
    def run(x, y, out):
        program_(pointer(x), pointer(y), pointer(out))

    rng = np.random.default_rng(0)
    x = rng.normal(size=64).astype(dtype)
    if program is operators or program is comparisons:
        x[: len(SPECIAL)] = SPECIAL
        x[16 : 16 + len(SPECIAL)] = SPECIAL[::-1]
    y = rng.integers(0, 32, 64, dtype=np.int16 if program is halves else np.int64)
    results = []
    for compiled in (False, True):
        program_ = numba.njit(program) if compiled else program
        out = aligned(96, dtype)
        out[:] = -9.0
        with np.errstate(all="ignore"):
            (numba.njit(run) if compiled else run)(x, y.copy(), out)
        results.append(out)
    assert np.array_equal(*results, equal_nan=True)


def aligned(size, dtype):
    """Return an array that begins at a multiple of 64 bytes."""
    memory = np.empty(size * 8 + 64, dtype=np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size * np.dtype(dtype).itemsize].view(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_next_line_begins_where_memory_is_aligned(dtype):
    def run(x, i):
        return to_next_line(advance(pointer(x), i))

    x = aligned(64, dtype)
    n = 64 // x.itemsize
    compiled = numba.njit(run)
    for i in range(2 * n + 1):
        assert run(x, i) == compiled(x, i) == -i % n
        assert (x.ctypes.data + (i + run(x, i)) * x.itemsize) % 64 == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_streamed_is_there_after_a_fence(dtype):
    def run(x, out, first, size):
        p, q = pointer(x), pointer(out)
        for k in range(0, size, lanes(p)):
            stream(load(p, first + k), q, k)
        fence()

    rng = np.random.default_rng(0)
    n = 64 // np.dtype(dtype).itemsize
    x = rng.normal(size=1000 * n).astype(dtype)
    for function in (run, numba.njit(run)):
        for start in range(0, 2 * n, 3):  # what is read may lie anywhere
            out = aligned(999 * n, dtype)
            out[:] = -9.0
            function(x, out, start, 990 * n)
            np.testing.assert_array_equal(out[: 990 * n], x[start : start + 990 * n])
            assert np.all(out[990 * n :] == -9)


def test_memory_that_is_kept_outlives_its_pointer():
    def run(size):
        memory, other = np.empty(size), np.empty(size)
        p, q = pointer(memory), pointer(other)
        for k in range(size):
            p[k] = k
        for k in range(size):
            q[k] = 2 * k
        total = p[size - 1] + q[size - 1]
        keep(memory)
        keep(other)
        return total

    assert run(1000) == numba.njit(run)(1000) == 3 * 999


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_muladd_is_rounded_once_or_twice(dtype):
    @numba.njit
    def run(x, out):
        p = pointer(x)
        store(muladd(load(p, 0), load(p, 16), load(p, 32)), pointer(out), 0)

    rng = np.random.default_rng(0)
    x, out = rng.normal(size=48).astype(dtype), np.empty(16, dtype=dtype)
    run(x, out)
    n = 64 // x.itemsize
    a, b, c = (load(pointer(x), i) for i in (0, 16, 32))
    once, twice = fma(a, b, c), muladd(a, b, c)
    assert np.all((out[:n] == once) | (out[:n] == twice))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8, 11, 16, 37])
def test_blocks_are_transposed_there_and_back(dtype, stride):
    def there(x, tile, stride, columns):
        transpose(pointer(x), stride, pointer(tile), columns)

    def back(tile, x, stride, columns):
        n = lanes(pointer(x))
        transpose_back(pointer(tile), n, pointer(x), stride, columns)

    n = 64 // np.dtype(dtype).itemsize
    columns = widest_block(stride, np.empty(0, dtype))
    assert columns == max(c for c in (1, 2, 4, 8, 16) if c <= min(stride, n))
    rows = np.arange(n * stride, dtype=dtype).reshape(n, stride)
    for function in (there, numba.njit(there)):
        tile = aligned(n * columns, dtype)
        function(rows, tile, stride, columns)
        np.testing.assert_array_equal(tile.reshape(columns, n), rows[:, :columns].T)
    for function in (back, numba.njit(back)):
        out = np.full((n, stride), -1.0, dtype=dtype)
        function(tile, out, stride, columns)
        np.testing.assert_array_equal(out[:, :columns], rows[:, :columns])
        assert np.all(out[:, columns:] == -1)


def test_every_primitive_is_run_here():
    names = set(simd.__all__) - {"Lanes"}
    assert names <= set(globals())

"""float16 made float32 and back: numpy's results, bit for bit."""

import math

import numba
import numpy as np
import pytest

from skxent.kernels._half import float_of_half, half_of_float
from skxent.kernels._half_rows import narrow, widen
from skxent.kernels._simd import advance, load, load_beside, pointer, spread, store

EVERY = np.arange(2**16).astype(np.uint16).view(np.float16)
EDGES = [
    0.0,
    math.inf,
    math.nan,
    1e-45,  # the smallest float32
    2.0**-126,
    2.0**-25,  # half of the smallest float16, which goes to the even 0
    np.nextafter(np.float32(2.0**-25), np.float32(1)),
    1.5 * 2.0**-24,
    2.0**-14,  # the smallest normal float16, and what is next to it
    2.0**-14 - 2.0**-25,
    2.0**-14 - 2.0**-26,
    65504.0,  # the largest
    np.nextafter(np.float32(65520), np.float32(0)),
    65520.0,
    2.0**16,
    3e38,
]


def floats_of(halves, out):
    p, q = pointer(halves), pointer(out)
    for i in range(0, out.size, 16):
        store(float_of_half(load_beside(p, i, spread(0.0, q))), q, i)


def halves_of(x, out):
    p, q = pointer(x), pointer(out)
    for i in range(0, x.size, 16):
        store(half_of_float(load(p, i)), q, i)


@numba.njit
def widen_all(halves, begin, end, out):
    widen(advance(pointer(halves), begin), end - begin, advance(pointer(out), begin))


@numba.njit
def narrow_all(x, begin, end, out):
    narrow(advance(pointer(x), begin), end - begin, advance(pointer(out), begin))


def every_way(function):
    return [pytest.param(function, id="plain"), pytest.param(numba.njit(function))]


def rounded(x):
    with np.errstate(all="ignore"):
        return x.astype(np.float16)


def assert_same_bits(got, expected):
    """Compare the bits of numbers; a nan may be any."""
    is_nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), is_nan)
    assert got[~is_nan].tobytes() == expected[~is_nan].tobytes()


@pytest.mark.parametrize("convert", every_way(floats_of))
def test_every_float16_is_read_exactly(convert):
    out = np.empty(EVERY.size, np.float32)
    with np.errstate(all="ignore"):
        convert(EVERY.view(np.int16), out)
    assert_same_bits(out, EVERY.astype(np.float32))


@pytest.mark.parametrize("convert", every_way(halves_of))
def test_float32_is_rounded_as_numpy_does(convert):
    rng = np.random.default_rng(0)
    of_all_bits = rng.integers(0, 2**32, 2**16, dtype=np.uint32).view(np.float32)
    in_range = np.exp2(rng.uniform(-27, 17, 2**16)).astype(np.float32)
    # every float16, what lies in the middle between two, and next to both
    finite = EVERY[np.isfinite(EVERY)].astype(np.float32)
    with np.errstate(over="ignore"):
        following = np.nextafter(EVERY, np.float16(np.inf))[np.isfinite(EVERY)]
    middle = (finite + following.astype(np.float32)) / 2
    ties = [np.nextafter(middle, np.float32(s * np.inf)) for s in (1, -1)]
    edges = np.array(EDGES, np.float32)
    x = np.concatenate([of_all_bits, in_range, finite, middle, *ties, edges, -edges])
    x = np.concatenate([x, -x])[: x.size // 8 * 16]
    out = np.empty(x.size, np.float16)
    with np.errstate(all="ignore"):
        convert(x, out.view(np.int16))
    assert_same_bits(out, rounded(x))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100])
def test_numbers_of_any_length_are_converted_and_no_others(size):
    x = np.random.default_rng(0).normal(size=128).astype(np.float32)
    halves = rounded(x)
    part = slice(3, 3 + size)
    for source in (halves.view(np.int16), x):
        out = np.full(x.size, -9.0, np.float32)
        widen_all(source, 3, 3 + size, out)
        expected = np.full(x.size, -9.0, np.float32)
        expected[part] = (halves if source is not x else x)[part]
        np.testing.assert_array_equal(out, expected)
    out, expected = np.full((2, x.size), -9.0, np.float16)
    narrow_all(x, 3, 3 + size, out.view(np.int16))
    expected[part] = halves[part]
    np.testing.assert_array_equal(out, expected)

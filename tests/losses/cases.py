"""Problems, option grids and comparisons that the tests of the losses share."""

import itertools
import math

import numpy as np

FORMS = ("index", "probabilities")
SMOOTHINGS = (0.0, 0.1, 1.0)
REDUCTIONS = ("none", "sum", "mean")

# Unbatched, one row, one class, two classes, more rows than a tile of short rows has,
# the most classes that it takes and one more, several blocks of a long row, and one
# that is large enough for threads.
SHAPES = (
    (7,),
    (1,),
    (1, 5),
    (6, 1),
    (64, 2),
    (33, 10),
    (130, 64),
    (9, 65),
    (7, 300),
    (5000, 50),
)


def make_logits(rng, shape, dtype=np.float64):
    return rng.normal(scale=2.0, size=shape).astype(dtype)


def make_probabilities(rng, shape, dtype=np.float64):
    """Rows of positive numbers that sum to 1 (to the rounding of the dtype)."""
    p = np.exp(rng.normal(size=shape))
    return (p / p.sum(axis=-1, keepdims=True)).astype(dtype)


def make_target(rng, form, shape, dtype=np.float64):
    if form == "index":
        return rng.integers(shape[-1], size=shape[:-1])
    return make_probabilities(rng, shape, dtype)


def make_weight(rng, size):
    """Weights that float32 holds exactly, so that every dtype sees the same."""
    return rng.uniform(0.25, 4.0, size=size).astype(np.float32).astype(np.float64)


def make_sample_weight(rng, size):
    """As `make_weight`, with every fourth row or so of no weight."""
    return np.where(rng.random(size) < 0.25, 0.0, make_weight(rng, size))


def option_grid(form, shape, target, weight):
    """Every (target, options) of one problem: torch's options and no others.

    With `ignore_index=-100` a quarter of the rows carries it; with an index inside
    the range of the classes the rows of that class are the ignored ones.

    A large problem gets every fifth of the combinations: 5 divides no axis of the
    grid, so each option still meets each of its values.
    """
    if form == "index":
        with_ignored = np.array(target)
        if with_ignored.ndim:
            with_ignored[1::4] = -100
        targets = [(with_ignored, -100), (target, shape[-1] // 2)]
    else:
        targets = [(target, -100)]
    grid = itertools.product(targets, (None, weight), SMOOTHINGS, REDUCTIONS)
    stride = 5 if math.prod(shape) > 100_000 else 1
    for (t, ignore_index), w, smoothing, reduction in itertools.islice(
        grid, 0, None, stride
    ):
        options = {
            "weight": w,
            "ignore_index": ignore_index,
            "label_smoothing": smoothing,
            "reduction": reduction,
        }
        yield t, options


def describe(options):
    """The options as text short enough for an assertion's message."""
    words = []
    for name, value in options.items():
        is_array = isinstance(value, np.ndarray)
        words.append(f"{name}=<array>" if is_array else f"{name}={value!r}")
    return ", ".join(words)


def mismatch(what, got, expected, tolerance):
    """A line that says how `got` misses `expected`, or nothing when it does not.

    nan equals nan and inf equals inf; `tolerance` is absolute and broadcasts.
    """
    got = np.asarray(got, dtype=np.float64)
    expected = np.asarray(expected, dtype=np.float64)
    if got.shape != expected.shape:
        return [f"{what}: shape {got.shape}, expected {expected.shape}"]
    with np.errstate(invalid="ignore"):
        error = np.abs(got - expected)
        close = error <= tolerance
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    bad = ~(close | same)
    if not bad.any():
        return []
    with np.errstate(all="ignore"):
        ratio = np.where(bad, error / np.broadcast_to(tolerance, error.shape), 0.0)
    at = np.unravel_index(np.nanargmax(np.nan_to_num(ratio, nan=np.inf)), bad.shape)
    where = tuple(map(int, at))
    found = f"{got[at]!r}, expected {expected[at]!r} ({ratio[at]:.3g} x tolerance)"
    return [f"{what}: {bad.sum()} of {bad.size} off, worst at {where}: {found}"]


def value_mismatch(what, got, expected, rtol):
    """Compare a value relative to the value itself."""
    return mismatch(what, got, expected, rtol * np.abs(expected))


def gradient_mismatch(what, got, expected, mass_scale, rtol):
    """Compare a gradient relative to the larger of entry and mass * scale.

    `a * p - t` cancels, so no float can hold every entry to its own last digit.
    """
    size = np.fmax(np.abs(expected), np.broadcast_to(mass_scale, expected.shape))
    return mismatch(what, got, expected, rtol * size)


def same_bits(a, b):
    """Equal dtype, shape and bytes; signed zeros and nans are told apart."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()

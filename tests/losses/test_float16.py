"""float16 logits: results of float32, rounded once, without a copy of the logits."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest

from skxent.losses import (
    _call,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from tests.losses import cases

# Rows of few and of many classes, longer than a chunk, and more than one chunk; planes
# of one column, of a few, and wider than a chunk, so that chunks begin within planes.
SHAPES = (
    *cases.SHAPES,
    (2, 40_000),
    (700, 300),
    (3, 5, 1),
    (40, 7, 33),
    (2, 21, 60, 61),
    (2, 2, 20_000),
    (2, 300, 5),
)
DTYPES = ("float16", "float32", "float64")
REDUCTIONS = (*cases.REDUCTIONS, "sample")


def make_problem(form, shape, dtype="float16"):
    """Logits of float16, and targets that any axis of classes has."""
    rng = np.random.default_rng(70)
    axis = min(1, len(shape) - 1)
    rows = (*shape[:axis], *shape[axis + 1 :], shape[axis])
    target = cases.make_target(rng, form, rows, dtype)
    if form == "probabilities":
        target = np.ascontiguousarray(np.moveaxis(target, -1, axis))
    return cases.make_logits(rng, shape, np.float16), target


def through_copies(z, target, weight=None, sample_weight=None, **options):
    """Value and gradient from float32 copies, rounded by numpy."""
    defaults = {"reduction": "mean", "label_smoothing": 0.0, "class_axis": None}
    options = defaults | options
    call = _call.prepare(
        z,
        target,
        weight,
        -100,
        options["reduction"],
        options["label_smoothing"],
        True,
        options["class_axis"],
        sample_weight,
    )
    target = call.targets.target
    if target.ndim > 1:
        target = target.astype(np.float32)
    call = call.widened()._replace(targets=call.targets._replace(target=target))
    assert call.logits.dtype == np.float32
    return _call.value_and_grad(call, None)


def assert_bits_of_copies(z, target, **options):
    value, gradient = through_copies(z, target, **options)
    assert cases.same_bits(cross_entropy(z, target, **options), value)
    out = np.full_like(z, np.nan)
    both = cross_entropy_value_and_grad(z, target, **options, out=out)
    assert both[1] is out
    assert cases.same_bits(both[0], value)
    assert cases.same_bits(out, gradient)
    over = z.copy(order="K")
    assert cross_entropy_grad(over, target, **options, out=over) is over
    assert cases.same_bits(over, gradient)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_bits_are_those_of_float32_copies(form, shape):
    z, target = make_problem(form, shape)
    weight = cases.make_weight(np.random.default_rng(71), shape[min(1, z.ndim - 1)])
    grid = itertools.product(REDUCTIONS, (0.0, 0.1), (None, weight))
    for reduction, smoothing, w in grid:
        options = {"reduction": reduction, "label_smoothing": smoothing, "weight": w}
        if z.ndim > 1:
            rows = np.random.default_rng(72)
            options["sample_weight"] = cases.make_sample_weight(rows, shape[0])
        assert_bits_of_copies(z, target, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(33, 10), (7, 300), (40, 7, 33), (2, 300, 5)])
def test_probabilities_of_any_dtype_keep_the_digits_of_float32(shape, dtype):
    z, target = make_problem("probabilities", shape, dtype)
    assert_bits_of_copies(z, target)
    options = {"class_axis": -1}
    back = [np.moveaxis(array, 1, -1) for array in (z, target)]
    assert_bits_of_copies(*back, **options)
    contiguous = [np.ascontiguousarray(array) for array in back]
    assert_bits_of_copies(*contiguous, **options)


@pytest.mark.parametrize("n_classes", [2, 10, 300])
def test_ends_of_the_range(n_classes):
    z, target = make_problem("index", (64, n_classes))
    z[3:9, 0] = [math.inf, -math.inf, math.nan, 65504, -65504, 6e-8]
    z[9] = -math.inf
    target[:10] = [0, 1] * 5
    weight = np.full(n_classes, 1e6)  # losses that float16 does not hold
    for reduction in REDUCTIONS:
        options = {"reduction": reduction, "weight": weight}
        value, gradient = through_copies(z, target, **options)
        got, slopes = cross_entropy_value_and_grad(z, target, **options)
        np.testing.assert_array_equal(got, value)
        np.testing.assert_array_equal(slopes, gradient)
    losses = cross_entropy(z, target, reduction="none", weight=weight)
    assert losses.dtype == np.float16
    assert np.isinf(losses[10:]).any()
    # most entries of this mean's gradient are subnormal
    z, target = make_problem("index", (20_000, n_classes))
    gradient = cross_entropy_grad(z, target)
    assert np.mean(np.abs(gradient.astype(float)) < 2.0**-14) > 0.9
    assert cases.same_bits(gradient, through_copies(z, target)[1])


@pytest.mark.parametrize("shape", [(64, 2), (64, 10), (64, 300), (5, 10, 7)], ids=str)
def test_an_infinite_loss_makes_an_infinite_sum(shape):
    z, target = make_problem("index", shape)
    z[3] = 0
    z[3, 0] = -math.inf
    target[3] = 0
    assert cross_entropy(z, target, reduction="sum") == math.inf
    assert cross_entropy(z, target) == math.inf


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("shape", [(40_000, 200), (8000, 1000), (8, 100, 10_000)])
def test_nothing_of_the_size_of_the_logits_is_copied(form, shape):
    z, target = make_problem(form, shape)
    out = np.empty_like(z)
    for call in (
        lambda: cross_entropy(z, target),
        lambda: cross_entropy_value_and_grad(z, target, out=out),
    ):
        call()
        tracemalloc.start()
        try:
            call()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # a chunk of 32,768 logits, and of targets, in float32 for each of two threads
        assert peak < 4 * 4 * 32_768 + 20_000 < 0.05 * z.nbytes


def test_underflow_of_the_result_is_no_error():
    z = np.array([[0, -5, 3]], np.float16)
    with np.errstate(all="raise"):
        product = cross_entropy_hvp(z, [0], np.array([[1e-4, 0, 1]], np.float16))
        cross_entropy_grad(np.array([[0.5, 0.5]], np.float16), [0], from_logits=False)
    assert np.isfinite(product).all()

"""float16 logits of binary losses: results of float32, rounded once, not copied."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest

from skxent.losses import (
    _binary_call,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_value_and_grad,
)
from tests.losses import binary_cases, cases

REDUCTIONS = (*binary_cases.REDUCTIONS, "sample")


def make_problem(shape, dtype="float16"):
    rng = np.random.default_rng(80)
    x = binary_cases.make_input(rng, "logits", shape, np.float16)
    return x, binary_cases.make_target(rng, shape, dtype)


def through_copies(x, q, weight=None, reduction="mean", label_smoothing=0.0):
    """Value and gradient from float32 copies, rounded by numpy."""
    call = _binary_call.prepare(x, q, weight, None, reduction, label_smoothing, True)
    call = call.widened()
    assert call.scores.dtype == np.float32
    gradient = call.gradient_buffer(None)
    value = call.run(gradient, want_value=True)
    return value, call.deliver(gradient, None)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", binary_cases.SHAPES, ids=str)
def test_bits_are_those_of_float32_copies(shape, dtype):
    x, q = make_problem(shape, dtype)
    weight = binary_cases.make_target(np.random.default_rng(81), shape[-1:]) + 0.5
    if shape == (4, 3, 5, 6):
        x.flat[:6] = [math.inf, -math.inf, math.nan, 65504, -65504, 6e-8]
    for reduction, w in itertools.product(REDUCTIONS, (None, weight)):
        options = {"reduction": reduction, "weight": w, "label_smoothing": 0.1}
        value, gradient = through_copies(x, q, **options)
        got = binary_cross_entropy_with_logits(x, q, **options)
        np.testing.assert_array_equal(got, value)
        assert got.dtype == np.float16
        out = np.full_like(x, np.nan)
        both = binary_cross_entropy_with_logits_value_and_grad(x, q, **options, out=out)
        assert both[1] is out
        np.testing.assert_array_equal(both[0], value)
        np.testing.assert_array_equal(out, gradient)
        over = x.copy()
        binary_cross_entropy_with_logits_grad(over, q, **options, out=over)
        np.testing.assert_array_equal(over, gradient)
        assert cases.same_bits(np.isnan(over), np.isnan(gradient))


def test_nothing_of_the_size_of_the_logits_is_copied():
    x, q = make_problem((1000, 1000))
    out = np.empty_like(x)
    binary_cross_entropy_with_logits_value_and_grad(x, q, out=out)
    tracemalloc.start()
    try:
        binary_cross_entropy_with_logits_value_and_grad(x, q, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.01 * x.nbytes

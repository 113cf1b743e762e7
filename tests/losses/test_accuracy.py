"""The last digits, against mpmath: a part of what `tests.accuracy_table` measures."""

import math

import mpmath
import numpy as np
import pytest

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from tests import accuracy

DTYPES = ("float16", "float32", "float64")
BOUND = 4.0  # ulp


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", accuracy.FAMILIES)
@pytest.mark.parametrize("kind", accuracy.TARGETS)
def test_losses_and_gradients_are_right_to_the_last_digits(family, kind, dtype):
    rng = np.random.default_rng(1)
    for n_rows, n_classes in [(6, 2), (3, 10), (1, 65), (1, 300)]:
        shape = (n_rows, n_classes)
        problem = accuracy.make_problem(rng, family, kind, shape, dtype)
        ((loss, gradient),) = accuracy.largest_errors(problem)
        assert loss <= BOUND, shape
        assert gradient <= BOUND, shape


@pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="longdouble has few more digits"
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3, 10, 37, 64, 256, 300])
@pytest.mark.parametrize("kind", accuracy.TARGETS)
def test_gradients_of_many_rows_are_right_to_the_last_digits(kind, n_classes, dtype):
    rng = np.random.default_rng(1)
    for family in accuracy.FAMILIES:
        problem = accuracy.make_problem(rng, family, kind, (300, n_classes), dtype)
        z, t = problem.z.astype(np.longdouble), problem.target
        if t.ndim == 1:
            t = np.arange(n_classes) == t[:, np.newaxis]
        t = t.astype(np.longdouble)
        if problem.options:
            smoothing = np.longdouble(problem.options["label_smoothing"])
            t = (1 - smoothing) * t + smoothing / n_classes
            t = t * problem.options["weight"]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        right = t.sum(axis=1, keepdims=True) * p - t
        gradient = cross_entropy_grad(
            problem.z, problem.target, reduction="sum", **problem.options
        )
        size = np.maximum(abs(right), t).astype(np.float64)
        error = abs(gradient - right) / accuracy.ulp(size, dtype)
        measured = abs(right) > accuracy.SMALLEST_ENTRY
        assert np.max(error, where=measured, initial=0.0) <= BOUND, family


def test_many_tiny_terms_count_together():
    # sums of 256000 terms in mpmath take a while: equal terms need one
    for dtype in ("float32", "float64"):
        z = np.full((1, 256_000), -25.125, dtype=dtype)
        z[0, 77] = 0.0
        with mpmath.workdps(accuracy.DIGITS):
            exact = mpmath.log1p(255_999 * mpmath.exp(-25.125))
            loss = cross_entropy(z, [77], reduction="none")[0]
            assert accuracy.loss_error(loss, exact, dtype) <= BOUND


@pytest.mark.parametrize("n_classes", [3, 100])
def test_loss_of_a_confident_row_is_not_zero(n_classes):
    z = np.full(n_classes, -800.0, dtype=np.float32)
    z[:3] = [30.0, 0.0, 0.0]
    loss = cross_entropy(z, 0)
    assert loss.dtype == np.float32
    exact = 2 * math.exp(-30)
    assert abs(loss - exact) <= BOUND * np.spacing(np.float32(exact))
    assert f"{loss:.3g}" == "1.87e-13"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_largest_logit_may_come_late_and_be_any_distance_above(dtype):
    top = np.arange(50.0, 3000.0, 2.75, dtype=dtype)
    z = np.zeros((top.size, 4096), dtype=dtype)
    z[:, -1] = top
    for target, expected in [(4095, 4095 * np.exp(-top.astype(np.float64))), (0, top)]:
        losses = cross_entropy(z, np.full(top.size, target), reduction="none")
        np.testing.assert_allclose(losses, expected, rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize("n_classes", [2, 100])
@pytest.mark.parametrize("gap", [708.3, 720.0, 744.0])
def test_loss_may_be_subnormal(gap, n_classes):
    z = np.full((1, n_classes), -gap)
    z[0, 1] = 0.0
    with mpmath.workdps(accuracy.DIGITS):
        exact = mpmath.log1p((n_classes - 1) * mpmath.exp(mpmath.mpf(-gap)))
        loss = cross_entropy(z, [1], reduction="none")[0]
        assert accuracy.loss_error(loss, exact, "float64") <= BOUND


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4000, 2), (300, 10), (40, 100)], ids=str)
def test_mean_of_confident_rows_is_as_accurate_as_they_are(shape, dtype):
    rng = np.random.default_rng(2)
    z = accuracy.make_logits(rng, "one logit 30 above", shape, dtype)
    target = z.argmax(axis=1)
    exact = accuracy.exact_mean(z, target)
    mean, _ = cross_entropy_value_and_grad(z, target)
    assert accuracy.loss_error(mean, exact, dtype) <= BOUND
    assert accuracy.loss_error(cross_entropy(z, target), exact, dtype) <= BOUND


def test_error_is_measured_in_ulp():
    with mpmath.workdps(accuracy.DIGITS):
        for dtype in DTYPES:
            zero, one = np.arange(2, dtype=dtype)
            next_one = np.nextafter(one, one + one)
            assert accuracy.loss_error(next_one, mpmath.mpf(1), dtype) == 1
            tiny = np.nextafter(zero, one)
            assert accuracy.loss_error(zero, 3 * mpmath.mpf(float(tiny)), dtype) == 3
        assert accuracy.loss_error(math.inf, mpmath.mpf(1), "float64") == math.inf
        assert accuracy.loss_error(math.inf, mpmath.inf, "float64") == 0
        assert (
            accuracy.loss_error(np.float16(math.inf), mpmath.mpf(1e5), "float16") == 0
        )


def exact_curvature(z, vector):
    """``p (v - <p, v>)`` of a row, and the size of what cancels in it."""
    with mpmath.workdps(accuracy.DIGITS):
        e = [mpmath.exp(mpmath.mpf(float(x)) - float(z.max())) for x in z]
        p = [x / mpmath.fsum(e) for x in e]
        mean = mpmath.fsum(a * float(b) for a, b in zip(p, vector, strict=True))
        product = [float(a * (float(b) - mean)) for a, b in zip(p, vector, strict=True)]
        size = [
            float(a) * (abs(float(b)) + abs(float(mean)))
            for a, b in zip(p, vector, strict=True)
        ]
    return np.array(product), np.array(size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_large_entry_of_the_vector_costs_no_more_than_rounding(dtype):
    # 2**40 minus <p, v> cancels, wholly where p is 1
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape = rng.integers(2, 8), rng.integers(2, 20)
        z = rng.normal(scale=rng.choice([1, 30]), size=shape).astype(dtype)
        vector = rng.uniform(0.05, 0.95, shape).astype(np.float32)
        vector.flat[1] = 2.0**40
        target = rng.integers(shape[1], size=shape[0])
        got = cross_entropy_hvp(z, target, vector, reduction="sum").astype(float)
        limits = np.finfo(dtype)
        for row, v, ours in zip(z, vector, got, strict=True):
            exact, size = exact_curvature(row, v)
            # what the dtype cannot hold becomes inf, and p may be subnormal, which of
            # float16 only the result is
            fits = np.abs(exact) < limits.max
            assert np.isinf(ours[~fits]).all()
            floor = 1.0 if dtype == "float16" else np.abs(v).max()
            floor *= float(limits.smallest_subnormal)
            off = np.abs(ours - exact)[fits]
            assert (off <= 4 * float(limits.eps) * size[fits] + floor).all()

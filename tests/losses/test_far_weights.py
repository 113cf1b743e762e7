"""Weights that float32 does not hold: its losses are those of float64, rounded."""

import numpy as np
import pytest

from skxent.losses import (
    binary_cross_entropy_value_and_grad,
    binary_cross_entropy_with_logits_hvp,
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
    linear_cross_entropy,
    linear_cross_entropy_value_and_grad,
    nll_loss_value_and_grad,
)
from skxent.losses._targets import FEW_WEIGHTS
from tests.losses import cases

FAR = [1e300, -1e300, 1e60, 1e-42, 1e-60, 1e-300]
NARROW = pytest.mark.parametrize("dtype", ["float32", "float16"])
RTOL = {"float32": 1e-6, "float16": 1e-3}


def problem(form, shape, dtype, seed=130):
    """Logits and targets that the dtype holds, class 0 in half of the rows, or none."""
    rng = np.random.default_rng(seed)
    z = cases.make_logits(rng, shape, dtype)
    target = cases.make_target(rng, form, shape, dtype)
    if form == "index":
        target[::2] = 0
    else:
        target[:, 0] = 0.0
    return z, target


def assert_rounded(got, expected, dtype):
    """Assert that results are those of float64, inf where the dtype ends."""
    if not isinstance(got, tuple):
        got, expected = (got,), (expected,)
    for ours, exact in zip(got, expected, strict=True):
        assert np.asarray(ours).dtype == dtype
        with np.errstate(over="ignore"):
            exact = np.asarray(exact).astype(dtype)
        size = np.abs(exact[np.isfinite(exact)]).max(initial=0.0).astype(float)
        atol = RTOL[dtype] * size + np.finfo(dtype).smallest_subnormal
        np.testing.assert_allclose(ours, exact, rtol=RTOL[dtype], atol=atol)


@NARROW
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("n_classes", [2, 5, 40, 300])
@pytest.mark.parametrize("form", cases.FORMS)
def test_class_weights(form, n_classes, smoothing, dtype):
    z, target = problem(form, (8, n_classes), dtype)
    wide = z.astype(float), target if form == "index" else target.astype(float)
    for far in FAR:
        of_all = np.full(n_classes, abs(far))
        of_all[0] = far
        of_one = np.ones(n_classes)
        of_one[0] = far
        for weight in (of_all, of_one):
            for reduction in ("mean", "sum", "none", "sample"):
                options = {
                    "weight": weight,
                    "label_smoothing": smoothing,
                    "reduction": reduction,
                }
                exact = cross_entropy_value_and_grad(*wide, **options)
                got = cross_entropy_value_and_grad(z, target, **options)
                assert_rounded(got, exact, dtype)
                assert_rounded(cross_entropy(z, target, **options), exact[0], dtype)


@NARROW
@pytest.mark.parametrize("form", cases.FORMS)
def test_weights_of_samples(form, dtype):
    z, target = problem(form, (8, 5), dtype)
    wide = z.astype(float), target if form == "index" else target.astype(float)
    for far in map(abs, FAR):
        for weight in (np.full(8, far), np.r_[1.0, far, 0.0, np.ones(5)]):
            for reduction in ("mean", "sum", "sample"):
                options = {"sample_weight": weight, "reduction": reduction}
                got = cross_entropy_value_and_grad(z, target, **options)
                exact = cross_entropy_value_and_grad(*wide, **options)
                assert_rounded(got, exact, dtype)


@pytest.mark.parametrize("far", FAR)
def test_other_functions(far):
    z, y = problem("index", (8, 5), "float32")
    rng = np.random.default_rng(131)
    v, X, W, b = (
        rng.normal(size=shape).astype(np.float32)
        for shape in [(8, 5), (8, 3), (5, 3), (5,)]
    )
    options = {"weight": np.array([far, 1.0, 2.0, 1.0, 0.0])}
    for function, arrays, targets in [
        (nll_loss_value_and_grad, (z,), (y,)),
        (cross_entropy_hvp, (z,), (y, v)),
    ]:
        got = function(*arrays, *targets, **options)
        wide = [array.astype(float) for array in arrays]
        assert_rounded(got, function(*wide, *targets, **options), "float32")
    options |= {"linear_bias": b, "label_smoothing": 0.1}
    wide = options | {"linear_bias": b.astype(float)}
    for function in (linear_cross_entropy, linear_cross_entropy_value_and_grad):
        got = function(X, W, y, **options)
        exact = function(X.astype(float), W.astype(float), y, **wide)
        if isinstance(got, tuple):
            got, exact = (got[0], *got[1]), (exact[0], *exact[1])
        assert_rounded(got, exact, "float32")


@pytest.mark.parametrize("n_classes", [FEW_WEIGHTS, FEW_WEIGHTS + 1])
def test_one_small_weight_among_many(n_classes):
    z, y = problem("index", (6, n_classes), "float32")
    weight = np.ones(n_classes)
    weight[:2] = 1e-60, 0.0
    y[1:] = 0
    options = {"weight": weight, "reduction": "sample", "label_smoothing": 0.1}
    exact = cross_entropy(z.astype(float), y, **options)
    assert_rounded(cross_entropy(z, y, **options), exact, "float32")
    options["label_smoothing"] = 0.0
    got = cross_entropy(z, y, **options)
    np.testing.assert_allclose(got, cross_entropy(z, y, reduction="none"), rtol=1e-6)


def test_the_given_gradient_array_receives_it():
    z, y = problem("index", (8, 5), "float32")
    options = {"weight": np.array([1e60, 1, 1, 1, 1]), "label_smoothing": 0.1}
    expected = cross_entropy_value_and_grad(z, y, **options)
    out = z.copy()
    got = cross_entropy_value_and_grad(out, y, out=out, **options)
    assert got[1] is out
    np.testing.assert_array_equal(got[1], expected[1])
    assert got[0] == expected[0]


@NARROW
@pytest.mark.parametrize("far", FAR[:3])
def test_binary(far, dtype):
    rng = np.random.default_rng(132)
    z, v = rng.normal(size=(2, 6, 5)).astype(dtype)
    q = rng.uniform(size=(6, 5)).astype(dtype)
    q[0], q[1] = 0, 1
    x, y, vector = z.astype(float), q.astype(float), v.astype(float)
    weight = np.array([far, 1.0, 1.0, 0.0, 2.0])
    for weights in [
        {"weight": weight},
        {"pos_weight": weight},
        {"weight": weight, "pos_weight": np.float64(1 / far)},
        {"weight": np.broadcast_to(1 / far, (6, 1)), "pos_weight": weight},
    ]:
        for reduction in ("mean", "sum", "none", "sample"):
            options = {"reduction": reduction, "label_smoothing": 0.1} | weights
            loss = binary_cross_entropy_with_logits_value_and_grad
            assert_rounded(loss(z, q, **options), loss(x, y, **options), dtype)
            hvp = binary_cross_entropy_with_logits_hvp
            got = hvp(z, q, v, **options)
            assert_rounded(got, hvp(x, y, vector, **options), dtype)
    loss = binary_cross_entropy_value_and_grad
    got = loss(q, q[::-1], weight=weight, reduction="none")
    assert_rounded(got, loss(y, y[::-1], weight=weight, reduction="none"), dtype)


@pytest.mark.parametrize("form", ["index", "smoothed", "probabilities"])
@pytest.mark.parametrize("n_classes", [3, 10, 40])
def test_shares_of_small_weights(form, n_classes):
    """Float32 holds them, but not what exponentials are multiplied with.

    Not where these have the scale of rows nearby; on their own, all but a few bits.
    """
    rng = np.random.default_rng(3)
    n = 512
    z = rng.normal(size=(n, n_classes)) + 8.0 * rng.integers(0, 2, (n, 1))
    z = z.astype(np.float32)
    target = rng.integers(0, n_classes, n)
    if form == "probabilities":
        target = cases.make_probabilities(rng, z.shape).astype(np.float32)
    options = {
        "sample_weight": rng.uniform(1e-30, 2e-30, n),
        "label_smoothing": 0.1 if form == "smoothed" else 0.0,
        "reduction": "sum",
    }
    _, got = cross_entropy_value_and_grad(z, target, **options)
    if form == "probabilities":
        target = target.astype(float)
    _, exact = cross_entropy_value_and_grad(z.astype(float), target, **options)
    np.testing.assert_allclose(got, exact, rtol=1e-6, atol=3e-36)

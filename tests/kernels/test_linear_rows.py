"""Losses and gradients of a linear model beside the oracle on the whole logits."""

import math

import numba
import numpy as np
import pytest

from skxent.backends import _numpy
from skxent.kernels import _linear_rows
from skxent.losses._targets import encode_targets
from tests import reference

# rows, features, classes: parts of groups, of vectors and of tiles; several blocks
SHAPES = [
    (1, 1, 2),
    (7, 1, 3),
    (33, 5, 2),
    (41, 8, 4),
    (64, 16, 5),
    (100, 33, 6),
    (130, 47, 10),
    (90, 70, 25),
    (700, 3, 3),
    (19, 1500, 4),
    (20, 9, 256),
    (300, 200, 3),
]

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_order = pytest.mark.parametrize("order", ["C", "F", "rows", "columns"])
every_form = pytest.mark.parametrize("form", ["index", "smooth", "probabilities"])


def in_order(values, order):
    """Return an array of these values; those of "rows" and "columns" have gaps."""
    if order in "CF":
        return np.asarray(values, order=order)
    n, p = values.shape
    if order == "columns":
        return in_order(values.T, "rows").T
    whole = np.full((n + 2, p + 5), np.nan, values.dtype)
    whole[1:-1, 2:-3] = values
    return whole[1:-1, 2:-3]


def make(shape, dtype, order="C", form="index", spread=1.0):
    """Return data, coefficients, targets and options."""
    n, p, n_classes = shape
    rng = np.random.default_rng(n + p)
    X = in_order(rng.normal(size=(n, p)).astype(dtype), order)
    coef = rng.normal(0, spread / np.sqrt(p), (n_classes - 1, p + 1))
    coef = coef.astype(dtype).astype(np.float64)  # what the products are taken with
    options = {}
    if form == "probabilities":
        target = rng.dirichlet(np.ones(n_classes), n).astype(dtype)
    else:
        target = rng.integers(0, n_classes, n)
    if form == "smooth":
        target[::7] = -100  # what is ignored
    if form != "index":
        weight = rng.uniform(0.5, 2, n_classes)
        weight[0] = 0.0
        options = {
            "weight": weight,
            "label_smoothing": 0.1,
            "sample_weight": np.where(
                rng.uniform(size=n) < 0.2, 0, rng.uniform(size=n)
            ),
        }
    return X, coef, target, options


def launch(X, coef, target, options, scale=1.0):
    targets = encode_targets(target, len(coef) + 1, dtype=X.dtype, **options)
    gradient = np.full(coef.shape, 7.0)
    value = _numpy.linear_softmax_loss(X, coef, targets, scale, gradient)
    return value, gradient


def naive(X, coef, target, options):
    """Return the sum of the losses, the gradient, and its sum of magnitudes."""
    X = np.hstack([np.asarray(X, np.float64), np.ones((len(X), 1))])[:, : coef.shape[1]]
    z = np.hstack([np.zeros((len(X), 1)), X @ coef.T])
    options = options | {"reduction": "sum"}
    residual = reference.cross_entropy_grad(z, target, **options)[:, 1:]
    value = reference.cross_entropy(z, target, **options)
    return value, residual.T @ X, np.abs(residual).T @ np.abs(X)


@every_form
@every_order
@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_all_shapes_orders_and_targets(shape, dtype, order, form):
    X, coef, target, options = make(shape, dtype, order, form)
    value, gradient = launch(X, coef, target, options)
    expected, slopes, size = naive(X, coef, target, options)
    eps = float(np.finfo(dtype).eps) * (4 + math.sqrt(shape[0] + shape[1]))
    assert value == pytest.approx(expected, rel=eps)
    assert np.all(np.abs(gradient - slopes) <= eps * (size + 1))


@every_dtype
def test_intercepts_are_a_column_of_ones(dtype):
    X, coef, target, options = make((200, 9, 4), dtype, "C", "smooth")
    value, gradient = launch(X, coef, target, options)
    X = np.hstack([X, np.ones((200, 1), dtype)])
    of_column, bare = launch(X, coef, target, options)
    eps = 50 * float(np.finfo(dtype).eps)
    assert value == pytest.approx(of_column, rel=eps)
    np.testing.assert_allclose(gradient, bare, rtol=eps, atol=eps)


@pytest.mark.parametrize("scale", [0.25, -3.0])
def test_the_gradient_alone_is_scaled(scale):
    problem = make((100, 5, 3), "float64")
    value, gradient = launch(*problem)
    same, scaled = launch(*problem, scale=scale)
    assert same == value
    np.testing.assert_allclose(scaled, scale * gradient, rtol=1e-15)


@every_order
def test_confident_rows_keep_the_digits_of_their_losses(order):
    X, coef, _, _ = make((150, 20, 4), "float64", order, spread=30.0)
    data = np.hstack([X, np.ones((150, 1))])
    z = np.hstack([np.zeros((150, 1)), data @ coef.T])
    kept = np.sort(z, axis=1)[:, -1] - np.sort(z, axis=1)[:, -2] > 10
    X, data, target = X[kept], data[kept], z[kept].argmax(axis=1)
    value, gradient = launch(X, coef, target, {})
    expected, *_ = naive(X, coef, target, {})
    assert 0 < expected < 1e-3
    assert value == pytest.approx(expected, rel=1e-12)
    at_target = np.arange(len(X)), target
    residual = np.exp(z[kept] - z[kept].max(axis=1, keepdims=True))
    residual /= residual.sum(axis=1, keepdims=True)
    residual[at_target] = 0.0
    residual[at_target] = -residual.sum(axis=1)
    residual = residual[:, 1:]
    most = np.abs(residual).T @ np.abs(data)
    assert np.all(np.abs(gradient - residual.T @ data) <= 1e-12 * most)


@every_form
@every_dtype
@pytest.mark.parametrize("spread", [100.0, 2.0**22, 2.0**32])
def test_wrong_and_far_rows(spread, dtype, form):
    # powers of 2 times small integers: no product is rounded
    rng = np.random.default_rng(3)
    X = rng.integers(-2, 3, (70, 6)).astype(dtype)
    _, coef, target, options = make((70, 6, 5), dtype, "C", form)
    coef = spread * rng.integers(-2, 3, coef.shape).astype(np.float64)
    value, gradient = launch(X, coef, target, options)
    expected, slopes, size = naive(X, coef, target, options)
    eps = 20 * float(np.finfo(dtype).eps)
    assert value == pytest.approx(expected, rel=eps)
    assert np.all(np.abs(gradient - slopes) <= eps * (size + 1))


@every_form
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_comes_out(wrong, order, form):
    X, coef, target, options = make((60, 13, 4), "float32", order, form)
    options = {k: v for k, v in options.items() if k != "sample_weight"}
    coef[:, 3] = 0.0
    for i, j in [(0, 0), (17, 3), (17, 12), (59, 3), (59, 12)]:
        bad = X.copy(order="K")
        bad[i, j] = wrong
        value, gradient = launch(bad, coef, target, options)
        assert not (math.isfinite(value) and np.isfinite(gradient).all())


@every_form
@every_dtype
def test_a_row_without_a_softmax_is_nan(dtype, form):
    X, coef, target, options = make((60, 13, 4), dtype, "C", form)
    options = {k: v for k, v in options.items() if k != "sample_weight"}
    coef[:, 3] = 1.0
    for wrong in (math.nan, math.inf):
        X[41, 3] = wrong
        value, gradient = launch(X, coef, target, options)
        assert math.isnan(value)
        assert np.isnan(gradient).all()


def test_overflow_of_float32_comes_out():
    X, coef, target, options = make((40, 5, 3), "float32")
    X[3, 2], coef[:, 2] = 1e30, 1e20
    value, gradient = launch(X, coef, target, options)
    assert not (math.isfinite(value) and np.isfinite(gradient).all())


@pytest.mark.parametrize(
    ("dtype", "order", "form"),
    [("float64", "C", "index"), ("float64", "F", "index"), ("float32", "C", "smooth")],
)
def test_same_bits_for_any_number_of_threads(dtype, order, form, monkeypatch):
    X, coef, target, options = make((2100, 50, 5), dtype, order, form)
    twins, ran = _linear_rows.linear_rows_loss, []

    def noted(twin):
        return lambda *args: (ran.append(twin), twin(*args))

    monkeypatch.setattr(
        _linear_rows, "linear_rows_loss", type(twins)(*map(noted, twins))
    )
    monkeypatch.setattr("skxent.backends._numpy.PARALLEL_MIN_LINEAR", 0)
    before = numba.get_num_threads()
    results = []
    try:
        for n_threads in (2, 1):
            numba.set_num_threads(n_threads)
            results.append(launch(X, coef, target, options))
    finally:
        numba.set_num_threads(before)
    assert ran == list(twins)
    (value, gradient), (alone, gradient_alone) = results
    assert value == alone
    np.testing.assert_array_equal(gradient, gradient_alone)
    expected, slopes, size = naive(X, coef, target, options)
    eps = 10 * float(np.finfo(dtype).eps)
    assert value == pytest.approx(expected, rel=eps)
    assert np.all(np.abs(gradient - slopes) <= eps * size)

"""The objective over row blocks beside the oracle on the whole."""

import numpy as np
import pytest

from skxent.backends import _numpy
from skxent.linear_model import _linear_loss
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.losses._targets import encode_targets
from tests import reference

N, P = 700, 5  # more rows than one block holds


@pytest.fixture(autouse=True, params=["fused", "BLAS"])
def small_blocks(monkeypatch, request):
    monkeypatch.setattr(_linear_loss, "BLOCK_SIZE", 1)
    if request.param == "BLAS":
        monkeypatch.setattr(_numpy, "MOST_LINEAR_CLASSES", 0)


@pytest.fixture(params=[2, 4])
def n_classes(request):
    return request.param


@pytest.fixture(params=["index", "probabilities"])
def problem(request, n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P))
    if request.param == "index":
        target = rng.integers(0, n_classes, N)
    else:
        target = rng.dirichlet(np.ones(n_classes), N)
    options = {
        "weight": rng.uniform(0.5, 2, n_classes),
        "label_smoothing": 0.1,
        "sample_weight": np.where(rng.uniform(size=N) < 0.1, 0.0, rng.uniform(size=N)),
    }
    coef, vector = rng.normal(size=(2, n_classes - 1, P + 1))
    return X, target, options, coef, vector


def make(X, target, options, n_classes, l2=0.3, fit_intercept=True):
    targets = encode_targets(target, n_classes, dtype=X.dtype, **options)
    return LinearCrossEntropy(
        X, targets, n_classes=n_classes, fit_intercept=fit_intercept, l2=l2
    )


def naive_value(X, target, options, coef, l2=0.3):
    z = X @ coef[:, :P].T + coef[:, P]
    z = np.hstack([np.zeros((len(X), 1)), z])
    weights = coef[:, :P]
    if len(weights) > 1:  # of all classes, shifted to the least norm
        weights = np.vstack([np.zeros(P), weights])
        weights = weights - weights.mean(axis=0)
    return reference.cross_entropy(z, target, **options) + l2 / 2 * (weights**2).sum()


def test_value_is_the_mean_loss_plus_the_ridge(problem, n_classes):
    X, target, options, coef, _ = problem
    value, _ = make(X, target, options, n_classes).value_and_gradient(coef)
    assert value == pytest.approx(naive_value(X, target, options, coef), rel=1e-12)


def test_gradient_is_the_difference_of_the_naive_value(problem, n_classes):
    X, target, options, coef, vector = problem
    _, gradient = make(X, target, options, n_classes).value_and_gradient(coef)
    h = 1e-6 * vector
    ahead, behind = (naive_value(X, target, options, coef + step) for step in (h, -h))
    slope = (ahead - behind) / 2e-6
    assert np.vdot(gradient, vector) == pytest.approx(slope, rel=1e-7)


def test_curvature_is_the_difference_of_the_gradient(problem, n_classes):
    X, target, options, coef, vector = problem
    objective = make(X, target, options, n_classes)
    h = 1e-5 * vector
    ahead, behind = (objective.value_and_gradient(coef + step)[1] for step in (h, -h))
    product = objective.curvature_at(coef)(vector)
    np.testing.assert_allclose(product, (ahead - behind) / 2e-5, atol=1e-8)


def test_blocks_change_nothing_but_rounding(problem, n_classes, monkeypatch):
    X, target, options, coef, _ = problem
    value, gradient = make(X, target, options, n_classes).value_and_gradient(coef)
    monkeypatch.setattr(_linear_loss, "BLOCK_SIZE", 1 << 20)
    whole, whole_gradient = make(X, target, options, n_classes).value_and_gradient(coef)
    assert value == pytest.approx(whole, rel=1e-13)
    np.testing.assert_allclose(gradient, whole_gradient, rtol=1e-10, atol=1e-15)


def test_without_intercept_the_last_column_is_a_coefficient(problem, n_classes):
    X, target, options, coef, _ = problem
    with_ones = np.hstack([X, np.ones((N, 1))])
    bare = make(with_ones, target, options, n_classes, l2=0.0, fit_intercept=False)
    value, gradient = bare.value_and_gradient(coef)
    full = make(X, target, options, n_classes, l2=0.0).value_and_gradient(coef)
    assert value == pytest.approx(full[0], rel=1e-13)
    np.testing.assert_allclose(gradient, full[1], rtol=1e-10, atol=1e-15)


def test_float32_products_and_float64_sums(problem, n_classes):
    X, target, options, coef, _ = problem
    value, gradient = make(X, target, options, n_classes).value_and_gradient(coef)
    single = make(X.astype(np.float32), target, options, n_classes)
    got, got_gradient = single.value_and_gradient(coef)
    assert got_gradient.dtype == np.float64
    assert got == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(got_gradient, gradient, atol=1e-6)


def test_rows_taken_estimate_the_whole(problem, n_classes):
    X, target, options, coef, _ = problem
    objective = make(X, target, options, n_classes)
    parts = [objective.take(np.arange(begin, N, 7)) for begin in range(7)]
    values, gradients = zip(
        *(part.value_and_gradient(coef) for part in parts), strict=True
    )
    value, gradient = objective.value_and_gradient(coef)
    assert np.mean(values) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(np.mean(gradients, axis=0), gradient, atol=1e-12)
    # a class weight or a smoothing that is lost would not average out
    assert np.ptp(values) > 0

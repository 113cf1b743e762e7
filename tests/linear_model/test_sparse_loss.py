"""The objective on sparse data beside the oracle on the whole, dense."""

import numpy as np
import pytest
import scipy.sparse

from skxent.linear_model._sparse_loss import (
    SparseDesign,
    SparseLinearCrossEntropy,
    squared_norm,
)
from skxent.losses._targets import encode_targets
from tests import reference
from tests.sparse_data import draw_sparse, untidy, with_indices

N, P = 300, 40


@pytest.fixture(params=[2, 5])
def n_classes(request):
    return request.param


@pytest.fixture(params=["index", "probabilities"])
def problem(request, n_classes):
    rng = np.random.default_rng(0)
    X = draw_sparse(N, P, 0.2, rng)
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
    return SparseLinearCrossEntropy(
        X, targets, n_classes=n_classes, fit_intercept=fit_intercept, l2=l2
    )


def naive_value(X, target, options, coef, l2=0.3):
    z = X @ coef[:, :P].T + coef[:, P]
    z = np.hstack([np.zeros((N, 1)), z])
    ridge = (coef[:, :P] ** 2).sum()
    if len(coef) > 1:
        ridge -= (coef[:, :P].sum(axis=0) ** 2).sum() / (len(coef) + 1)
    return reference.cross_entropy(z, target, **options) + l2 / 2 * ridge


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_slope(problem, n_classes, layout, dtype):
    X, target, options, coef, vector = problem
    X = X.astype(dtype)
    expected = naive_value(X.astype(float), target, options, coef)
    objective = make(X.asformat(layout), target, options, n_classes)
    value, gradient = objective.value_and_gradient(coef)
    assert value == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-12)
    h = 1e-6 * vector
    ahead, behind = (
        naive_value(X.astype(float), target, options, coef + step) for step in (h, -h)
    )
    slope = (ahead - behind) / 2e-6
    assert np.vdot(gradient, vector) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_curvature_is_the_difference_of_the_gradient(problem, n_classes, layout):
    X, target, options, coef, vector = problem
    objective = make(X.asformat(layout), target, options, n_classes)
    h = 1e-5 * vector
    ahead, behind = (objective.value_and_gradient(coef + step)[1] for step in (h, -h))
    product = objective.curvature_at(coef)(vector)
    np.testing.assert_allclose(product, (ahead - behind) / 2e-5, atol=1e-8)


def test_without_intercept_the_last_column_is_a_coefficient(problem, n_classes):
    X, target, options, coef, _ = problem
    with_ones = scipy.sparse.hstack([X, np.ones((N, 1))], format="csr")
    bare = make(with_ones, target, options, n_classes, l2=0.0, fit_intercept=False)
    value, gradient = bare.value_and_gradient(coef)
    full = make(X, target, options, n_classes, l2=0.0).value_and_gradient(coef)
    assert value == pytest.approx(full[0], rel=1e-13)
    np.testing.assert_allclose(gradient, full[1], rtol=1e-10, atol=1e-15)


def test_weights_and_back(problem, n_classes):
    X, target, options, coef, _ = problem
    objective = make(X, target, options, n_classes)
    weights, bias = objective.weights_of(coef, np.float64)
    back = objective.coef_of(weights, bias)
    again, bias_again = objective.weights_of(back, np.float64)
    np.testing.assert_allclose(again, weights, atol=1e-14)
    np.testing.assert_allclose(bias_again, bias, atol=1e-14)
    if n_classes > 2:
        np.testing.assert_allclose(back.mean(axis=0), 0, atol=1e-15)
        back = back[1:] - back[0]
        np.testing.assert_allclose(weights.mean(axis=1), 0, atol=1e-15)
    np.testing.assert_allclose(back, coef, atol=1e-14)
    ridge = naive_value(X, target, options, coef) - naive_value(
        X, target, options, coef, l2=0.0
    )
    assert 0.15 * squared_norm(weights) == pytest.approx(ridge, rel=1e-10)


def naive_ridge(coef, l2=0.3):
    W = np.vstack([np.zeros((1, P)), coef[:, :P]])
    if len(coef) > 1:
        W -= W.mean(axis=0)
    return l2 / 2 * (W**2).sum()


def test_squared_norm_of_many_small_numbers():
    array = np.full((1 << 20, 3), 1e-3, np.float32)
    exact = array.size * float(array[0, 0]) ** 2
    assert squared_norm(array) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_columns(layout, index):
    tidy = draw_sparse(N, P, 0.2, np.random.default_rng(0)).astype("float32")
    places = np.array([0, 1, 3, 5, 30, P - 1])
    whole = tidy.toarray()[:, places]
    for X in (tidy.asformat(layout), untidy(tidy.asformat(layout))):
        X = with_indices(X, index)
        before, design = X.copy(), SparseDesign(X)
        for chosen in (places, places[:0], places):
            columns = scipy.sparse.csc_array(design.columns(chosen), (N, len(chosen)))
            assert columns.has_canonical_format
            assert columns.dtype == np.float32
            expected = whole if chosen.size else whole[:, :0]
            np.testing.assert_allclose(columns.toarray(), expected, atol=1e-7)
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(X, name), getattr(before, name))

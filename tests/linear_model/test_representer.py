"""The objective of wide data over sums of the rows, and the solver that takes it."""

import tracemalloc

import numpy as np
import pytest

from skxent.linear_model import SoftmaxRegression, _representer
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._products import norms_of_rows
from skxent.linear_model._representer import (
    CurvatureOfRows,
    SumsOfRows,
    minimize_over_rows,
)
from skxent.linear_model._ridge_solver import SOLVERS
from skxent.linear_model._solvers import Settings, SolverStatus
from skxent.losses._targets import encode_targets

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 150)) * np.logspace(-1, 1, 60)[RNG.permutation(60)][:, None]
X[40:50] = X[30:40]  # rows that depend on others
X[50] = 0.0
Y = RNG.integers(0, 4, 60)
S = RNG.uniform(0.5, 2.0, 60)
S[7] = 0.0


@pytest.fixture(params=[4, 2])
def n_classes(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["intercept", "no intercept"])
def objective(request, n_classes, monkeypatch):
    monkeypatch.setattr(_representer, "LEAST_ROWS", 1)
    return objective_of(X, n_classes, fit_intercept=request.param)


def objective_of(X, n_classes=4, l2=1e-2, fit_intercept=True):
    targets = encode_targets(
        Y % n_classes, n_classes, dtype=X.dtype, sample_weight=S, label_smoothing=0.1
    )
    return LinearCrossEntropy(
        X, targets, n_classes=n_classes, fit_intercept=fit_intercept, l2=l2
    )


def space_of(objective):
    return SumsOfRows(objective, norms_of_rows(objective.X))


def point_of(space):
    n_intercepts = int(space.objective.fit_intercept)
    R = space.objective.n_classes - 1
    rows, intercepts = RNG.normal(size=(R, 60)), RNG.normal(size=(R, n_intercepts))
    return space.point(rows / 100, intercepts)


def in_features(space, gradient):
    """Return ``G X`` with the intercept's part."""
    G = gradient[1]
    return np.hstack([G[:, :60] @ space.objective.X, G[:, 60:]])


def test_value_and_gradient_are_those_of_the_coefficients(objective):
    space = space_of(objective)
    point = point_of(space)
    value, gradient = space.value_and_gradient(point)
    whole, whole_gradient = objective.value_and_gradient(space.coef(point))
    assert value == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(in_features(space, gradient), whole_gradient, atol=1e-13)
    along = point_of(space)
    np.testing.assert_allclose(
        np.vdot(gradient, along), np.vdot(whole_gradient, space.coef(along)), rtol=1e-10
    )


def test_curvature_is_the_inverse_where_all_rows_are_alike(objective):
    # at 0 every row has the same probabilities
    space = space_of(objective)
    zero = np.zeros((2, *objective.shape[:1], 60 + objective.fit_intercept))
    curvature = CurvatureOfRows(space, zero)
    gradients = np.array([point_of(space), point_of(space)])
    gradients[:, 0] = 0.0
    for G in gradients:
        G[1, :, :60] *= S  # a row without weight has no gradient
    solved = curvature.solve(gradients)
    hessian = objective.curvature_at(np.zeros(objective.shape))
    for gradient, point in zip(gradients, solved, strict=True):
        expected = in_features(space, gradient)
        back = hessian(space.coef(point))
        np.testing.assert_allclose(back, expected, atol=2e-5 * np.abs(expected).max())
        alone = curvature.solve(gradient)
        np.testing.assert_allclose(alone, point, atol=1e-4 * np.abs(point).max())


def test_start_is_the_point_of_coefficients_that_rows_span(objective):
    space = space_of(objective)
    coef = space.coef(point_of(space))
    np.testing.assert_allclose(space.coef(space.start(coef)), coef, atol=2e-3)


@pytest.mark.parametrize("l2", [1e-2, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_minimum_is_that_of_newton_steps(dtype, l2, n_classes, monkeypatch):
    monkeypatch.setattr(_representer, "LEAST_ROWS", 1)
    objective = objective_of(X, n_classes, l2)
    zero = np.zeros(objective.shape)
    least = SOLVERS["newton-cholesky"](objective, zero, Settings(1e-7, 100)).value
    given = objective_of(X.astype(dtype), n_classes, l2)
    result = minimize_over_rows(given, zero, Settings(1e-4, 100))
    assert result.status is SolverStatus.CONVERGED
    value, _ = objective.value_and_gradient(result.coef)
    tolerance = {"float32": 1e-6, "float64": 1e-9}[dtype]
    assert value == pytest.approx(result.value, rel=tolerance)
    assert -1e-12 <= value / least - 1 <= 2e-8 + tolerance
    again = minimize_over_rows(given, result.coef, Settings(1e-2, 100))
    assert again.n_iter <= 1


def test_the_same_bits_for_any_layout(objective):
    zero = np.zeros(objective.shape)
    expected = minimize_over_rows(objective, zero, Settings(1e-3, 100)).coef
    for other in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[:, ::-1]):
        objective.X = other[:, ::-1] if other.strides[1] < 0 else other
        found = minimize_over_rows(objective, zero, Settings(1e-3, 100)).coef
        np.testing.assert_array_equal(found, expected)


def test_others_take_what_float32_cannot_factor_and_few_rows(objective):
    zero = np.zeros(objective.shape)
    objective.l2 = 1e-6
    assert minimize_over_rows(objective, zero, Settings(1e-3, 9)) is None
    objective.l2 = 1e-2
    objective.X = np.zeros_like(X)
    assert minimize_over_rows(objective, zero, Settings(1e-3, 9)) is None
    few = objective_of(X[:40].repeat(2, axis=0)[:60])
    _representer.LEAST_ROWS = 30  # the fixture puts it back
    assert minimize_over_rows(few, np.zeros(few.shape), Settings(1e-3, 9)) is None


def test_a_fit_takes_a_tenth_of_wide_data():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(600, 12_000)), rng.integers(0, 3, 600)
    model = SoftmaxRegression()
    model.fit(X[:, :1000], y)  # compiles what it needs
    tracemalloc.start()
    model.fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * X.nbytes

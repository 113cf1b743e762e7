"""L-BFGS on functions whose minimum is known, and every solver on one objective."""

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import rosen, rosen_der

from skxent.linear_model import _preconditioners, _sampled
from skxent.linear_model._lbfgs import Identity, minimize
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._preconditioners import (
    CorrectedCurvature,
    FullCurvature,
    KroneckerCurvature,
)
from skxent.linear_model._ridge_solver import SOLVERS
from skxent.linear_model._row_space import in_row_space
from skxent.linear_model._solvers import Settings, SolverStatus
from skxent.linear_model._sparse_loss import SparseLinearCrossEntropy
from skxent.losses._targets import encode_targets


def settings(tol=1e-6, max_iter=500):
    return Settings(tol, max_iter)


class Rosenbrock:
    dtype = np.dtype(np.float64)

    def value_and_gradient(self, coef):
        # the minimum is 1, since suboptimality is relative
        return 1 + rosen(coef.ravel()), rosen_der(coef.ravel()).reshape(coef.shape)


class Rising(Rosenbrock):
    """Every evaluation is higher than the last one, wherever it is."""

    def __init__(self):
        self.calls = 0

    def value_and_gradient(self, coef):
        self.calls += 1
        value, gradient = super().value_and_gradient(coef)
        return value + 100 * self.calls, gradient


class Rounded(Rosenbrock):
    """A gradient that is never quite 0, as if many large terms had been added up."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def value_and_gradient(self, coef):
        value, gradient = super().value_and_gradient(coef)
        return value, gradient + self.rng.normal(0, 1e-9, gradient.shape)


def test_rounding_of_the_gradient_ends_the_search():
    result = minimize(Rounded(), np.zeros((2, 3)), Identity, settings(1e-12, 10_000))
    assert result.status is SolverStatus.CONVERGED
    assert len(result.history["loss"]) < 200
    np.testing.assert_allclose(result.coef, np.ones((2, 3)), rtol=1e-6)


def test_minimum_is_found_and_recorded():
    result = minimize(Rosenbrock(), np.zeros((2, 3)), Identity, settings())
    assert result.status is SolverStatus.CONVERGED
    np.testing.assert_allclose(result.coef, np.ones((2, 3)), rtol=1e-4)
    assert result.value == pytest.approx(1, abs=1e-10)
    for record in result.history.values():
        assert len(record) == result.n_iter + 1
    assert result.history["loss"][0] == 1 + rosen(np.zeros(6))
    assert result.history["loss"][-1] == result.value
    assert result.history["suboptimality"][-1] <= 1e-12


def test_iterations_run_out():
    result = minimize(Rosenbrock(), np.zeros((2, 3)), Identity, settings(max_iter=3))
    assert result.status is SolverStatus.MAX_ITER
    assert result.n_iter == 3


def test_line_search_that_finds_nothing():
    result = minimize(Rising(), np.zeros((2, 3)), Identity, settings())
    assert result.status is SolverStatus.LINE_SEARCH


def test_search_stops_when_it_is_told():
    seen = []

    def stop(coef):
        seen.append(coef)
        return len(seen) == 4

    told = settings()._replace(stop=stop)
    result = minimize(Rosenbrock(), np.zeros((2, 3)), Identity, told)
    assert result.n_iter == 4
    np.testing.assert_array_equal(result.coef, seen[-1])


@pytest.fixture(params=["two", "four", "wide", "many rows"])
def objective(request):
    n, p, n_classes = {
        "two": (300, 7, 2),
        "four": (300, 7, 4),
        "wide": (40, 90, 3),
        "many rows": (30_000, 4, 3),
    }[request.param]
    rng = np.random.default_rng(0)
    # columns of scales that differ by 1e6, far from 0
    scales = np.logspace(-3, 3, p)
    X = (rng.normal(size=(n, p)) + 3) * scales
    z = X @ (rng.normal(size=(p, n_classes)) / scales[:, np.newaxis]) / np.sqrt(p)
    y = np.argmax(z + rng.gumbel(size=z.shape), axis=1)
    targets = encode_targets(
        y,
        n_classes,
        dtype=X.dtype,
        weight=rng.uniform(0.5, 2, n_classes),
        label_smoothing=0.1,
        sample_weight=rng.uniform(size=n),
    )
    return LinearCrossEntropy(
        X, targets, n_classes=n_classes, fit_intercept=True, l2=1e-3
    )


def hessian(objective, coef):
    product = objective.curvature_at(coef)
    columns = [product(row.reshape(coef.shape)).ravel() for row in np.eye(coef.size)]
    return np.array(columns)


def least_value(objective):
    """Minimise by Newton's method with the Hessian of `curvature_at`."""
    coef = np.zeros(objective.shape)
    for _ in range(30):
        value, gradient = objective.value_and_gradient(coef)
        step = np.linalg.lstsq(hessian(objective, coef), gradient.ravel(), rcond=None)
        coef = coef - step[0].reshape(coef.shape)
    return value


@pytest.mark.parametrize("offset", [300, 1000])
def test_float32_columns_far_from_zero_are_solved(offset):
    rng = np.random.default_rng(1)
    X = (rng.normal(size=(20_000, 30)) + offset).astype(np.float32)
    weights = 0.5 * rng.normal(size=(30, 3))
    scores = (X - offset) @ weights + rng.gumbel(size=(20_000, 3))
    single, double = (
        LinearCrossEntropy(
            x,
            encode_targets(scores.argmax(axis=1), 3, dtype=x.dtype),
            n_classes=3,
            fit_intercept=True,
            l2=1e-5,
        )
        for x in (X, X.astype(np.float64))
    )
    zero = np.zeros(single.shape)
    result = SOLVERS["auto"](single, zero, settings(1e-4))
    assert result.status is SolverStatus.CONVERGED
    assert result.n_iter < 10
    value, _ = double.value_and_gradient(result.coef)
    least = SOLVERS["auto"](double, zero, settings(1e-7)).value
    assert value / least - 1 < 3e-8


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_full_curvature_of_float32_far_from_zero(fit_intercept):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(3000, 6)) + 1000).astype(np.float32)
    options = {"n_classes": 4, "fit_intercept": fit_intercept, "l2": 1e-3}
    y = rng.integers(4, size=3000)
    single, double = (
        LinearCrossEntropy(x, encode_targets(y, 4, dtype=x.dtype), **options)
        for x in (X, X.astype(np.float64))
    )
    coef = np.zeros(single.shape)
    coef[:, :2] = [[0.5, 0], [0, 0.5], [-0.3, 0.2]]
    coef[:, -1] -= 1000 * coef[:, :2].sum(axis=1) * fit_intercept
    gradient = rng.normal(size=coef.shape)
    solved = FullCurvature(single, coef).solve(np.array([gradient, -gradient]))
    product = double.curvature_at(coef)
    units = np.eye(coef.size).reshape(-1, *coef.shape)
    hessian = np.array([product(unit).ravel() for unit in units])
    exact = np.linalg.solve(hessian, gradient.ravel()).reshape(coef.shape)
    np.testing.assert_allclose(solved[0], exact, atol=5e-3 * np.abs(exact).max())
    np.testing.assert_array_equal(solved[1], -solved[0])


def test_corrected_curvature_is_the_inverse_where_it_corrects(blocks, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 8))
    coef = np.zeros((3, 9))
    monkeypatch.setattr(_preconditioners, "FEWEST_CORRECTED", 1)
    coef[:, :2] = [[3, 0], [0, 3], [-2, 2]]
    y = rng.integers(4, size=2000)
    objective = LinearCrossEntropy(
        X,
        encode_targets(y, 4, dtype=X.dtype),
        n_classes=4,
        fit_intercept=True,
        l2=1e-3,
    )
    gradient = rng.normal(size=coef.shape)
    errors = []
    for curvature_of in (KroneckerCurvature, CorrectedCurvature):
        curvature = curvature_of(objective, coef)
        back = objective.curvature_at(coef)(curvature.solve(gradient))
        errors.append(np.abs(back - gradient).max())
    assert errors[0] > 0.1
    assert errors[1] < 1e-6  # all directions are corrected


@pytest.mark.parametrize("solver", ["auto", "newton-cholesky"])
def test_columns_of_any_scale_are_solved(objective, solver):
    result = SOLVERS[solver](objective, np.zeros(objective.shape), settings(1e-4))
    assert result.status is SolverStatus.CONVERGED
    value, _ = objective.value_and_gradient(result.coef)
    assert value == pytest.approx(result.value, rel=1e-9)
    # what the solver stops by is an estimate
    assert -1e-12 <= value / least_value(objective) - 1 <= 2e-8
    assert result.n_iter <= 20


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_other_solvers_agree_on_columns_of_one_scale(objective, solver):
    scaled = objective.X / np.logspace(-3, 3, objective.X.shape[1]) - 3
    objective.X = scaled
    result = SOLVERS[solver](objective, np.zeros(objective.shape), settings(1e-5))
    assert result.status is SolverStatus.CONVERGED
    value, _ = objective.value_and_gradient(result.coef)
    assert -1e-12 <= value / least_value(objective) - 1 <= 2e-9


def relative_error(objective, curvature):
    """Return by how much the Hessian does not undo what the curvature does."""
    gradient = np.random.default_rng(2).normal(size=objective.shape)
    back = objective.curvature_at(np.zeros(objective.shape))(curvature.solve(gradient))
    return np.abs(back - gradient).max()


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr(_preconditioners, "BLOCK_SIZE", 1 << 10)
        monkeypatch.setattr(_preconditioners, "LEAST_ROWS", 1)


def test_full_curvature_is_the_inverse_of_the_hessian(objective, blocks):
    curvature = FullCurvature(objective, np.zeros(objective.shape))
    # squares of wide columns span 16 decades
    limit = 1e-6 if len(objective.X) > objective.X.shape[1] else 1e-3
    assert relative_error(objective, curvature) < limit


def test_kronecker_curvature_is_exact_where_all_rows_are_alike(objective, blocks):
    # at 0 every row has the same probabilities
    if objective.n_classes > 2:
        targets = objective.targets
        objective.targets = targets._replace(
            on_value=np.ones_like(targets.on_value),
            off_value=np.zeros_like(targets.off_value),
        )
    curvature = KroneckerCurvature(objective, np.zeros(objective.shape))
    limit = 1e-6 if len(objective.X) > objective.X.shape[1] else 1e-3
    assert relative_error(objective, curvature) < limit


def test_kronecker_curvature_solves_where_the_hessian_is_too_large(
    objective, monkeypatch
):
    monkeypatch.setattr(_sampled, "MOST_FULL", 0)
    result = SOLVERS["auto"](objective, np.zeros(objective.shape), settings(1e-4))
    assert result.status is SolverStatus.CONVERGED
    assert -1e-12 <= result.value / least_value(objective) - 1 <= 2e-8


def test_row_space_holds_the_minimum():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 80))
    X[20:] = X[:10] - X[10:20]  # ten rows that the others span
    targets = encode_targets(rng.integers(0, 3, 30), 3, dtype=X.dtype)
    objective = LinearCrossEntropy(X, targets, n_classes=3, fit_intercept=True, l2=1e-2)
    reduced, there, back = in_row_space(objective)
    assert reduced.X.shape == (30, 20)
    coef = rng.normal(size=reduced.shape)
    np.testing.assert_allclose(there(back(coef)), coef, atol=1e-9)
    value, gradient = reduced.value_and_gradient(coef)
    whole, whole_gradient = objective.value_and_gradient(back(coef))
    assert whole == pytest.approx(value, rel=1e-12)
    assert np.linalg.norm(whole_gradient) == pytest.approx(
        np.linalg.norm(gradient), rel=1e-9
    )


@pytest.mark.parametrize(
    ("kind", "container"),
    [
        (LinearCrossEntropy, np.asarray),
        (SparseLinearCrossEntropy, scipy.sparse.csr_array),
    ],
)
def test_lbfgs_knows_of_directions_without_curvature(kind, container):
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 3, 1500)
    X = np.vander(x, 12)
    y = (rng.uniform(size=1500) < 0.5 + 0.4 * np.sin(3 * x)).astype(int)
    targets = encode_targets(y, 2, dtype=X.dtype)
    objective = kind(
        container(X), targets, n_classes=2, fit_intercept=True, l2=1e-2 / 1500
    )
    start = np.zeros((1, 13))
    exact = SOLVERS["newton-cholesky"](objective, start, settings(1e-7))
    result = SOLVERS["lbfgs"](objective, start, settings(1e-4))
    assert result.status is SolverStatus.CONVERGED
    assert result.value / exact.value - 1 < 1e-7

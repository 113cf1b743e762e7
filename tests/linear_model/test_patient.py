"""Cheap steps where a curvature is dear, and what checks their estimates."""

import numpy as np
import pytest

from skxent.linear_model import SoftmaxRegression, _patient, _ridge_solver, _sampled
from skxent.linear_model._conjugate_gradient import conjugate_gradients
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._preconditioners import DiagonalCurvature
from skxent.linear_model._ridge_solver import SOLVERS
from skxent.linear_model._solvers import Settings, SolverStatus
from skxent.losses._targets import encode_targets


def draw(n, p, n_classes, *, n_factors=0, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    if n_factors:
        X = 0.01 * X + rng.normal(size=(n, n_factors)) @ rng.normal(size=(n_factors, p))
    z = X @ rng.normal(size=(p, n_classes))
    y = (2 * z / z.std() + rng.gumbel(size=z.shape)).argmax(axis=1)
    return LinearCrossEntropy(
        X.astype(dtype),
        encode_targets(y, n_classes, dtype=np.dtype(dtype)),
        n_classes=n_classes,
        fit_intercept=True,
        l2=1 / n,
    )


def least_value(objective):
    start = np.zeros(objective.shape)
    settings = Settings(1e-6, 1000)
    return _sampled.minimize_sampled(objective, start, settings).value


@pytest.fixture
def dear(monkeypatch):
    """Make every curvature one that is waited for."""
    monkeypatch.setattr(_patient, "LEAST", 0.0)
    monkeypatch.setattr(_ridge_solver, "LEAST_ROWS_OF_WIDE", 0)


@pytest.mark.parametrize("shape", [(400, 400, 2), (400, 400, 3), (400, 700, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_curvature_is_taken_of_random_square_data(shape, dtype, dear, monkeypatch):
    objective = draw(*shape, dtype=dtype)
    least = least_value(draw(*shape))

    def fail(*args):
        raise AssertionError("the cheap steps were enough")

    for name in ("minimize_sampled", "_minimize_wide"):
        monkeypatch.setattr(_ridge_solver, name, fail)
    monkeypatch.setattr(_ridge_solver, "cost_of_products", lambda *_: 80.0)
    monkeypatch.setattr(_ridge_solver, "cost_of_curvature", lambda _: 80.0)
    told, seen = [], []
    is_wide = shape[0] < shape[1]
    settings = Settings(
        1e-3,
        1000,
        None if is_wide else lambda coef: seen.append(coef) or False,
        lambda *entry: told.append(entry),
    )
    result = SOLVERS["auto"](objective, np.zeros(objective.shape), settings)
    assert result.status is SolverStatus.CONVERGED
    assert -1e-12 < result.value / least - 1 < 2e-6
    for record in result.history.values():
        assert len(record) == result.n_iter + 1
    assert [n for n, *_ in told] == list(range(result.n_iter + 1))
    assert [value for _, value, _ in told] == result.history["loss"].tolist()
    assert result.n_iter > 21  # the steps of the trial and more
    assert len(seen) == (0 if is_wide else result.n_iter)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_wide_data_whose_columns_go_together_take_no_cheap_step(
    n_classes, dear, monkeypatch
):
    even, uneven = (draw(300, 700, n_classes, n_factors=k) for k in (0, 5))
    values = []
    for objective in (even, uneven):
        start = np.zeros(objective.shape)
        diagonal = DiagonalCurvature(objective, start)
        values.append(_patient._unevenness(objective, start, diagonal))
    # of the largest, that of random data is (1 + sqrt(n / p))**2, and that of 5
    # factors n / 5
    assert 1.5 < values[0] < (1 + (300 / 700) ** 0.5) ** 2
    assert 30 < values[1] < 90

    def fail(*args, **options):
        raise AssertionError("curvatures were worth it")

    monkeypatch.setattr(_patient, "minimize", fail)
    monkeypatch.setattr(_ridge_solver, "cost_of_products", lambda *_: 80.0)
    SOLVERS["auto"](uneven, np.zeros(uneven.shape), Settings(1e-3, 1000))
    with pytest.raises(AssertionError, match="worth it"):
        SOLVERS["auto"](even, np.zeros(even.shape), Settings(1e-3, 1000))


@pytest.mark.parametrize("shape", [(300, 200, 3), (300, 500, 2)])
def test_the_curvature_is_taken_when_the_steps_have_cost_as_much(
    shape, dear, monkeypatch
):
    monkeypatch.setattr(_patient, "OPTIMISM", 0.0)  # steps are never slow
    objective = draw(*shape)
    _ridge_solver.cost_of_products = _ridge_solver.cost_of_curvature = lambda *_: 10.5
    result = SOLVERS["auto"](objective, np.zeros(objective.shape), Settings(1e-5, 500))
    assert result.status is SolverStatus.CONVERGED
    assert -1e-12 < result.value / least_value(objective) - 1 < 2e-10
    assert result.n_iter > 41
    for record in result.history.values():
        assert len(record) == result.n_iter + 1
    few = SOLVERS["auto"](objective, np.zeros(objective.shape), Settings(1e-5, 9))
    assert few.status is SolverStatus.MAX_ITER
    assert few.n_iter == 9


@pytest.fixture(autouse=True)
def costs(monkeypatch):
    """Put back what tests change."""
    for name in ("cost_of_products", "cost_of_curvature"):
        monkeypatch.setattr(_ridge_solver, name, getattr(_ridge_solver, name))


def test_separable_classes_without_a_penalty(dear):
    # the steps end where some rows are certain and others are not
    random = np.random.default_rng(0)
    X, y = random.normal(size=(300, 280)), random.integers(0, 2, 300)
    _ridge_solver.cost_of_curvature = lambda _: 100.0
    model = SoftmaxRegression(C=np.inf, tol=1e-3).fit(X, y)
    assert model.history_["loss"][-1] < 1e-9
    assert model.n_iter_ < 100


def test_how_many_steps_are_to_come():
    geometric = 1.0 + 0.5 ** np.arange(13.0)
    steps = _patient._steps_to_come(geometric, 2.0**-20)
    assert steps == pytest.approx(8)  # after 12
    assert _patient._steps_to_come(geometric, 0.1) == 0
    assert _patient._steps_to_come(np.ones(7), 1e-6) == 0
    assert _patient._steps_to_come(geometric[:2], 1e-6) == 0
    assert _patient._steps_to_come(np.arange(7.0, 0.0, -1.0), 1e-6) == np.inf


def test_slow_steps_are_given_up(dear, monkeypatch):
    # directions whose curvature falls by 1e6: L-BFGS takes hundreds of steps
    rng = np.random.default_rng(0)
    objective = draw(300, 100, 2)
    turn, _ = np.linalg.qr(rng.normal(size=(100, 100)))
    objective.X = objective.X * np.logspace(0, -3, 100) @ turn
    taken = []

    def solve(objective, coef, settings):
        taken.append(settings.max_iter)
        return _sampled.minimize_sampled(objective, coef, settings)

    monkeypatch.setattr(_ridge_solver, "minimize_sampled", solve)
    _ridge_solver.cost_of_curvature = lambda _: 40.0
    zero = np.zeros(objective.shape)
    result = SOLVERS["auto"](objective, zero, Settings(1e-4, 500))
    assert taken == [490]  # after a quarter of the cost
    assert result.status is SolverStatus.CONVERGED


@pytest.mark.parametrize("solver", ["lbfgs", "auto"])
def test_directions_of_little_curvature_are_found(solver, dear):
    # 4 directions of curvature 1e4 times that of the others, which the labels need too
    objective = draw(300, 200, 2, n_factors=4)
    zero = np.zeros(objective.shape)
    _ridge_solver.cost_of_curvature = lambda _: 1000.0
    result = SOLVERS[solver](objective, zero, Settings(1e-3, 5000))
    assert result.status is SolverStatus.CONVERGED
    assert result.value / least_value(objective) - 1 < 3e-6


def test_conjugate_gradients_solve():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(30, 30))
    matrix = root @ root.T + np.eye(30)
    right = rng.normal(size=30)
    seen = []

    def enough(n_products, latest, decrease, residual):
        seen.append((n_products, latest, decrease))
        return bool(np.linalg.norm(residual) < 1e-10)

    scale = 1.0 / matrix.diagonal()
    solved = conjugate_gradients(matrix.__matmul__, right, scale.__mul__, enough, 0.0)
    np.testing.assert_allclose(matrix @ solved, right, atol=1e-9)
    assert [n for n, *_ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][2] == pytest.approx(0.5 * right @ solved)
    assert seen[-1][2] == pytest.approx(sum(latest for _, latest, _ in seen))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_diagonal_curvature_is_that_of_centred_columns(dtype):
    objective = draw(400, 5, 3, dtype=dtype)
    rng = np.random.default_rng(1)
    objective.X = objective.X * np.logspace(-2, 2, 5, dtype=dtype) + 100
    coef = rng.normal(size=objective.shape) * [*np.logspace(2, -2, 5), 0]
    coef[:, 5] = -100 * coef[:, :5].sum(axis=1)
    curvature = DiagonalCurvature(objective, coef)
    centre = objective.X.mean(axis=0, dtype=np.float64)
    product = objective.curvature_at(coef)
    gradient = rng.normal(size=coef.shape)
    solved = curvature.solve(gradient)
    # what each class curves by alone: the first one's weight is taken from the others
    own = np.zeros((3, 5))
    for j in range(5):
        units = np.zeros((3, *coef.shape))
        units[1, 0, j], units[2, 1, j] = 1, 1
        units[0, :, j] = -1
        units[:, :, 5] = -centre[j] * units[:, :, j]
        own[:, j] = [np.vdot(unit, product(unit)) for unit in units]
    own /= 1 - (own**2).sum(axis=0) / own.sum(axis=0) ** 2
    slope = gradient[:, :5] - centre * gradient[:, 5:]
    expected = slope / own[1:] + slope.sum(axis=0) / own[0]
    np.testing.assert_allclose(solved[:, :5], expected, rtol=1e-2)
    np.testing.assert_array_equal(
        curvature.solve(np.array([gradient, -gradient]))[1], -solved
    )


def test_diagonal_curvature_of_certain_rows_is_finite():
    objective = draw(60, 4, 3)
    objective.l2 = 0.0
    for scale in np.logspace(0, 8, 33):
        coef = np.zeros(objective.shape)
        coef[0, 4] = scale  # class 1 for every row
        coef[1, 4] = scale / 2
        solved = DiagonalCurvature(objective, coef).solve(np.ones(coef.shape))
        assert np.isfinite(solved).all()


def test_a_fit_of_square_data_in_any_layout_has_the_same_bits():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(700, 800)), rng.integers(0, 2, 700)
    expected = SoftmaxRegression().fit(X, y)
    for other in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        found = SoftmaxRegression().fit(other, y)
        np.testing.assert_array_equal(found.coef_, expected.coef_)
        np.testing.assert_array_equal(found.n_iter_, expected.n_iter_)

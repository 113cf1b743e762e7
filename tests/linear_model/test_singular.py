"""Data whose Hessian is singular, or nearly: its minimum is found all the same."""

import warnings

import numpy as np
import pytest
import scipy.sparse

from skxent.linear_model import SoftmaxRegression, _sparse_newton, _training
from skxent.linear_model._conjugate_gradient import conjugate_gradients
from skxent.linear_model._lbfgs import minimize
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._preconditioners import DiagonalCurvature
from skxent.linear_model._solvers import Settings, SolverStatus
from skxent.linear_model._sparse_loss import SparseLinearCrossEntropy
from skxent.losses._targets import encode_targets

SOLVERS = ["auto", "lbfgs", "newton-cg", "newton-cholesky"]
CONTAINERS = {
    "dense": np.asarray,
    "csr": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_array,
}


@pytest.fixture
def kept_sparse(monkeypatch):
    """Small sparse data are not made dense."""
    monkeypatch.setattr(_training, "DENSE_SIZE", 0)


def draw(n=120, p=6, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    scores = X @ rng.normal(size=(p, n_classes)) + rng.gumbel(size=(n, n_classes))
    return X, scores.argmax(axis=1)


def loss_of(X, y, **options):
    """Return the least loss, of a fit that must converge."""
    options = {"tol": 1e-4, "label_smoothing": 0.05, "max_iter": 3000} | options
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return SoftmaxRegression(**options).fit(X, y).history_["loss"][-1]


@pytest.mark.parametrize("C", [np.inf, 1e6])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_of_one_number(solver, container, n_classes, C, kept_sparse):
    X, y = draw(n_classes=n_classes)
    constant = np.broadcast_to([0.1, 1 / 3, -1e-3, 7e4], (len(X), 4))
    both = np.hstack([constant, X])
    expected = loss_of(X, y, C=C)
    got = loss_of(CONTAINERS[container](both), y, C=C, solver=solver)
    assert got == pytest.approx(expected, rel=2e-7)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_that_come_twice(solver, container, kept_sparse):
    X, y = draw()
    twice = CONTAINERS[container](np.hstack([X, X[:, ::-1]]))
    got = loss_of(twice, y, C=np.inf, solver=solver)
    assert got == pytest.approx(loss_of(X, y, C=np.inf), rel=2e-7)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_scales_and_offsets(solver, container, kept_sparse):
    X, y = draw()
    scaled = CONTAINERS[container]((X + 10) * np.logspace(-3, 3, 6))
    got = loss_of(scaled, y, C=np.inf, solver=solver, max_iter=100)
    assert got == pytest.approx(loss_of(X, y, C=np.inf), rel=2e-7)


def test_a_sparse_column_far_from_zero(kept_sparse):
    # in float32, what all classes have in common outgrew the steps
    X, y = draw(400, 40)
    X = X + 30
    expected = loss_of(X, y, C=3e3, tol=1e-6)
    got = loss_of(scipy.sparse.csr_array(X), y, C=3e3)
    assert got == pytest.approx(expected, rel=1e-7)


def test_sparse_columns_that_come_twice_in_float32(kept_sparse):
    # of which rounding in float32 made weights of 1e10
    X, y = draw(1500, 25, 8)
    X = X.astype(np.float32)
    twice = scipy.sparse.csc_array(np.hstack([X, X]))
    model = SoftmaxRegression(C=np.inf, label_smoothing=0.1, tol=1e-3).fit(twice, y)
    assert np.abs(model.coef_).max() < 10
    expected = loss_of(X.astype(float), y, C=np.inf, label_smoothing=0.1)
    assert model.history_["loss"][-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_sparse_columns_that_nearly_depend_on_each_other(seed, kept_sparse):
    # Newton steps that ended on plateaus came to a halt 3e-7 from the minimum
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 133))
    X += 1e-3 * rng.normal(size=X.shape)
    y = rng.integers(0, 3, 60)
    expected = loss_of(X, y, C=np.inf, fit_intercept=False, tol=1e-6)
    got = loss_of(scipy.sparse.csc_array(X), y, C=np.inf, fit_intercept=False)
    assert got == pytest.approx(expected, rel=5e-8)


def test_short_newton_steps_tell_of_those_to_come(kept_sparse, monkeypatch):
    X, y = draw(120, 20)
    expected = loss_of(X, y, tol=1e-6)
    monkeypatch.setattr(_sparse_newton, "MOST_PRODUCTS", 1)
    fit = SoftmaxRegression(label_smoothing=0.05, tol=1e-3).fit
    history = fit(scipy.sparse.csc_array(X), y).history_
    distance = history["loss"][-1] / expected - 1
    assert 0.9 * distance < history["suboptimality"][-1] <= 1e-6


class Quadratic:
    dtype = np.dtype(np.float64)

    def value_and_gradient(self, coef):
        return 1.0 + 0.5 * float(np.vdot(coef - 1, coef - 1)), coef - 1


class Indefinite:
    """The inverse of no curvature."""

    scaled = True

    def solve(self, gradient):
        return -gradient


def test_a_preconditioner_that_leads_upwards_is_given_up():
    result = minimize(Quadratic(), np.zeros((2, 3)), Indefinite, Settings(1e-6, 100))
    assert result.status is SolverStatus.CONVERGED
    np.testing.assert_allclose(result.coef, 1.0, atol=1e-5)
    assert (result.history["suboptimality"] >= 0).all()


def test_conjugate_gradients_leave_rounding_alone():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(20, 3))
    matrix = root @ root.T
    right = matrix @ rng.normal(size=20)
    solved = conjugate_gradients(
        lambda v: matrix @ v + 1e-12 * rng.normal(size=20),
        right,
        np.copy,
        lambda *_: False,
        1e-10,
    )
    np.testing.assert_allclose(matrix @ solved, right, atol=1e-7)
    assert np.linalg.norm(solved) < 10 * np.linalg.norm(right)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("container", ["csr", "csc"])
def test_the_diagonal_of_sparse_data(container, n_classes, fit_intercept):
    X, y = draw(n_classes=n_classes)
    X[:, 0] = 0.3
    X[:, 1] = 0.0
    targets = encode_targets(y, n_classes, dtype=X.dtype)
    options = {"n_classes": n_classes, "fit_intercept": fit_intercept, "l2": 1e-3}
    dense = LinearCrossEntropy(X, targets, **options)
    sparse = SparseLinearCrossEntropy(CONTAINERS[container](X), targets, **options)
    zero = np.zeros(dense.shape)
    of_dense, of_sparse = (DiagonalCurvature(one, zero) for one in (dense, sparse))
    kept = np.arange(dense.shape[1]) != 0  # a column of one number is not scaled up
    np.testing.assert_allclose(
        of_sparse.diagonal[:, kept], of_dense.diagonal[:, kept], rtol=1e-12
    )
    if fit_intercept:
        assert (of_sparse.diagonal[:, 0] >= of_dense.diagonal[:, 0]).all()
        np.testing.assert_allclose(
            of_sparse.centring.centre, of_dense.centring.centre, atol=1e-15
        )

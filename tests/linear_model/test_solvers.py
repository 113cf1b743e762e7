"""Solvers on functions whose minimum is known."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from skxent.linear_model._solvers import SolverStatus, minimize_lbfgs


class Rosenbrock:
    def value_and_gradient(self, coef):
        return rosen(coef.ravel()), rosen_der(coef.ravel()).reshape(coef.shape)


class Rising(Rosenbrock):
    """Every evaluation is higher than the last one, wherever it is."""

    def __init__(self):
        self.calls = 0

    def value_and_gradient(self, coef):
        self.calls += 1
        value, gradient = super().value_and_gradient(coef)
        return value + 100 * self.calls, gradient


def test_minimum_is_found_and_recorded():
    result = minimize_lbfgs(Rosenbrock(), np.zeros((2, 3)), tol=1e-4, max_iter=500)
    assert result.status is SolverStatus.CONVERGED
    np.testing.assert_allclose(result.coef, np.ones((2, 3)), rtol=1e-4)
    assert result.value == pytest.approx(0, abs=1e-10)
    assert result.gradient_norm <= 1e-4
    for record in result.history.values():
        assert len(record) == result.n_iter + 1
    assert result.history["loss"][0] == rosen(np.zeros(6))
    assert result.history["loss"][-1] == result.value


def test_iterations_run_out():
    result = minimize_lbfgs(Rosenbrock(), np.zeros((2, 3)), tol=1e-8, max_iter=3)
    assert result.status is SolverStatus.MAX_ITER
    assert result.n_iter == 3


def test_line_search_that_finds_nothing():
    result = minimize_lbfgs(Rising(), np.zeros((2, 3)), tol=1e-8, max_iter=50)
    assert result.status is SolverStatus.LINE_SEARCH

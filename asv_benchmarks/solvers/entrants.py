"""The solvers that the race runs, each behind ``fit(X, y, penalty, tol)``.

``fit`` returns ``coef``, (n_classes, n_features), one row of two classes, and the
``intercept``. Every package is imported on first use.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

__all__ = ["OURS", "SOLVERS", "Penalty", "Solver"]

OURS = "skxent"
# The Hessian that a peer may form, in unknowns: 0.4 GB.
LARGEST_HESSIAN = 7500
NEVER = 1_000_000  # iterations


class Penalty(NamedTuple):
    """The inverse strength, and the share of L1."""

    C: float = 1.0
    l1_ratio: float = 0.0


class Solver(NamedTuple):
    """A solver, the tolerances to run it at, and what it can be given."""

    fit: Callable[..., tuple[Any, Any]]
    tolerances: list[float]
    takes: Callable[[Any, int, Penalty], bool]


def ours(X, y, penalty, tol):
    from skxent.linear_model import SoftmaxRegression

    model = SoftmaxRegression(C=penalty.C, l1_ratio=penalty.l1_ratio, tol=tol)
    return of(model.fit(X, y))


def of(model):
    """Return what a scikit-learn estimator learnt."""
    return model.coef_, model.intercept_


def sklearn(solver):
    def fit(X, y, penalty, tol):
        from sklearn.linear_model import LogisticRegression

        share = {"l1_ratio": penalty.l1_ratio} if penalty.l1_ratio else {}
        model = LogisticRegression(
            C=penalty.C, solver=solver, tol=tol, max_iter=NEVER, **share
        )
        return of(model.fit(X, y))

    return fit


def intelex(solver):
    def fit(X, y, penalty, tol):
        from sklearnex.linear_model import LogisticRegression

        model = LogisticRegression(C=penalty.C, solver=solver, tol=tol, max_iter=NEVER)
        return of(model.fit(X, y))

    return fit


def torch_lbfgs(X, y, penalty, tol):
    """Full batches and the strong Wolfe conditions; stop by the gradient."""
    import torch

    X, y = torch.from_numpy(X), torch.from_numpy(y)
    n_classes = int(y.max()) + 1
    coef = torch.zeros(n_classes, X.shape[1], dtype=X.dtype, requires_grad=True)
    intercept = torch.zeros(n_classes, dtype=X.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [coef, intercept],
        max_iter=NEVER,
        history_size=10,
        tolerance_grad=tol,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def objective():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(X @ coef.T + intercept, y)
        loss = loss + (coef**2).sum() / (2 * penalty.C * len(X))
        loss.backward()
        return loss

    optimizer.step(objective)
    return coef.detach().numpy(), intercept.detach().numpy()


def glum(X, y, penalty, tol):
    from glum import GeneralizedLinearRegressor

    model = GeneralizedLinearRegressor(
        family="binomial",
        alpha=1 / (penalty.C * len(y)),
        l1_ratio=penalty.l1_ratio,
        gradient_tol=tol,
        max_iter=10_000,
    ).fit(X, y)
    return model.coef_[None], np.array([model.intercept_])


def liblinear(X, y, penalty, tol):
    """Its penalty of the intercept is made small by a large column for it."""
    from sklearn.linear_model import LogisticRegression

    share = {"l1_ratio": penalty.l1_ratio} if penalty.l1_ratio else {}
    model = LogisticRegression(
        C=penalty.C,
        solver="liblinear",
        intercept_scaling=100.0,
        tol=tol,
        max_iter=NEVER,
        **share,
    )
    return of(model.fit(X, y))


def skglm(X, y, penalty, tol):
    """Classes -1 and 1; the mean of the losses."""
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Logistic
    from skglm.penalties import L1_plus_L2
    from skglm.solvers import ProxNewton

    model = GeneralizedLinearEstimator(
        Logistic(),
        L1_plus_L2(1 / (penalty.C * len(y)), penalty.l1_ratio),
        ProxNewton(tol=tol, max_iter=1000, fit_intercept=True),
    ).fit(X, 2 * y - 1)
    return np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)


def is_ridge(X, n_classes, penalty):
    return penalty.l1_ratio == 0


def is_dense_ridge(X, n_classes, penalty):
    return penalty.l1_ratio == 0 and not scipy.sparse.issparse(X)


def is_small_ridge(X, n_classes, penalty):
    unknowns = (X.shape[1] + 1) * n_classes
    return penalty.l1_ratio == 0 and unknowns <= LARGEST_HESSIAN


def is_dense_ridge_of_several(X, n_classes, penalty):
    return n_classes > 2 and is_dense_ridge(X, n_classes, penalty)


def is_binary(X, n_classes, penalty):
    return n_classes == 2


def is_binary_ridge_or_lasso(X, n_classes, penalty):
    return n_classes == 2 and penalty.l1_ratio in (0, 1)


def is_binary_l1(X, n_classes, penalty):
    return n_classes == 2 and penalty.l1_ratio > 0


def always(X, n_classes, penalty):
    return True


SOLVERS = {
    OURS: Solver(ours, [3e-3, 1e-3, 5e-4, 2e-4], always),
    "lbfgs": Solver(sklearn("lbfgs"), [1e-4, 1e-6, 1e-8], is_ridge),
    "newton-cg": Solver(sklearn("newton-cg"), [1e-3, 1e-5, 1e-7], is_ridge),
    "newton-cholesky": Solver(
        sklearn("newton-cholesky"), [1e-2, 1e-4, 1e-6], is_small_ridge
    ),
    "saga": Solver(sklearn("saga"), [1e-2, 1e-3, 1e-4], always),
    "liblinear": Solver(liblinear, [1e-2, 1e-4, 1e-6], is_binary_ridge_or_lasso),
    "intelex lbfgs": Solver(intelex("lbfgs"), [1e-3, 1e-5, 1e-7], is_dense_ridge),
    "intelex newton-cg": Solver(
        intelex("newton-cg"), [1e-3, 1e-5, 1e-7], is_dense_ridge
    ),
    "torch L-BFGS": Solver(torch_lbfgs, [1e-3, 1e-5, 1e-7], is_dense_ridge_of_several),
    "glum": Solver(glum, [1e-3, 1e-5, 1e-7], is_binary),
    "skglm": Solver(skglm, [1e-3, 1e-5, 1e-7], is_binary_l1),
}

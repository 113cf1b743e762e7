"""From checked data and targets to coefficients: which objective, which solver.

Conventions
-----------
``coef`` is (R, p) or, with an intercept in the last column, (R, p + 1), float64: one
row for each of K classes, or for the second of two. X is dense, CSR or CSC.

Solvers are imported when they are first used: they would be a quarter of the time that
the import of the estimator takes.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skxent.backends import EncodedTargets
from skxent.backends._dense import in_lines
from skxent.backends._device_matrix import DeviceMatrix
from skxent.backends._entries import check_entries
from skxent.linear_model._early_stopping import Monitor, hold_out
from skxent.linear_model._linear_loss import (
    LinearCrossEntropy,
    absolute,
    relative,
)
from skxent.linear_model._penalty import ElasticNet
from skxent.linear_model._row_masses import pulls
from skxent.linear_model._solvers import Settings, SolverResult
from skxent.losses._targets import need_float64

__all__ = ["Problem", "train", "train_with_early_stopping"]

Coef = NDArray[np.float64]

# Numbers of a sparse X, zeros included, up to which it is made dense: 2 MB, which a
# dense solver goes through faster.
DENSE_SIZE = 1 << 18


class Problem(NamedTuple):
    """What is minimised, and by which solver."""

    X: Any
    targets: EncodedTargets
    C: float
    l1_ratio: float
    fit_intercept: bool
    solver: str

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.targets.on_value)

    @property
    def penalty(self) -> float:
        """Factor of both norms where the losses are averaged."""
        return 1.0 / (self.C * self.targets.denominator)

    @property
    def norms(self) -> ElasticNet:
        """Both norms with their shares of it."""
        share = self.l1_ratio
        return ElasticNet(self.penalty * share, self.penalty * (1.0 - share))

    def in_range(self) -> "Problem":
        """Return the same problem with weights that float32 can multiply with.

        The minimum depends on the products of C and the weights alone. Powers of two
        take no digit.
        """
        targets = self.targets
        rows, classes = targets.row_weight, targets.on_value + targets.off_value
        if not need_float64(self.X.dtype, rows, classes):
            return self
        of_rows = _power_of_two(rows.max(initial=0.0)) if rows.size else 1.0
        of_classes = _power_of_two(classes.max())
        scaled = targets._replace(
            row_weight=rows / of_rows,
            on_value=targets.on_value / of_classes,
            off_value=targets.off_value / of_classes,
            on_low=targets.on_low / of_classes,
            denominator=targets.denominator / of_rows / of_classes,
        )
        return self._replace(targets=scaled, C=self.C * of_rows * of_classes)

    @property
    def shows_non_finite(self) -> bool:
        """Whether a fit does not converge if any number of X is not finite.

        That spares a pass over X before the fit. Where the rows of a dense X are
        multiplied by the residuals of the loss, no number of X is left out of the
        gradient but those of rows without weight.
        """
        on_value, row_weight = self.targets.on_value, self.targets.row_weight
        return (
            isinstance(self.X, np.ndarray | DeviceMatrix)
            and self.l1_ratio == 0
            and self.X.shape[0] >= self.X.shape[1]  # else in the space of the rows
            and bool(on_value.all())
            and bool(row_weight.all())
        )

    def objective(self) -> Any:
        """Return the objective with the ridge alone."""
        kind: Any = LinearCrossEntropy
        if scipy.sparse.issparse(self.X):
            from skxent.linear_model import _sparse_loss  # which brings the kernels

            kind = _sparse_loss.SparseLinearCrossEntropy
        elif isinstance(self.X, DeviceMatrix):
            # numba's CUDA is not imported for data on the host
            from skxent.linear_model._device_loss import DeviceLinearCrossEntropy

            kind = DeviceLinearCrossEntropy
        return kind(
            self.X,
            self.targets,
            n_classes=self.n_classes,
            fit_intercept=self.fit_intercept,
            l2=self.penalty,
        )


def _power_of_two(x: float) -> float:
    """Return the power of two below a positive number, 1 for others."""
    return math.ldexp(1.0, math.frexp(x)[1] - 1) if 0 < x < math.inf else 1.0


def train(problem: Problem, coef: Coef, settings: Settings) -> SolverResult:
    """Minimise from the coefficients that are given."""
    n, p = problem.X.shape
    if isinstance(problem.X, np.ndarray):
        problem = problem._replace(X=in_lines(problem.X))
    elif scipy.sparse.issparse(problem.X) and n * p <= DENSE_SIZE:
        check_entries(problem.X)
        problem = problem._replace(X=problem.X.toarray())
    if coef.any() and not _is_better_than_zeros(problem, coef):
        coef = np.zeros_like(coef)
    if problem.l1_ratio > 0 and problem.penalty > 0:
        from skxent.linear_model._elastic_net import minimize_elastic_net

        return minimize_elastic_net(
            problem.X,
            problem.targets,
            n_classes=problem.n_classes,
            fit_intercept=problem.fit_intercept,
            **problem.norms._asdict(),
            coef=coef,
            settings=settings,
        )
    if problem.solver == "auto" and scipy.sparse.issparse(problem.X):
        from skxent.linear_model import _sparse_solver

        objective = problem.objective()
        if _sparse_solver.is_moderate(objective):
            return _sparse_solver.minimize_sparse(objective, coef, settings)
        problem = problem._replace(solver="lbfgs")  # whose arithmetic is float64
    stop = settings.stop
    if stop is not None:
        settings = settings._replace(stop=lambda coef: stop(absolute(coef)))
    from skxent.linear_model._ridge_solver import SOLVERS

    solve: Callable[[Any, Coef, Settings], SolverResult] = SOLVERS[problem.solver]
    result = solve(problem.objective(), relative(coef), settings)
    return result._replace(coef=absolute(result.coef))


def _is_better_than_zeros(problem: Problem, coef: Coef) -> bool:
    """Return whether the objective is less than that of zeros, where it is known.

    Coefficients of separable classes without a penalty make other rows certain and
    wrong: there no curvature is left, and nothing to tell how far the minimum is.
    """
    data_term = problem._replace(C=np.inf).objective()
    loss, _ = data_term.value_and_gradient(relative(coef))
    total = pulls(problem.targets).sum() / problem.targets.denominator
    at_zeros = total * math.log(problem.n_classes)
    value = loss + problem.norms.value(coef[:, : problem.X.shape[1]])
    return bool(value < at_zeros)


def train_with_early_stopping(
    problem: Problem,
    coef: Coef,
    settings: Settings,
    held: NDArray[np.intp],
    n_iter_no_change: int,
) -> SolverResult:
    """Minimise until the loss of the rows held out stops falling; return the best."""
    training, targets = hold_out(problem.targets, held)
    validation = problem._replace(X=problem.X[held], targets=targets, C=np.inf)
    loss = validation.objective()
    monitor = Monitor(
        lambda coef: loss.value_and_gradient(relative(coef))[0], n_iter_no_change
    )
    monitor.begin(coef)
    asked = settings.stop

    def stop(coef: Coef) -> bool:
        return monitor(coef) | (asked is not None and asked(coef))

    result = train(
        problem._replace(targets=training), coef, settings._replace(stop=stop)
    )
    if result.n_iter == 0 and not np.array_equal(result.coef, coef):
        monitor(result.coef)  # where samples had led to
    losses = monitor.losses[-(result.n_iter + 1) :]
    history = result.history | {"validation_loss": np.array(losses)}
    return result._replace(coef=monitor.best_coef, history=history)

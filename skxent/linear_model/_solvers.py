"""Solvers: functions of an objective that return a record and never warn."""

import enum
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

__all__ = ["Objective", "SolverResult", "SolverStatus", "minimize_lbfgs"]


class Objective(Protocol):
    """What a solver needs to know."""

    def value_and_gradient(
        self, coef: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the objective and its gradient, of the shape of ``coef``."""


class SolverStatus(enum.Enum):
    """How a solver ended; the value says what to do about it."""

    CONVERGED = "Converged."
    MAX_ITER = (
        "Increase max_iter, standardise the features (sklearn.preprocessing."
        "StandardScaler), or regularise more with a smaller C."
    )
    LINE_SEARCH = (
        "The objective could not be lowered any further in floating-point numbers. "
        "Loosen tol, standardise the features, or pass float64 data."
    )


class SolverResult(NamedTuple):
    """Where a solver ended."""

    coef: NDArray[np.float64]
    value: float
    gradient_norm: float  # largest absolute entry
    n_iter: int
    status: SolverStatus
    history: dict[str, NDArray[np.float64]]  # one entry per iteration, the start first


# scipy's status of an abnormal end of the line search
_ABNORMAL = 2


def minimize_lbfgs(
    objective: Objective, coef: NDArray[np.float64], *, tol: float, max_iter: int
) -> SolverResult:
    """Minimise with scipy's L-BFGS until every entry of the gradient is below ``tol``.

    It also ends as converged when a step lowers the objective by less than rounding.

    R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A Limited Memory Algorithm for Bound
    Constrained Optimization", SIAM Journal on Scientific Computing 16, 1995.
    """
    values: list[float] = []
    norms: list[float] = []
    latest = (np.nan, np.nan)

    def evaluate(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal latest
        value, gradient = objective.value_and_gradient(flat.reshape(coef.shape))
        latest = (value, float(np.abs(gradient).max(initial=0.0)))
        if not values:  # the starting point
            record()
        return value, gradient.ravel()

    def record(_: Any = None) -> None:
        values.append(latest[0])
        norms.append(latest[1])

    result = scipy.optimize.minimize(
        evaluate,
        coef.ravel(),
        method="L-BFGS-B",
        jac=True,
        callback=record,
        options={
            "maxiter": max_iter,
            "maxfun": max(15000, 20 * max_iter),
            "maxls": 50,
            "gtol": tol,
            "ftol": 64 * np.finfo(np.float64).eps,
        },
    )
    gradient_norm = float(np.abs(result.jac).max(initial=0.0))
    # scipy calls it success as well when the last step raised the objective
    raised = len(values) > 1 and values[-1] > values[-2] and gradient_norm > tol
    if result.status == _ABNORMAL or raised:
        status = SolverStatus.LINE_SEARCH
    elif result.success:
        status = SolverStatus.CONVERGED
    else:
        status = SolverStatus.MAX_ITER
    return SolverResult(
        coef=result.x.reshape(coef.shape),
        value=float(result.fun),
        gradient_norm=gradient_norm,
        n_iter=int(result.nit),
        status=status,
        history={"loss": np.array(values), "gradient_norm": np.array(norms)},
    )

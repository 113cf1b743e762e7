"""L-BFGS that starts from a preconditioner instead of a multiple of the identity.

D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization",
Mathematical Programming 45, 1989: algorithm 2.1, with ``solve`` of the preconditioner
for the product with ``H_0``.

When it stops
-------------
``g^T H g / 2``, with the approximate inverse Hessian H, is what a Newton step would
lower the objective by: near the minimum, its distance from the least value. Where H is
poor, steps fall short of that, and there are as many more to come as their rate of
decrease tells: the estimate is the sum of that geometric series. The solver stops when
it is small enough, which has a meaning whatever the scale of the data; or where it is
below the last digit of the objective and no longer falls.

Neither steps nor a diagonal preconditioner tell of directions in which the objective
hardly curves, and so of how far the minimum is. There the estimate is checked before
it is believed: by conjugate gradients, or by the Hessian of few unknowns. The result is
the next step if it was wrong.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtrs

from skxent.linear_model._conjugate_gradient import SHARE_LEFT, conjugate_gradients
from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus
from skxent.linear_model._trace import Trace, remaining

__all__ = [
    "MEMORY",
    "Estimate",
    "Identity",
    "Objective",
    "Preconditioner",
    "Renewal",
    "minimize",
]

Coef = NDArray[np.float64]

# Armijo's condition, and by how much rounding of the values may hide it.
SUFFICIENT = 1e-4
# A slope that has fallen to this share proves progress where the values cannot: where
# they change, and were to change, by no more than so many times their usual rounding.
FLAT_SLOPE = 0.9
MOST_ROUNDING = 10.0
LONGEST_SEARCH = 30
# Steps that are remembered.
MEMORY = 20
# What is left of a value's last digit may be the rounding of the gradient, which no
# step makes smaller: 10,000 of them on 600 digits, where so many show it.
EPS = float(np.finfo(np.float64).eps)
PATIENCE = 10
# Steps that gain nothing where all is rounding, though more was asked for.
LONG_PATIENCE = 50
# How many times too small an estimate is held to be, before it is checked: checks of
# random data of as many rows as columns found it 2 to 40 times too small.
MISTRUST = 5.0
# Of a step, after which the gradient tells of its curvature: far above its rounding.
DIFFERENCE = {np.dtype(np.float32): 0.3, np.dtype(np.float64): 1e-4}
# Relative suboptimality from which on the rounding of float32 products may matter.
ROUGH = 1e-7
# Relative rounding errors of a value. Float32 logits of columns 1000 deviations from 0
# shift it by 3e-7, where the gradient still tells 1e-9 from the minimum.
NOISE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-11}


class Objective(Protocol):
    """What a solver needs to know."""

    dtype: np.dtype[Any]  # of the products, whose rounding the values show

    def value_and_gradient(self, coef: Coef) -> tuple[float, Coef]:
        """Return the objective and its gradient, of the shape of ``coef``."""


class Preconditioner(Protocol):
    """An approximate inverse Hessian."""

    scaled: bool  # whether its scale is right, which the last step tells otherwise

    def solve(self, gradient: Coef) -> Coef:
        """Return the inverse times a gradient, or times each of a stack of them."""


# What makes one when it is called.
Estimate = Callable[[], Preconditioner]
# Returns what makes another one, or none, after an iteration: of the point, and of what
# each step so far was predicted to gain.
Renewal = Callable[[Coef, list[float]], Estimate | None]


class Identity:
    """No preconditioner, but for a first step of length 1 at most."""

    scaled = False

    def __init__(self) -> None:
        self.scale: float | None = None

    def solve(self, gradient: Coef) -> Coef:
        """Return a multiple."""
        if self.scale is None:
            self.scale = 1.0 / max(1.0, float(np.abs(gradient).sum()))
        return self.scale * gradient


class _Memory:
    """The last steps and what they did to the gradient.

    Lines of two matrices, the oldest of which are written over. The two loops become
    products with these and two triangular systems: R. H. Byrd, J. Nocedal, R. B.
    Schnabel, "Representations of quasi-Newton matrices and their use in limited memory
    methods", Mathematical Programming 63, 1994, theorem 2.2.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.lines: list[int] = []  # from the oldest to the latest
        self.steps = self.changes = np.empty((0, 0))
        self.products = np.empty((length, length))  # of steps and later changes

    def __len__(self) -> int:
        return len(self.lines)

    def clear(self) -> None:
        """Forget all of them."""
        self.lines.clear()

    def add(self, step: Coef, change: Coef) -> None:
        """Keep a pair, if the curvature along the step is more than rounding."""
        product = float(np.vdot(step, change))
        size = float(np.linalg.norm(step) * np.linalg.norm(change))
        if not self.length or not product > EPS * size:
            return
        if not self.steps.size:
            self.steps = np.empty((self.length, step.size))
            self.changes = np.empty((self.length, step.size))
        is_full = len(self) == self.length
        line = self.lines.pop(0) if is_full else len(self)
        self.lines.append(line)
        self.steps[line] = step.ravel()
        self.changes[line] = change.ravel()
        n = len(self)
        self.products[:n, line] = self.steps[:n] @ self.changes[line]
        self.products[line, line] = product

    def inverse_times(self, gradient: Coef, preconditioner: Preconditioner) -> Coef:
        """Return the approximate inverse Hessian times the gradient."""
        if not self.lines:
            return preconditioner.solve(gradient)
        n, lines, latest = len(self), np.array(self.lines), self.lines[-1]
        steps, changes = self.steps[:n], self.changes[:n]
        products = self.products[lines[:, np.newaxis], lines]
        shares = np.empty(n)
        shares[lines], _ = dtrtrs(products, (steps @ gradient.ravel())[lines])
        q = gradient - (shares @ changes).reshape(gradient.shape)
        z: Coef
        if preconditioner.scaled:
            z = preconditioner.solve(q)
        else:
            change = changes[latest].reshape(gradient.shape)
            z, of_change = preconditioner.solve(np.array([q, change]))
            z *= self.products[latest, latest] / np.vdot(change, of_change)
        left = products.diagonal() * shares[lines] - (changes @ z.ravel())[lines]
        shares[lines], _ = dtrtrs(products, left, trans=1)
        z += (shares @ steps).reshape(gradient.shape)
        return z


def minimize(
    objective: Objective,
    coef: Coef,
    first: Estimate,
    settings: Settings,
    *,
    enough: Callable[[float, float], bool] | None = None,
    memory: int = MEMORY,
    renew: Renewal | None = None,
    rough: Objective | None = None,
    checked: bool = False,
    exact: Callable[[Coef], Preconditioner] | None = None,
) -> SolverResult:
    """Minimise until the estimated suboptimality is ``enough(it, value)``.

    That is, if not given, at most ``tol**2`` of the value. With no memory, steps are
    the preconditioner's, which ``first()`` returns. What ``renew`` returns makes
    another one: they are large, and one is given up before the next one is made.
    ``rough`` is the objective with more rounding, taken as long as it gets nearer to
    the minimum. ``checked`` estimates are worth some evaluations: as many as ``exact``
    takes, if given, for the inverse of the Hessian at a point.
    """

    def is_small(rest: float, value: float) -> bool:
        return rest <= settings.allowed(value)

    def spent(rest: float, value: float) -> bool:
        return rest <= EPS * abs(value) and _has_stalled(decreases)

    enough = enough or is_small
    kept = _Memory(memory)
    preconditioner = first()
    evaluated = rough or objective
    value, gradient = evaluated.value_and_gradient(coef)
    trace = Trace(settings)
    decreases: list[float] = []
    mistrust = MISTRUST
    while True:
        direction = -kept.inverse_times(gradient, preconditioner)
        slope = float(np.vdot(gradient, direction))
        if not slope <= 0 and len(kept):  # rounding has spoilt the memory
            kept.clear()
            continue
        if slope > 0:  # or the preconditioner
            preconditioner = Identity()
            continue
        rest = remaining([*decreases, -0.5 * slope])
        if checked and len(kept) and not preconditioner.scaled:
            rest *= mistrust
            if enough(rest, value):
                if exact is not None:
                    step = exact(coef).solve(gradient)
                else:
                    invert = partial(kept.inverse_times, preconditioner=preconditioner)
                    step = _newton_step(evaluated, coef, gradient, invert)
                descent = float(np.vdot(gradient, step))
                if descent > 0:
                    mistrust *= min(max(1.0, 0.5 * descent / rest), MISTRUST)
                    direction, slope, rest = -step, -descent, 0.5 * descent
        is_rough = evaluated is not objective
        if is_rough and (rest <= ROUGH * abs(value) or not np.isfinite(slope)):
            evaluated = objective
            value, gradient = objective.value_and_gradient(coef)
            continue
        decreases.append(-0.5 * slope)
        trace.add(value, rest)
        if not np.isfinite(slope):
            status = SolverStatus.LINE_SEARCH
            break
        known = preconditioner.scaled or len(kept) > 0
        if slope == 0 or (known and (enough(rest, value) or spent(rest, value))):
            status = SolverStatus.CONVERGED
            break
        if trace.n_iter >= settings.max_iter:
            status = SolverStatus.MAX_ITER
            break
        noise = NOISE[evaluated.dtype]
        in_noise = rest <= noise * abs(value) and not is_rough
        if in_noise and _has_stalled(decreases, LONG_PATIENCE):
            status = SolverStatus.LINE_SEARCH
            break
        found = _search(evaluated, coef, direction, value, slope, noise)
        if found is None and is_rough:
            evaluated = objective
            value, gradient = objective.value_and_gradient(coef)
            trace.forget()
            decreases.pop()
            continue
        if found is None:
            within_noise = rest <= noise * abs(value)
            status = (
                SolverStatus.CONVERGED if within_noise else SolverStatus.LINE_SEARCH
            )
            break
        new_coef, value, new_gradient = found
        kept.add(new_coef - coef, new_gradient - gradient)
        coef, gradient = new_coef, new_gradient
        if settings.stop is not None and settings.stop(coef):
            trace.add(value, np.nan)
            status = SolverStatus.CONVERGED
            break
        if renew is not None:
            renewed = renew(coef, decreases)
            if renewed is not None:
                del preconditioner
                preconditioner = renewed()
    return trace.result(coef, status)


def _newton_step(
    objective: Objective,
    coef: Coef,
    gradient: Coef,
    precondition: Callable[[Coef], Coef],
) -> Coef:
    """Return about the inverse of the Hessian times the gradient.

    Products with the Hessian are differences of gradients, which takes one evaluation.
    """
    share = DIFFERENCE[objective.dtype]

    def product(vector: Coef) -> Coef:
        _, changed = objective.value_and_gradient(coef + share * vector)
        return (changed - gradient) / share

    def enough(n: int, latest: float, decrease: float, residual: Coef) -> bool:
        return n * latest <= SHARE_LEFT * decrease

    rounding = float(np.finfo(objective.dtype).eps) / share
    return conjugate_gradients(product, gradient, precondition, enough, rounding)


def _has_stalled(decreases: list[float], patience: int = PATIENCE) -> bool:
    """Return whether some steps have not halved the least decrease before them."""
    latest, before = decreases[-patience:], decreases[:-patience]
    return bool(before) and min(latest) > 0.5 * min(before)


def _search(
    objective: Objective,
    coef: Coef,
    direction: Coef,
    value: float,
    slope: float,
    noise: float,
) -> tuple[Coef, float, Coef] | None:
    """Return a point on the line that is low enough, with its value and gradient.

    The minimum of the cubic through both values and slopes is tried next; J. Nocedal,
    S. J. Wright, "Numerical Optimization", 2nd edition, equation 3.59.
    """
    step = 1.0
    for _ in range(LONGEST_SEARCH):
        point = coef + step * direction
        new_value, gradient = objective.value_and_gradient(point)
        new_slope = float(np.vdot(gradient, direction))
        lower = new_value <= value + SUFFICIENT * step * slope
        rounding = MOST_ROUNDING * noise * abs(value)
        flat = abs(new_value - value) <= rounding and -step * slope <= rounding
        if lower or (flat and abs(new_slope) <= FLAT_SLOPE * abs(slope)):
            return point, new_value, gradient
        factor = 0.1
        if np.isfinite(new_value) and np.isfinite(new_slope):
            factor = _cubic_minimum(slope, new_slope, (new_value - value) / step)
        step *= factor
    return None


def _cubic_minimum(slope: float, new_slope: float, secant: float) -> float:
    """Return the share of the step at which the cubic is least, in [0.05, 0.7]."""
    d1 = slope + new_slope - 3 * secant
    discriminant = d1 * d1 - slope * new_slope
    share = 0.5
    if discriminant >= 0 and new_slope > slope:
        d2 = float(np.sqrt(discriminant))
        share = 1.0 - (new_slope + d2 - d1) / (new_slope - slope + 2 * d2)
    return min(max(share, 0.05), 0.7)
